"""One object for all that are equal: what a million records name alike is kept once.

Owns: the table of what is shared, bounded in number. Must not know: what it is.
"""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


class Shared(dict[T, T]):
    """``shared[value]`` gives the first value that was equal to this one, or this one once ``limit`` are kept."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def __missing__(self, value: T) -> T:
        if len(self) < self._limit:
            self[value] = value
        return value
