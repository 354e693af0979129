"""Carry commands to all workers and their replies back: the protocol, and the transports for all brokers but Redis.

Source of the facts: ``kombu/pidbox.py``. Workers reply to the exchange and routing key that a command names
(``Mailbox._publish_reply``). We name the default exchange, which reaches every queue under its own name: only the queue
has to be declared, and nothing has to be bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol

import amqp

if TYPE_CHECKING:
    from collections.abc import Mapping

#: As in kombu/pidbox.py, Mailbox._publish: workers read "clock", other readers of the replies read "expires".
_FOR_WORKERS: Final[Mapping[str, object]] = MappingProxyType({"clock": 0, "expires": 0})
#: Replies that are taken at once; bounded, so that a flood cannot keep us from everything else.
BATCH: Final = 500
#: Most replies that a queue keeps for us.
MAX_ANSWERS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Message:
    """A serialized message with the type and encoding of its body, and its ticket."""

    body: bytes | str
    content_type: str | None
    content_encoding: str | None
    ticket: str = ""


class ReplyTransport(Protocol):
    """One connection to a broker. All methods raise whatever the client library raises."""

    #: Whether :meth:`send` returns how many workers received a message.
    counts: bool

    def open_replies(self) -> None:
        """Make the reply queue. This asks the broker, so that a dead connection is found before anything is sent."""

    def send(self, message: Message) -> int | None:
        """Send to all workers; returns how many received it, if that is known."""

    def send_event(
        self, message: Message, exchange: str, routing_key: str, headers: Mapping[str, object]
    ) -> bool:
        """Send to all receivers of events; False if nothing was sent, since they need not receive it."""

    def take(self) -> list[Message]:
        """Take the next batch of replies, oldest first."""

    def discard(self) -> None:
        """Discard the replies that have arrived."""

    def close_replies(self) -> None:
        """Remove the reply queue, or let it expire: no reply is expected any more."""


def ticket_in(headers: Mapping[str, object]) -> str:
    """The ticket in the headers of a reply; empty if there is none."""
    ticket = headers.get("ticket")
    return ticket if isinstance(ticket, str) else ""


def prepared(channel: Any, message: Message, headers: Mapping[str, object] = _FOR_WORKERS) -> Any:
    """The message in the form that this kombu channel sends."""
    return channel.prepare_message(
        message.body,
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        headers=dict(headers),
        properties={"delivery_mode": 1},
    )


class VirtualTransport:
    """For memory:// and filesystem://: a queue exists from its first message on, and clients know fanout exchanges."""

    counts = False

    def __init__(self, connection: Any, exchange: str, queue: str) -> None:
        self._channel = connection.channel()
        self._exchange = exchange
        self._queue = queue
        self._channel.exchange_declare(exchange, "fanout")  # in this process only

    def open_replies(self) -> None:
        """Do nothing: the first reply makes the queue."""

    def send(self, message: Message) -> None:
        """Send to all workers."""
        self._channel.basic_publish(prepared(self._channel, message), exchange=self._exchange, routing_key="")

    def send_event(self, *_: object) -> bool:
        """Send nothing: not all of these transports deliver events to other clients."""
        return False

    def take(self) -> list[Message]:
        """Take the next batch of replies."""
        messages: list[Message] = []
        while len(messages) < BATCH and (message := self._channel.basic_get(self._queue, no_ack=True)):
            messages.append(
                Message(
                    message.body,
                    message.content_type,
                    message.content_encoding,
                    ticket_in(message.headers),
                )
            )
        return messages

    def discard(self) -> None:
        """Discard the replies that have arrived."""
        self._channel.queue_purge(self._queue)

    close_replies = discard


class AmqpTransport:
    """For RabbitMQ: an exclusive reply queue, which ends with the connection, and a new channel for each command.

    Workers declare the control exchange; we do not. RabbitMQ closes the channel of a refused command, so that the reply
    queue has another channel.
    """

    counts = False

    def __init__(self, connection: Any, exchange: str, queue: str, *, lifetime: float) -> None:
        """``lifetime``: seconds without :meth:`open_replies` after which the broker may delete the queue."""
        self._connection = connection
        self._exchange = exchange
        self._queue = queue
        self._arguments = {"x-expires": int(lifetime * 1000), "x-max-length": MAX_ANSWERS}
        self._channel: Any = None
        self._early: list[Message] = []

    def open_replies(self) -> None:
        """Open the channel and declare the queue; changes nothing if they exist."""
        channel, self._channel = self._channel, None  # a refusal closes it
        if channel is None:
            channel = self._connection.channel()
        channel.queue_declare(self._queue, exclusive=True, auto_delete=True, arguments=self._arguments)
        self._early += self._fetch(channel)
        self._channel = channel

    def send(self, message: Message) -> int | None:
        """Send to all workers; 0 without an exchange: no worker was ever here. Else the number is not known."""
        return None if self._publish(self._exchange, "", message, _FOR_WORKERS) else 0

    def send_event(
        self, message: Message, exchange: str, routing_key: str, headers: Mapping[str, object]
    ) -> bool:
        """Send to all receivers of events. Without an exchange there are none; this is not reported."""
        self._publish(exchange, routing_key, message, headers)
        return True

    def _publish(
        self, exchange: str, routing_key: str, message: Message, headers: Mapping[str, object]
    ) -> bool:
        """Publish, and return whether the exchange exists."""
        channel = self._connection.channel()
        try:
            channel.basic_publish_confirm(
                prepared(channel, message, headers), exchange=exchange, routing_key=routing_key
            )
        except amqp.NotFound:
            channel.close()
            return False
        except amqp.AccessRefused:
            channel.close()
            raise
        channel.close()
        return True

    def take(self) -> list[Message]:
        """Take the next batch of replies."""
        early, self._early = self._early, []
        return early + (self._fetch(self._channel) if self._channel else [])

    def discard(self) -> None:
        """Discard the replies that have arrived."""
        if self._channel:
            self._channel.queue_purge(self._queue)

    def close_replies(self) -> None:
        """Do nothing: the queue ends with the connection."""

    def _fetch(self, channel: Any) -> list[Message]:
        messages: list[Message] = []
        while len(messages) < BATCH and (message := channel.basic_get(self._queue, no_ack=True)):
            properties = message.properties
            headers: Mapping[str, object] = properties.get("application_headers") or {}
            if "compression" in headers:  # workers do not compress replies
                continue
            messages.append(
                Message(
                    message.body,
                    properties.get("content_type"),
                    properties.get("content_encoding"),
                    ticket_in(headers),
                )
            )
        return messages
