"""Keeps equal values once, so that a million records share their names."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


class Interner(dict[T, T]):
    """``interner[value]`` gives the first value that was equal to this one, or this one when ``limit`` are kept."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def __missing__(self, value: T) -> T:
        if len(self) < self._limit:
            self[value] = value
        return value
