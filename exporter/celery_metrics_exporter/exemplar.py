"""Exemplars: for each bucket of a histogram, and for counters of failures, the latest task that was counted.

A dot on a graph of run times then leads to a task, and to its trace. One a second and bucket is enough for that, and
keeps them cheap: of most values it is only looked whether one is due.
"""

from __future__ import annotations

from typing import Final, Protocol

from msgspec import Struct

#: Between two exemplars of a bucket, or of a counter.
PAUSE_SECONDS: Final = 1.0


class Traced(Protocol):
    """What knows the trace that a task belongs to: an attempt."""

    @property
    def trace(self) -> str | None:
        """The ids of the trace and of the span that published the task, joined by ``-``; None while unknown."""


class Exemplar(Struct, frozen=True, gc=False):
    """A task that was counted.

    Attributes:
        value: its value in a histogram; 1 in a counter.
        time: when it was counted, in epoch seconds.
        due: monotonic time from which another one may take its place.
        task_id: as its events have it.
        trace: see :class:`Traced`.
    """

    value: float
    time: float
    due: float
    task_id: str
    trace: str | None
