"""From a broker connection to bodies: receivers know a sink for bytes, and neither events nor metrics."""

from __future__ import annotations

from typing import Protocol


class Sink(Protocol):
    """Takes what arrives. Called by the receiver's thread; must not raise."""

    def feed(self, body: bytes) -> None:
        """Take the JSON body of one event message."""

    def drop(self, reason: str, detail: str) -> None:
        """Take note of a message without a body that could be fed."""


class Link(Protocol):
    """Is told of the state of the subscription."""

    def up(self) -> None:
        """Events are delivered from now on."""

    def down(self, error: str | None) -> None:
        """They are not; ``error`` says why, in one line that may hold secrets still."""
