"""Where the time comes from: injected everywhere, so that tests control it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """``wall`` gives epoch seconds, ``monotonic`` seconds for intervals."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


class BatchClock:
    """The time at which the current batch was received: one reading of both clocks for all its events.

    Everything that writes event state shares one. The dispatcher reads the clocks for each batch and each sweep.

    Attributes:
        wall: epoch seconds.
        monotonic: seconds for intervals.
    """

    __slots__ = ("_read_monotonic", "_read_wall", "monotonic", "wall")

    def __init__(self, clock: Clock) -> None:
        self._read_wall = clock.wall
        self._read_monotonic = clock.monotonic
        self.read()

    def read(self) -> None:
        """Read both clocks."""
        self.wall = self._read_wall()
        self.monotonic = self._read_monotonic()
