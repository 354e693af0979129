"""Receive event messages from a broker and hand over their bodies as bytes, not decoded.

A receiver (``receiver``) keeps one subscription open and reconnects; the watchdog (``watchdog``) replaces a receiver
that is stuck. There are three kinds of subscription: ``redis``, ``amqp``, and ``kombu`` for every broker.
"""

from __future__ import annotations

from typing import Final, Protocol

#: Longest message that is decoded, in bytes as the broker delivers it; a longer one is dropped.
MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
#: Content type of the empty message that takes the place of one whose body was too large to be kept.
OVERSIZED: Final = "application/x-oversized"


class SilentError(TimeoutError):
    """The broker was silent for too long: the connection is dead, and was so before anybody could know.

    Attributes:
        since: monotonic time of the last byte from the broker.
    """

    def __init__(self, message: str, *, since: float) -> None:
        super().__init__(message)
        self.since = since


class RefusedQueueError(ConnectionError):
    """RabbitMQ allows no event queue with our flags, see ``doctor.event_queue``."""

    def __init__(self) -> None:
        super().__init__(
            "RabbitMQ refuses an event queue that is neither exclusive nor durable (541, transient_nonexcl_queues); "
            "drop --no-event-queue-exclusive, set event_queue_exclusive = True in the application, or give "
            "--event-queue-durable"
        )


class Sink(Protocol):
    """Takes the bodies of messages. Called by the receiver's thread; must not raise.

    Its methods are looked up anew for each call: the watchdog replaces them when it cuts a receiver off.
    """

    def feed(self, body: bytes, /) -> None:
        """Take the JSON body of one event message."""

    def feed_all(self, bodies: list[bytes], /) -> None:
        """Take the JSON bodies of several messages that arrived together."""

    def drop(self, reason: str, detail: str, /) -> None:
        """Count a message that has no usable body."""


class Link(Protocol):
    """Is told the state of the subscription."""

    def mark_connected(self, *, standby: bool = False) -> None:
        """The broker has confirmed the subscription: events are delivered from now on, but not to a standby.

        Called again without ``standby`` when a standby has become the active consumer of its queue.
        """

    def mark_disconnected(self, error: str | None, *, since: float | None = None) -> None:
        """No events are delivered any more.

        Args:
            error: the reason in one line, which may still hold secrets.
            since: monotonic time of the last delivery, where the loss was found out late.
        """


class Subscription(Protocol):
    """One connection to a broker's event stream, from connecting to its end; feeds a sink.

    One thread uses it; only :meth:`cut` may be called by another one.
    """

    @property
    def standby(self) -> bool:
        """Whether another consumer gets the events of our queue, as far as we know; once False it stays so."""

    def open(self) -> None:
        """Connect and subscribe; returns when the broker has confirmed it. Raises what prevents it."""

    def poll(self) -> None:
        """Feed the sink with what has arrived; returns within about a second, also when nothing arrives.

        Raises:
            Exception: whatever ends the connection, also a broker that was silent for too long.
        """

    def close(self, *, clean: bool) -> None:
        """Disconnect, however far ``open`` got; only a ``clean`` close may wait for the broker."""

    def cut(self) -> None:
        """Shut the socket down, so that a thread that waits for it stops waiting.

        Called by another thread when the one that uses the subscription is stuck. Never waits; may raise.
        """
