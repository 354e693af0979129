"""The ways to all workers and back, for transports without a shorter one: AMQP, memory, filesystem.

Owns: what each kind of broker needs for a broadcast and for a queue of answers. Must not know: what is asked, what an
answer means.

Source of the facts: ``kombu/pidbox.py``. Workers answer to the exchange and routing key that a question names
(``Mailbox._publish_reply``). We name the default exchange, by which a queue is reached under its own name: nothing
has to be declared but the queue, and nothing bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol

import amqp

if TYPE_CHECKING:
    from collections.abc import Mapping

#: As kombu/pidbox.py, Mailbox._publish: workers read "clock"; "expires" is for other readers of answers.
_FOR_WORKERS: Final[Mapping[str, object]] = MappingProxyType({"clock": 0, "expires": 0})
#: Answers that are taken at once, so that a flood cannot keep us from everything else.
BATCH: Final = 500
#: Answers that a queue keeps for us at most.
MAX_ANSWERS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Letter:
    """A message as it is on the way: serialized, with the type and encoding of its body, and its ticket."""

    body: bytes | str
    content_type: str | None
    content_encoding: str | None
    ticket: str = ""


class Post(Protocol):
    """One connection to a broker. All methods raise whatever the broker's library raises."""

    #: Whether :meth:`send` tells how many took a message.
    counts: bool

    def prepare(self) -> None:
        """Let answers come. It asks the broker, so that a dead connection is found before anything is sent."""

    def send(self, letter: Letter) -> int | None:
        """Send to all workers; returns how many took it, if that is known."""

    def send_event(
        self, letter: Letter, exchange: str, routing_key: str, headers: Mapping[str, object]
    ) -> bool:
        """Send to those who receive events; False: it was not sent, for with this transport that proves nothing."""

    def take(self) -> list[Letter]:
        """The answers that came, oldest first, a batch at most."""

    def discard(self) -> None:
        """Throw away the answers that came."""

    def leave(self) -> None:
        """No answer is awaited any more: leave nothing on the broker that nobody will take away."""


def ticket_in(headers: Mapping[str, object]) -> str:
    """The ticket among the headers of an answer, empty if there is none."""
    ticket = headers.get("ticket")
    return ticket if isinstance(ticket, str) else ""


def prepared(channel: Any, letter: Letter, headers: Mapping[str, object] = _FOR_WORKERS) -> Any:
    """A message as this channel sends it."""
    return channel.prepare_message(
        letter.body,
        content_type=letter.content_type,
        content_encoding=letter.content_encoding,
        headers=dict(headers),
        properties={"delivery_mode": 1},
    )


class VirtualPost:
    """memory and filesystem: a queue is made by its first message, and fanout exchanges are known to each client."""

    counts = False

    def __init__(self, connection: Any, exchange: str, queue: str) -> None:
        self._channel = connection.channel()
        self._exchange = exchange
        self._queue = queue
        self._channel.exchange_declare(exchange, "fanout")  # in this process alone

    def prepare(self) -> None:
        """Nothing has to be done."""

    def send(self, letter: Letter) -> None:
        """Send to all workers."""
        self._channel.basic_publish(prepared(self._channel, letter), exchange=self._exchange, routing_key="")

    def send_event(self, *_: object) -> bool:
        """Do nothing: some of these transports bring no events to other clients."""
        return False

    def take(self) -> list[Letter]:
        """The answers that came."""
        letters: list[Letter] = []
        while len(letters) < BATCH and (message := self._channel.basic_get(self._queue, no_ack=True)):
            letters.append(
                Letter(
                    message.body,
                    message.content_type,
                    message.content_encoding,
                    ticket_in(message.headers),
                )
            )
        return letters

    def discard(self) -> None:
        """Throw away the answers that came."""
        self._channel.queue_purge(self._queue)

    leave = discard


class AmqpPost:
    """RabbitMQ: an exclusive queue that ends with its connection, and a channel of its own for each question.

    The control exchange is the workers': declared by them, not by us. A broker that refuses something closes the
    channel, so that the queue of answers does not suffer from a refused question.
    """

    counts = False

    def __init__(self, connection: Any, exchange: str, queue: str, *, lifetime: float) -> None:
        """``lifetime``: seconds without a look at the queue after which the broker may drop it."""
        self._connection = connection
        self._exchange = exchange
        self._queue = queue
        self._arguments = {"x-expires": int(lifetime * 1000), "x-max-length": MAX_ANSWERS}
        self._channel: Any = None
        self._early: list[Letter] = []

    def prepare(self) -> None:
        """Open the channel and declare the queue, which changes nothing where they are there."""
        channel, self._channel = self._channel, None  # a refusal spoils it
        if channel is None:
            channel = self._connection.channel()
        channel.queue_declare(self._queue, exclusive=True, auto_delete=True, arguments=self._arguments)
        self._early += self._fetch(channel)
        self._channel = channel

    def send(self, letter: Letter) -> int | None:
        """Send to all workers; it is known only that nobody takes what has no exchange."""
        return None if self._publish(self._exchange, "", letter, _FOR_WORKERS) else 0

    def send_event(
        self, letter: Letter, exchange: str, routing_key: str, headers: Mapping[str, object]
    ) -> bool:
        """Send to those who receive events. Without an exchange nobody does, which is for others to find out."""
        self._publish(exchange, routing_key, letter, headers)
        return True

    def _publish(
        self, exchange: str, routing_key: str, letter: Letter, headers: Mapping[str, object]
    ) -> bool:
        """Whether there is such an exchange; it is not ours to declare."""
        channel = self._connection.channel()
        try:
            channel.basic_publish_confirm(
                prepared(channel, letter, headers), exchange=exchange, routing_key=routing_key
            )
        except amqp.NotFound:  # no worker was ever here
            channel.close()
            return False
        except amqp.AccessRefused:
            channel.close()
            raise
        channel.close()
        return True

    def take(self) -> list[Letter]:
        """The answers that came."""
        early, self._early = self._early, []
        return early + (self._fetch(self._channel) if self._channel else [])

    def discard(self) -> None:
        """Throw away the answers that came."""
        if self._channel:
            self._channel.queue_purge(self._queue)

    def leave(self) -> None:
        """The queue goes with the connection."""

    def _fetch(self, channel: Any) -> list[Letter]:
        letters: list[Letter] = []
        while len(letters) < BATCH and (message := channel.basic_get(self._queue, no_ack=True)):
            properties = message.properties
            headers: Mapping[str, object] = properties.get("application_headers") or {}
            if "compression" in headers:  # workers do not compress answers
                continue
            letters.append(
                Letter(
                    message.body,
                    properties.get("content_type"),
                    properties.get("content_encoding"),
                    ticket_in(headers),
                )
            )
        return letters
