"""A registry with so many series, filled by events through the exporter's own pipeline."""

import math
import time
from itertools import count

from benchmarks.pipelines import make_pipeline
from benchmarks.stream import NOMINAL_RATE, Workload, make_stream

#: Tasks of each kind: enough to meet many buckets, and to let some fail.
_TASKS_A_KIND = 40
#: How many kinds are tried, to learn how many series each adds.
_FEW, _MORE = 20, 120

#: What there are more of, for chance is in it which tasks fail, and how.
_SURPLUS = 1.03


class FilledRegistry:
    """A pipeline that has seen so many kinds of tasks.

    Attributes:
        registry: its own.
    """

    def __init__(self, kinds: int) -> None:
        self._kinds = kinds
        self._seeds = count()
        self._dispatcher = (pipeline := make_pipeline()).dispatcher
        self.registry = pipeline.registry
        self._feed(kinds * _TASKS_A_KIND)

    def change(self) -> None:
        """Let a task of each kind run, so that every label set of a task is another one than before."""
        self._feed(self._kinds)

    def series(self) -> int:
        """How many samples it has."""
        return sum(len(family.samples) for family in self.registry.collect())

    def _feed(self, tasks: int) -> None:
        workload = Workload(
            tasks=tasks, list_size=3, rate=NOMINAL_RATE, kinds=self._kinds, seed=next(self._seeds)
        )
        for message in make_stream(workload, time.time() - workload.seconds).messages:
            self._dispatcher.feed(message.body.encode())
        self._dispatcher.sweep()


def kinds_for(series: int) -> int:
    """How many kinds of tasks give so many series, or a few more."""
    few, more = FilledRegistry(_FEW).series(), FilledRegistry(_MORE).series()
    kinds = _FEW + (series - few) * (_MORE - _FEW) / (more - few)
    return max(1, math.ceil(kinds * _SURPLUS))
