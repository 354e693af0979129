"""Readings of counters in the past, from which rates are made.

Owns: when to read, and how long that is kept.
"""

from __future__ import annotations

from collections import deque
from itertools import chain, repeat
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterable

T = TypeVar("T")


class Readings(Generic[T]):
    """The readings of the last time. One thread adds, any may read."""

    def __init__(self, seconds: tuple[float, float], now: float, first: T) -> None:
        """Args:
        seconds: between two readings, and for which they are kept.
        now: monotonic.
        first: what stood there at the start.
        """
        self._every, span = seconds
        self._kept: deque[tuple[float, T]] = deque([(now, first)], maxlen=round(span / self._every) + 1)

    def are_due(self, now: float) -> bool:
        """Whether the next one is."""
        return now - self._kept[-1][0] >= self._every

    def add(self, now: float, value: T) -> None:
        """Keep a reading."""
        self._kept.append((now, value))

    def kept(self) -> tuple[tuple[float, T], ...]:
        """All with their monotonic times, oldest first; at least one."""
        return tuple(self._kept)

    def since(self, now: float) -> tuple[float, T]:
        """The oldest: how many seconds ago it was taken, and what it was."""
        at, value = self._kept[0]
        return now - at, value


def growth(totals: Iterable[int], before: array[int]) -> list[int]:
    """How much each total has grown since a reading; totals that it has not yet were 0."""
    return [total - then for total, then in zip(totals, chain(before, repeat(0)), strict=False)]
