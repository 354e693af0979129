"""Keeps equal values once, so that a million records share their names."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Interner(dict[T, T]):
    """``interner[value]`` gives the first value that was equal to this one, or this one when ``limit`` are kept.

    Only canonical values are kept: ``canonical`` gives the value that stands for this one, which is itself for most.
    """

    def __init__(self, limit: int, canonical: Callable[[T], T] = lambda value: value) -> None:
        super().__init__()
        self._limit = limit
        self._canonical = canonical

    def __missing__(self, value: T) -> T:
        canonical = self._canonical(value)
        if canonical != value:
            return self[canonical]
        if len(self) < self._limit:
            self[value] = value
        return value
