"""The values of one histogram series, counted in classic and native buckets."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate, zip_longest
from typing import Final

from celery_metrics_exporter.bucket_counts import BucketCounts, native_counts
from celery_metrics_exporter.cells import Cells
from celery_metrics_exporter.clock import BatchClock
from celery_metrics_exporter.exemplar import PAUSE_SECONDS, Exemplar, Traced

#: Native buckets of a series; with one more the resolution is halved, as Go's client does
#: (``prometheus/histogram.go``, ``limitBuckets`` with NativeHistogramMaxBucketNumber).
MAX_NATIVE_BUCKETS: Final = 160
#: Values that are worth sorting.
_MANY: Final = 500


class Distribution:
    """One series of a histogram, without the lock and the search by comparison of ``Histogram.observe``.

    One thread at a time observes, any may read. It has a number for each cell in which there was a value: most series
    have few.

    Attributes:
        total: sum of all values.
        exemplars: the latest one of each classic bucket, if they are kept; None where there is none yet.
    """

    __slots__ = ("_bounds", "_counts", "total")

    exemplars: Sequence[Exemplar | None] = ()

    def __init__(self, cells: Cells) -> None:
        self._bounds = cells.bounds
        self._counts = counts = _Counts()
        counts.cells = cells
        self.total = 0.0

    def observe(self, value: float, _task_id: str = "", _task: Traced | None = None) -> None:
        """Count a value in its cell."""
        try:
            self._counts[bisect_left(self._bounds, value)] += 1
        except KeyError:
            self._add(value, 1)
        self.total += value

    def _add(self, value: float, number: int) -> None:
        """Count values of a cell that may be the first ones in it."""
        counts = self._counts
        cell = bisect_left(self._bounds, value)
        counts[cell] = counts.get(cell, 0) + number
        self._make_room()

    def _make_room(self) -> None:
        while len(self._counts) > MAX_NATIVE_BUCKETS and self._has_many_buckets():
            self.recount(self._counts.cells.coarser)

    def _has_many_buckets(self) -> bool:
        cells = self._counts.cells
        return len(native_counts(cells, self._counts).keys() - {cells.zero}) > MAX_NATIVE_BUCKETS

    def recount(self, cells: Cells) -> None:
        """Count in other cells with the same classic buckets. A reader sees the numbers of before or those of after.

        What was counted is at the end of its cell: without native buckets before, that of its classic bucket.
        """
        before, counts = self._counts, _Counts()
        counts.cells, counts.pending = cells, []
        for cell, number in before.items():
            wider = bisect_left(cells.bounds, before.cells.end(cell))
            counts[wider] = counts.get(wider, 0) + number
        self._counts, self._bounds = counts, cells.bounds

    def merge(self, other: Distribution) -> None:
        """Add the values of another distribution with the same bounds, of whatever resolution."""
        added = other.snapshot()
        own, others = self._counts.cells.schema, added.cells.schema
        for _ in range(0 if own is None or others is None else own - others):
            self.recount(self._counts.cells.coarser)
        for cell, number in added.numbers.items():
            self._add(added.cells.end(cell), number)
        self.total += added.total

    def snapshot(self) -> BucketCounts:
        """What it is now."""
        counts = self._counts
        return BucketCounts(counts.cells, counts.copy(), self.total)

    def counts(self) -> tuple[int, ...]:
        """How many values are in each classic bucket, those beyond all bounds last."""
        return self.snapshot().classic()

    def mean(self) -> float | None:
        """Of all values; None if there are none."""
        number = sum(self.counts())
        return self.total / number if number else None

    def bound_of(self, share: float, *, since: Sequence[int]) -> float | None:
        """The upper bound within which this share of the values is that came after ``counts()`` was ``since``.

        Infinite beyond the last classic bound, None if no value came.
        """
        grown = [now - before for now, before in zip_longest(self.counts(), since, fillvalue=0)]
        needed = share * sum(grown)
        if not needed:
            return None
        bounds = (*self._counts.cells.classic_bounds, math.inf)
        return next(bound for bound, upto in zip(bounds, accumulate(grown), strict=True) if upto >= needed)


class BatchDistribution(Distribution):
    """A distribution of values that come in batches, and are counted when there are many.

    Sorted, they take a few steps for each cell that they are in: half of what it takes to search the cell of each.
    """

    __slots__ = ()

    def __init__(self, cells: Cells) -> None:
        super().__init__(cells)
        self._counts.pending = []

    def observe_all(self, values: list[float]) -> None:
        """Count several."""
        pending = self._counts.pending
        pending += values
        self.total += sum(values)
        if len(pending) >= _MANY:
            self._counts = self._settled()
            self._make_room()

    def recount(self, cells: Cells) -> None:
        """As that of every distribution."""
        self._counts = self._settled()
        super().recount(cells)

    def snapshot(self) -> BucketCounts:
        """What it is now."""
        counts = self._settled()
        return BucketCounts(counts.cells, counts, self.total)

    def _settled(self) -> _Counts:
        """New counts, in which nothing is pending. A reader keeps those of before, which do not change any more."""
        before = self._counts
        counts = _Counts(before)
        counts.cells, counts.pending = before.cells, []
        bounds, values = before.cells.bounds, sorted(before.pending)
        done, number = 0, len(values)
        while done < number:
            cell = bisect_left(bounds, values[done])
            upto = bisect_right(values, bounds[cell], done) if cell < len(bounds) else number
            counts[cell] = counts.get(cell, 0) + upto - done
            done = upto
        return counts


class ExemplarDistribution(Distribution):
    """A distribution that keeps exemplars."""

    __slots__ = ("_now", "exemplars")

    def __init__(self, cells: Cells, now: BatchClock) -> None:
        Distribution.__init__(self, cells)  # a super() costs more, and many are made for one value
        self._now = now
        self.exemplars: list[Exemplar | None] = [None] * (len(cells.classic_bounds) + 1)

    def observe(self, value: float, task_id: str = "", task: Traced | None = None) -> None:
        """Count a value of a task."""
        counts = self._counts
        cell = bisect_left(self._bounds, value)
        try:
            counts[cell] += 1
        except KeyError:
            self._add(value, 1)
        self.total += value
        bucket, now = counts.cells.classic[cell], self._now
        latest = self.exemplars[bucket]
        if latest is None or now.monotonic >= latest.due:
            trace = None if task is None else task.trace
            due = now.monotonic + PAUSE_SECONDS
            self.exemplars[bucket] = Exemplar(value, now.wall, due, task_id, trace)

    def merge(self, other: Distribution) -> None:
        """Add the values, and of each bucket the later exemplar, of another distribution with the same bounds."""
        super().merge(other)
        for bucket, exemplar in enumerate(other.exemplars):
            own = self.exemplars[bucket]
            if exemplar is not None and (own is None or own.due <= exemplar.due):
                self.exemplars[bucket] = exemplar


class _Counts(dict[int, int]):
    """Number of values by cell; none is 0. It has the cells with it, so that a reader has both at once.

    ``pending``: values of a :class:`BatchDistribution` that are to be counted.

    One without a number has 0 until there is no room for more, then it is missing: an exception for each first value
    would cost as much as ten values.
    """

    __slots__ = ("cells", "pending")

    cells: Cells
    pending: list[float]

    def __missing__(self, cell: int) -> int:
        if len(self) >= MAX_NATIVE_BUCKETS:
            raise KeyError(cell)
        return 0
