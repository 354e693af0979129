"""The process that publishes the stream: ``python -m benchmarks.publisher``, driven over its standard streams.

It makes every message beforehand, byte for byte as Celery and kombu would send it, says which events they hold (one line
of JSON), and at the moment for which they were made sends each when it is due. In the end it says how late the latest
was (one more line of JSON).

Source of the facts: ``kombu/transport/redis.py`` (``_put_fanout``: channel and payload), ``kombu/transport/virtual/base.py``
(``prepare_message``, ``_inplace_augment_message``: the envelope), ``celery/events/dispatcher.py`` (``_publish``).
"""

import argparse
import json
import sys
import time
import uuid
from base64 import b64encode
from collections.abc import Sequence
from typing import Final, Protocol
from urllib.parse import urlsplit

import amqp
import redis
from kombu import Connection, Exchange
from kombu.utils.json import dumps

from benchmarks.stream import Message, Workload, make_stream

EXCHANGE: Final = "celeryev"
#: The stream starts this long after it was begun to be made; making 80,000 events takes about 2 s.
PREPARE_SECONDS: Final = 6.0


class Wire(Protocol):
    """A connection to a broker that sends messages prepared for it."""

    def send(self, first: int, end: int) -> None:
        """Send the messages of these numbers and wait until the broker has taken them."""


class RedisWire:
    """PUBLISHes what kombu's Redis transport would."""

    def __init__(self, url: str, messages: Sequence[Message]) -> None:
        self._client = redis.Redis.from_url(url)
        database = urlsplit(url).path.strip("/") or "0"
        self._commands = [
            (f"/{database}.{EXCHANGE}/{message.routing_key}", dumps(_envelope(message)))
            for message in messages
        ]

    def send(self, first: int, end: int) -> None:
        """Send them in one pipeline."""
        pipeline = self._client.pipeline(transaction=False)
        for channel, payload in self._commands[first:end]:
            pipeline.publish(channel, payload)
        pipeline.execute()


class AmqpWire:
    """Publishes to the event exchange, which it declares as Celery does (``celery/events/event.py``)."""

    def __init__(self, url: str, messages: Sequence[Message]) -> None:
        channel = Connection(url).channel()
        Exchange(EXCHANGE, type="topic", channel=channel).declare()
        self._publish = channel.basic_publish
        self._prepared = [
            (
                amqp.Message(
                    message.body.encode(),
                    content_type="application/json",
                    content_encoding="utf-8",
                    application_headers={"hostname": message.hostname},
                    delivery_mode=1,
                    priority=0,
                ),
                message.routing_key,
            )
            for message in messages
        ]

    def send(self, first: int, end: int) -> None:
        """Send them one by one; events are never confirmed."""
        for prepared, routing_key in self._prepared[first:end]:
            self._publish(prepared, exchange=EXCHANGE, routing_key=routing_key)


def _envelope(message: Message) -> dict[str, object]:
    return {
        "body": b64encode(message.body.encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"hostname": message.hostname},
        "properties": {
            "delivery_mode": 1,
            "delivery_info": {"exchange": EXCHANGE, "routing_key": message.routing_key},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
        },
    }


def publish(wire: Wire, due: Sequence[float]) -> float:
    """Send every message when it is due (epoch seconds, in order).

    Returns:
        By how many seconds the latest one was late.
    """
    number, latest = 0, 0.0
    while number < len(due):
        now = time.time()
        end = number
        while end < len(due) and due[end] <= now:
            end += 1
        if end == number:
            time.sleep(due[number] - now)
            continue
        latest = max(latest, now - due[number])
        wire.send(number, end)
        number = end
    return latest


def main() -> None:
    """Make the stream, announce it, publish it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--tasks", type=int, required=True)
    parser.add_argument("--list-size", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    arguments = parser.parse_args()
    workload = Workload(tasks=arguments.tasks, list_size=arguments.list_size, rate=arguments.rate)
    start = time.time() + PREPARE_SECONDS
    stream = make_stream(workload, start)
    make_wire = AmqpWire if arguments.url.startswith("amqp") else RedisWire
    wire = make_wire(arguments.url, stream.messages)
    due = [start + message.at for message in stream.messages]
    time.sleep(max(0.0, start - time.time() - 0.5))
    print(json.dumps(stream.events), flush=True)
    late = publish(wire, due)
    print(json.dumps(late), flush=True)


if __name__ == "__main__":
    sys.exit(main())
