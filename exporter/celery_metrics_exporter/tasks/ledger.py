"""What can be counted for an attempt of a task, and a ledger that keeps it until the labels are known.

Owns: the :class:`Ledger` protocol and :class:`HeldLedger`. The ledger that really counts, one for each (task, queue),
is in ``collectors/task_ledger.py``. Must not know: events, metrics, brokers.
"""
# ruff: noqa: D102 - the entries of HeldLedger are those of Ledger

from __future__ import annotations

from operator import methodcaller
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

#: Entries that wait for the labels of one attempt; a message that comes back without end makes more.
MAX_ENTRIES: Final = 100


class Ledger(Protocol):
    """One method for each thing that is counted under (task, queue). Times in epoch seconds, durations in seconds."""

    def sent(self) -> None:
        """A client published the task."""

    def received(self) -> None:
        """A worker fetched it."""

    def started(self) -> None:
        """A worker started it."""

    def queue_wait(self, seconds: float) -> None:
        """It started this long after it was due."""

    def prefetch_wait(self, seconds: float) -> None:
        """A worker held it this long before it started."""

    def succeeded(self, timestamp: float, runtime: float | None) -> None:
        """It succeeded."""

    def failed(self, timestamp: float, exception: str, runtime: float | None) -> None:
        """It failed with an exception of this class."""

    def retried(self, exception: str, runtime: float | None) -> None:
        """It will be tried again because of an exception of this class."""

    def rejected(self, requeue: str) -> None:
        """Its message was given back to the broker; ``requeue`` is "true" or "false"."""

    def revoked(self, reason: str) -> None:
        """It was revoked; ``reason`` is revoked, expired or terminated."""

    def cancelled(self) -> None:
        """It was cancelled with the connection of its worker."""


class HeldLedger:
    """Remembers every entry, in order, to make it in another ledger later."""

    __slots__ = ("_entries", "_heir", "_on_full")

    def __init__(self, on_full: Callable[[], object]) -> None:
        """``on_full`` is called when there are too many entries, and has to have them replayed."""
        self._entries: list[Callable[[Ledger], None]] = []
        self._heir: Ledger | None = None
        self._on_full = on_full

    def replay(self, ledger: Ledger) -> None:
        """Make the entries in ``ledger``, those that are still to come too."""
        self._heir = ledger
        for entry in self._entries:
            entry(ledger)
        self._entries.clear()

    def _enter(self, entry: Callable[[Ledger], None]) -> None:
        if self._heir is not None:
            entry(self._heir)
            return
        self._entries.append(entry)
        if len(self._entries) >= MAX_ENTRIES:
            self._on_full()

    def sent(self) -> None:
        self._enter(methodcaller("sent"))

    def received(self) -> None:
        self._enter(methodcaller("received"))

    def started(self) -> None:
        self._enter(methodcaller("started"))

    def queue_wait(self, seconds: float) -> None:
        self._enter(methodcaller("queue_wait", seconds))

    def prefetch_wait(self, seconds: float) -> None:
        self._enter(methodcaller("prefetch_wait", seconds))

    def succeeded(self, timestamp: float, runtime: float | None) -> None:
        self._enter(methodcaller("succeeded", timestamp, runtime))

    def failed(self, timestamp: float, exception: str, runtime: float | None) -> None:
        self._enter(methodcaller("failed", timestamp, exception, runtime))

    def retried(self, exception: str, runtime: float | None) -> None:
        self._enter(methodcaller("retried", exception, runtime))

    def rejected(self, requeue: str) -> None:
        self._enter(methodcaller("rejected", requeue))

    def revoked(self, reason: str) -> None:
        self._enter(methodcaller("revoked", reason))

    def cancelled(self) -> None:
        self._enter(methodcaller("cancelled"))
