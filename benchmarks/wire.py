"""The stream as the bytes that a broker reads: what Celery, kombu and the client libraries would send, made beforehand.

Source of the facts: ``kombu/transport/redis.py`` (``_put_fanout``: channel and payload),
``kombu/transport/virtual/base.py`` (``prepare_message``, ``_inplace_augment_message``: the envelope),
``celery/events/dispatcher.py`` (``_publish``), ``celery/events/event.py`` (the exchange).
"""

import socket
import uuid
from base64 import b64encode
from collections.abc import Sequence
from typing import Final, Protocol
from urllib.parse import urlsplit

import amqp
from amqp.method_framing import frame_writer
from kombu import Connection, Exchange
from kombu.utils.json import dumps

from benchmarks.stream import Message

EXCHANGE: Final = "celeryev"


class Wire(Protocol):
    """A connection to a broker, and the messages prepared for it."""

    @property
    def messages(self) -> Sequence[bytes]:
        """What is to be sent, in order."""

    def send(self, data: bytes) -> None:
        """Send one message, or several joined."""


class RedisWire:
    """PUBLISHes as kombu's Redis transport does, and asks the server not to reply."""

    def __init__(self, url: str, messages: Sequence[Message]) -> None:
        parts = urlsplit(url)
        database = parts.path.strip("/") or "0"
        self._socket = socket.create_connection((parts.hostname or "", parts.port or 0))
        self.send = self._socket.sendall
        self.send(redis_command(b"CLIENT", b"REPLY", b"OFF"))
        self.messages = [redis_publication(message, database) for message in messages]


class AmqpWire:
    """Publishes to the event exchange as py-amqp does, and declares it as Celery does."""

    def __init__(self, url: str, messages: Sequence[Message]) -> None:
        self._connection = Connection(url)
        channel = self._connection.channel()
        Exchange(EXCHANGE, type="topic", channel=channel).declare()
        self.send = self._connection.connection.transport.write
        self._channel = channel
        self._recorder = recorder = _Recorder()
        self._connection.connection.frame_writer = frame_writer(self._connection.connection, recorder)
        self.messages = [self.encode(message) for message in messages]

    def encode(self, message: Message) -> bytes:
        """The frames of a message."""
        content = amqp.Message(
            message.body.encode(),
            content_type="application/json",
            content_encoding="utf-8",
            application_headers={"hostname": message.hostname},
            delivery_mode=1,
            priority=0,
        )
        self._channel.basic_publish(content, exchange=EXCHANGE, routing_key=message.routing_key)
        return self._recorder.take()


class _Recorder:
    """Stands where py-amqp's transport would write its frames."""

    def __init__(self) -> None:
        self._frames: list[bytes] = []

    def write(self, frames: memoryview | bytes) -> None:
        """Keep a copy; py-amqp writes over its buffer."""
        self._frames.append(bytes(frames))

    def take(self) -> bytes:
        """What was written since the last time."""
        taken = b"".join(self._frames)
        self._frames.clear()
        return taken


def redis_publication(message: Message, database: str) -> bytes:
    """The command that publishes a message."""
    channel = f"/{database}.{EXCHANGE}/{message.routing_key}".encode()
    return redis_command(b"PUBLISH", channel, dumps(_envelope(message)).encode())


def redis_command(*words: bytes) -> bytes:
    """A command in Redis' protocol (RESP)."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


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
