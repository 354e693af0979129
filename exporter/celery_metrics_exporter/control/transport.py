"""Carry commands to all workers and their replies back: the protocol, and the transports for all brokers but Redis.

Source of the facts: ``kombu/pidbox.py``. Workers reply to the exchange and routing key that a command names
(``Mailbox._publish_reply``). We name the default exchange, which reaches every queue under its own name: only the queue
has to be declared, and nothing has to be bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import amqp

from celery_metrics_exporter.control import RefusedError

#: Replies that are taken at once; bounded, so that a flood cannot keep us from everything else.
BATCH: Final = 500
#: Most replies that a queue keeps for us.
MAX_ANSWERS: Final = 10_000
#: Most bytes of replies that a queue of RabbitMQ keeps for us.
MAX_ANSWERS_BYTES: Final = 64_000_000


@dataclass(frozen=True, slots=True)
class Message:
    """A serialized message, with the type and the encoding of its body; a reply's may be anything."""

    body: Any
    content_type: str | None
    content_encoding: str | None
    headers: Mapping[str, object]


class ReplyTransport(Protocol):
    """One connection to a broker. All methods raise whatever the client library raises."""

    #: Whether :meth:`publish` returns how many clients received a message.
    counts: bool

    def publish(self, message: Message, exchange: str, routing_key: str = "") -> int | None:
        """Publish; returns how many clients received it, if that is known: 0 where there is no such exchange."""

    def take(self, most: int) -> list[Message]:
        """Make the reply queue, if there is none, and take its next replies, at most so many, oldest first.

        This asks the broker, so that a dead connection is found before anything is sent.
        """

    def discard(self) -> None:
        """Discard the replies that have arrived, and expect no more."""


def prepared(channel: Any, message: Message) -> Any:
    """The message in the form that this kombu channel sends."""
    return channel.prepare_message(
        message.body,
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        headers=dict(message.headers),
        properties={"delivery_mode": 1},
    )


class VirtualTransport:
    """For kombu's other transports, where clients know fanout exchanges; some want a queue to be declared."""

    counts = False

    def __init__(self, connection: Any, queue: str) -> None:
        self._channel = connection.channel()
        self._queue = queue
        self._declared = False

    def publish(self, message: Message, exchange: str, routing_key: str = "") -> None:
        """Publish to a fanout exchange."""
        self._channel.exchange_declare(exchange, "fanout")  # in this process only
        self._channel.basic_publish(prepared(self._channel, message), exchange, routing_key)

    def take(self, most: int) -> list[Message]:
        """Take the next replies, from a queue that is there then."""
        if not self._declared:
            self._channel.queue_declare(self._queue, auto_delete=True)
            self._declared = True
        try:
            return _fetch(self._channel, self._queue, most)
        except KeyError:  # kombu/transport/gcpubsub.py, Channel._get: a queue that is bound to no exchange
            raise RefusedError("no answers of workers arrive on this kind of broker") from None

    def discard(self) -> None:
        """Remove the queue with the replies that have arrived."""
        if self._declared:
            self._channel.queue_delete(self._queue)
            self._declared = False


class AmqpTransport:
    """For RabbitMQ: an exclusive reply queue, which ends with the connection, and a new channel for each message.

    Workers declare the control exchange; we do not. RabbitMQ closes the channel of a refused message, so that the reply
    queue has another channel.
    """

    counts = False

    def __init__(self, connection: Any, queue: str, *, lifetime: float) -> None:
        """``lifetime``: seconds without :meth:`take` after which the broker may delete the queue."""
        self._connection = connection
        self._queue = queue
        self._arguments = {
            "x-expires": int(lifetime * 1000),
            "x-max-length": MAX_ANSWERS,
            "x-max-length-bytes": MAX_ANSWERS_BYTES,
        }
        self._channel: Any = None

    def publish(self, message: Message, exchange: str, routing_key: str = "") -> int | None:
        """Publish; returns 0 without an exchange: no worker was ever here. Else the number is not known."""
        channel = self._connection.channel()
        received = None
        try:
            channel.basic_publish_confirm(prepared(channel, message), exchange, routing_key)
        except amqp.NotFound:
            received = 0
        except amqp.AccessRefused:
            channel.close()
            raise
        channel.close()
        return received

    def take(self, most: int) -> list[Message]:
        """Declare the queue, which changes nothing if it exists, and take the next replies."""
        channel, self._channel = self._channel, None  # a refusal closes it
        if channel is None:
            channel = self._connection.channel()
        channel.queue_declare(self._queue, exclusive=True, auto_delete=True, arguments=self._arguments)
        replies = _fetch(channel, self._queue, most)
        self._channel = channel
        return replies

    def discard(self) -> None:
        """Discard the replies that have arrived."""
        if self._channel:
            self._channel.queue_purge(self._queue)


def _fetch(channel: Any, queue: str, most: int) -> list[Message]:
    """The next messages in a queue, oldest first."""
    messages: list[Message] = []
    while len(messages) < most and (raw := channel.basic_get(queue, no_ack=True)):
        content_type, encoding = (getattr(raw, name, None) for name in ("content_type", "content_encoding"))
        messages.append(Message(raw.body, content_type, encoding, raw.headers or {}))
    return messages
