"""From a broker connection to bodies: receivers know a sink for bytes, and neither events nor metrics."""

from __future__ import annotations

from typing import Final, Protocol

#: What one message may need, in bytes as the broker delivers it; a larger one is dropped undecoded.
MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024


class Sink(Protocol):
    """Takes what arrives. Called by the receiver's thread; must not raise."""

    def feed(self, body: bytes) -> None:
        """Take the JSON body of one event message."""

    def drop(self, reason: str, detail: str) -> None:
        """Take note of a message without a body that could be fed."""


class Link(Protocol):
    """Is told of the state of the subscription."""

    def up(self) -> None:
        """Events are delivered from now on: the broker has confirmed the subscription."""

    def down(self, error: str | None) -> None:
        """They are not; ``error`` says why, in one line that may hold secrets still."""


class Subscription(Protocol):
    """One connection to a broker's event stream, from connecting to its end; feeds a sink. Used by one thread."""

    def open(self) -> None:
        """Connect and subscribe; returns when the broker has confirmed it. Raises what hinders it."""

    def poll(self) -> None:
        """Feed the sink with what has come; returns within about a second also when nothing does.

        Raises:
            Exception: whatever ends the connection, also when the broker has been silent for too long.
        """

    def close(self, *, clean: bool) -> None:
        """Leave, whatever ``open`` came to; only a ``clean`` farewell may wait for the broker."""
