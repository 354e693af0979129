"""A peer: py-amqp's own consumer without acknowledgements, none of its messages decoded.

What it costs is the least that a consumer which reads with py-amqp can cost.
"""

import sys
from urllib.parse import urlsplit

from amqp import Connection, Message

from benchmarks.events.counters.serving import Count

_EXCHANGE = "celeryev"


def main(url: str, port: int) -> None:
    """Consume for ever; the number of messages is served on the port."""
    count = Count(port)
    address = urlsplit(url)

    def take(_message: Message) -> None:
        count.taken += 1

    with Connection(f"{address.hostname}:{address.port}", address.username, address.password) as connection:
        channel = connection.channel()
        channel.exchange_declare(_EXCHANGE, "topic", durable=True, auto_delete=False)
        queue = channel.queue_declare(exclusive=True).queue
        channel.queue_bind(queue, _EXCHANGE, "#")
        channel.basic_consume(queue, no_ack=True, callback=take)
        while True:
            connection.drain_events()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
