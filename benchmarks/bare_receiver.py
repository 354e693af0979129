"""A peer: Celery's own EventReceiver with a handler that does nothing but count; run as a script.

What it costs is the least that a consumer built on ``celery.events`` can cost.
"""

import sys
from typing import Any

from celery import Celery
from prometheus_client import CollectorRegistry, Gauge, start_http_server


class _Count:
    """Counts events. An attribute is cheaper than a metric, and that is all this peer has to prove."""

    def __init__(self) -> None:
        self.events = 0

    def __call__(self, _event: dict[str, Any]) -> None:
        self.events += 1


def main(broker_url: str, port: int) -> None:
    """Capture events for ever; the number of them is served on the port."""
    count = _Count()
    registry = CollectorRegistry()
    Gauge("events", "Events handled.", registry=registry).set_function(lambda: count.events)
    start_http_server(port, addr="127.0.0.1", registry=registry)
    app = Celery(broker=broker_url)
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": count})
        receiver.capture(limit=None, timeout=None, wakeup=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
