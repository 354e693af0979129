"""Readings of counters in the past, from which rates are made.

Owns: when to read, and how long that is kept.
"""

from __future__ import annotations

from collections import deque
from itertools import chain, repeat
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")


class Readings(Generic[T]):
    """The readings of the last time. One thread adds, any may read."""

    def __init__(self, read: Callable[[], T], seconds: tuple[float, float], now: float, *, first: T) -> None:
        """Args:
        read: tells what stands there now.
        seconds: between two readings, and for which they are kept.
        now: monotonic.
        first: what stood there at the start.
        """
        self._read = read
        self._every, span = seconds
        self._kept: deque[tuple[float, T]] = deque([(now, first)], maxlen=round(span / self._every) + 1)

    def sweep(self, now: float) -> None:
        """Take the next one, if it is due."""
        if now - self._kept[-1][0] >= self._every:
            self._kept.append((now, self._read()))

    def kept(self) -> tuple[tuple[float, T], ...]:
        """All with their monotonic times, oldest first; at least one."""
        return tuple(self._kept)

    def since(self, now: float) -> tuple[float, T]:
        """The oldest: how many seconds ago it was taken, and what it was."""
        at, value = self._kept[0]
        return now - at, value


def growth(totals: Iterable[int], before: Iterable[int]) -> list[int]:
    """How much each total has grown since a reading; totals that it has not yet were 0."""
    return [total - then for total, then in zip(totals, chain(before, repeat(0)), strict=False)]
