"""Where the time comes from. Injected everywhere, so that tests rule it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Clock:
    """``wall`` gives epoch seconds, ``monotonic`` seconds for intervals."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


class Moment:
    """When that came which is handled now: one reading of both clocks for all events of a body, or for one sweep.

    Whoever writes event state shares one; the dispatcher reads the clocks into it.

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
        """It is now."""
        self.wall = self._read_wall()
        self.monotonic = self._read_monotonic()
