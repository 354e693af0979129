"""From a broker connection to bodies: receivers know a sink for bytes, and neither events nor metrics."""

from __future__ import annotations

from typing import Final, Protocol

#: What one message may need, in bytes as the broker delivers it; a larger one is dropped undecoded.
MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
#: Content type of the empty message that stands for one whose body was too large to be kept.
OVERSIZED: Final = "application/x-oversized"


class SilentError(TimeoutError):
    """The broker was silent for too long: the link is dead, and was so before anybody could know.

    Attributes:
        since: monotonic time at which it was last heard.
    """

    def __init__(self, message: str, *, since: float) -> None:
        super().__init__(message)
        self.since = since


class Sink(Protocol):
    """Takes what arrives. Called by the receiver's thread; must not raise.

    Its methods are looked up anew for each call: the watchdog replaces them to cut a receiver off.
    """

    def feed(self, body: bytes, /) -> None:
        """Take the JSON body of one event message."""

    def feed_all(self, bodies: list[bytes], /) -> None:
        """Take those of several that came together."""

    def drop(self, reason: str, detail: str, /) -> None:
        """Take note of a message without a body that could be fed."""


class Link(Protocol):
    """Is told of the state of the subscription."""

    def up(self) -> None:
        """Events are delivered from now on: the broker has confirmed the subscription."""

    def down(self, error: str | None, *, since: float | None = None) -> None:
        """They are not; ``error`` says why, in one line that may hold secrets still.

        ``since``: the monotonic time from which on none was, where that was found out late.
        """


class Subscription(Protocol):
    """One connection to a broker's event stream, from connecting to its end; feeds a sink.

    Used by one thread, but for :meth:`cut`.
    """

    def open(self) -> None:
        """Connect and subscribe; returns when the broker has confirmed it. Raises what hinders it."""

    def poll(self) -> None:
        """Feed the sink with what has come; returns within about a second also when nothing does.

        Raises:
            Exception: whatever ends the connection, also when the broker has been silent for too long.
        """

    def close(self, *, clean: bool) -> None:
        """Leave, whatever ``open`` came to; only a ``clean`` farewell may wait for the broker."""

    def cut(self) -> None:
        """Shut the socket, if there is one, so that whoever waits for it waits no more.

        Called by another thread while the one that uses the subscription is stuck. Waits for nothing; may raise.
        """
