"""A peer: Celery's own EventReceiver with a handler that does nothing but count.

What it costs is the least that a consumer built on ``celery.events`` can cost.
"""

import sys
from typing import Any

from celery import Celery

from benchmarks.events.counters.serving import Count


def main(broker_url: str, port: int) -> None:
    """Capture events for ever; the number of them is served on the port."""
    count = Count(port)

    def take(_event: dict[str, Any]) -> None:
        count.taken += 1

    app = Celery(broker=broker_url)
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": take})
        receiver.capture(limit=None, timeout=None, wakeup=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
