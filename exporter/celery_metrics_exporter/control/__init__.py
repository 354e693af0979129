"""Remote control: broadcast commands to all workers, and read their answers.

``remote`` is the loop that asks; ``mailbox`` sends commands and finds the command of an answer; ``transport`` and
``redis_transport`` carry messages over each kind of broker.
"""

from __future__ import annotations

from typing import Protocol


class RefusedError(Exception):
    """The broker answers and refuses what we want to do; the message is the broker's own."""


class Probed(Protocol):
    """Is told the result of a probe; called by the thread that sends it."""

    def published(self) -> None:
        """The broker has accepted the probe."""

    def refused(self) -> None:
        """The broker refuses the probe, or would not deliver it to us."""

    def failed(self) -> None:
        """The broker cannot be reached, or does not answer."""
