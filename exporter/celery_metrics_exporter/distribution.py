"""The values of one histogram series, counted in classic and native buckets."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate, zip_longest
from typing import Final, NamedTuple

from celery_metrics_exporter.cells import Cells
from celery_metrics_exporter.clock import BatchClock
from celery_metrics_exporter.exemplar import PAUSE_SECONDS, Exemplar, Traced

#: Native buckets of a series; with one more the resolution is halved, as Go's client does
#: (``prometheus/histogram.go``, ``limitBuckets`` with NativeHistogramMaxBucketNumber).
MAX_NATIVE_BUCKETS: Final = 160
#: Empty native buckets that are cheaper than a new span (there, ``makeBuckets``).
_MAX_GAP: Final = 2


class Native(NamedTuple):
    """Native buckets as Prometheus' protobuf messages have them.

    Attributes:
        schema: the resolution.
        zero_count: number of values in the zero bucket.
        spans: of each row of buckets its distance to the one before, for the first one its bucket, and its length.
        deltas: of each bucket in the spans the number of values in it, less that of the bucket before.
    """

    schema: int
    zero_count: int
    spans: list[tuple[int, int]]
    deltas: list[int]


class Snapshot:
    """What a distribution was at one moment; the numbers of both kinds are of the same values.

    Attributes:
        total: sum of all values.
        exemplars: by classic bucket.
    """

    __slots__ = ("_cells", "_counts", "exemplars", "total")

    def __init__(
        self, cells: Cells, counts: dict[int, int], total: float, exemplars: Mapping[int, Exemplar]
    ) -> None:
        self._cells = cells
        self._counts = counts
        self.total = total
        self.exemplars = exemplars

    def classic(self) -> tuple[int, ...]:
        """How many values are in each classic bucket, those beyond all bounds last."""
        counts = [0] * (len(self._cells.classic_bounds) + 1)
        bucket_of = self._cells.classic
        for cell, number in self._counts.items():
            counts[bucket_of[cell]] += number
        return tuple(counts)

    def native(self) -> Native | None:
        """The native buckets; None if there shall be none."""
        cells = self._cells
        if cells.schema is None:
            return None
        numbers = _native_counts(cells, self._counts)
        zero_count = numbers.pop(cells.zero, 0)
        spans: list[tuple[int, int]] = []
        deltas: list[int] = []
        following = before = 0
        for bucket in sorted(numbers):
            gap = bucket - following
            if not spans or gap > _MAX_GAP:
                spans.append((gap, 1))
            else:
                for _ in range(gap):
                    deltas.append(-before)
                    before = 0
                spans[-1] = (spans[-1][0], spans[-1][1] + gap + 1)
            deltas.append(numbers[bucket] - before)
            before, following = numbers[bucket], bucket + 1
        return Native(cells.schema, zero_count, spans, deltas)


class Distribution:
    """One series of a histogram, without the lock and the search by comparison of ``Histogram.observe``.

    One thread at a time observes, any may read. It has a number for each cell in which there was a value: most series
    have few.

    Attributes:
        total: sum of all values.
    """

    __slots__ = ("_bounds", "_counts", "total")

    def __init__(self, cells: Cells) -> None:
        self._bounds = cells.bounds
        self._counts = _Counts(cells)
        self.total = 0.0

    def observe(self, value: float, _task_id: str = "", _task: Traced | None = None) -> None:
        """Count a value in its cell."""
        try:
            self._counts[bisect_left(self._bounds, value)] += 1
        except KeyError:
            self._add(value, 1)
        self.total += value

    def observe_all(self, values: list[float]) -> None:
        """Count several, in a few steps for each cell that they are in: they are sorted for that."""
        values.sort()
        done, number = 0, len(values)
        while done < number:
            bounds = self._bounds
            cell = bisect_left(bounds, values[done])
            upto = bisect_right(values, bounds[cell], done) if cell < len(bounds) else number
            try:
                self._counts[cell] += upto - done
            except KeyError:
                self._add(values[done], upto - done)
            done = upto
        self.total += sum(values)

    def _add(self, value: float, number: int) -> None:
        """Count values of a cell that may be the first ones in it."""
        counts = self._counts
        cell = bisect_left(self._bounds, value)
        counts[cell] = counts.get(cell, 0) + number
        while len(self._counts) > MAX_NATIVE_BUCKETS and self._has_many_buckets():
            self._halve()

    def _has_many_buckets(self) -> bool:
        cells = self._counts.cells
        return len(_native_counts(cells, self._counts).keys() - {cells.zero}) > MAX_NATIVE_BUCKETS

    def _halve(self) -> None:
        """Halve the resolution. A reader sees the numbers of before or those of after."""
        before, cells = self._counts, self._counts.cells.coarser
        counts = _Counts(cells)
        for cell, number in before.items():
            wider = bisect_left(cells.bounds, before.cells.end(cell))
            counts[wider] = counts.get(wider, 0) + number
        self._counts, self._bounds = counts, cells.bounds

    def merge(self, other: Distribution) -> None:
        """Add the values of another distribution with the same bounds, of whatever resolution."""
        counts, cells = other._counts.copy(), other._counts.cells
        while _schema(self._counts.cells) > _schema(cells):
            self._halve()
        for cell, number in counts.items():
            self._add(cells.end(cell), number)
        self.total += other.total

    def snapshot(self) -> Snapshot:
        """What it is now."""
        counts = self._counts
        return Snapshot(counts.cells, counts.copy(), self.total, {})

    def counts(self) -> tuple[int, ...]:
        """How many values are in each classic bucket, those beyond all bounds last."""
        return self.snapshot().classic()

    def mean(self) -> float | None:
        """Of all values; None if there are none."""
        number = sum(self._counts.copy().values())
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


class ExemplarDistribution(Distribution):
    """A distribution that keeps exemplars.

    Attributes:
        due: monotonic times of the next ones, by classic bucket.
        exemplars: the latest ones, by classic bucket.
    """

    __slots__ = ("_now", "due", "exemplars")

    def __init__(self, cells: Cells, now: BatchClock) -> None:
        super().__init__(cells)
        self._now = now
        self.due = [0.0] * (len(cells.classic_bounds) + 1)
        self.exemplars: dict[int, Exemplar] = {}

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
        if now.monotonic >= self.due[bucket]:
            self.due[bucket] = now.monotonic + PAUSE_SECONDS
            self.exemplars[bucket] = Exemplar(value, now.wall, task_id, None if task is None else task.trace)

    def merge(self, other: Distribution) -> None:
        """Add the values, and of each bucket the later exemplar, of another distribution with the same bounds."""
        super().merge(other)
        if isinstance(other, ExemplarDistribution):
            for bucket, exemplar in other.exemplars.items():
                if self.due[bucket] <= other.due[bucket]:
                    self.due[bucket] = other.due[bucket]
                    self.exemplars[bucket] = exemplar

    def snapshot(self) -> Snapshot:
        """What it is now."""
        counts = self._counts
        return Snapshot(counts.cells, counts.copy(), self.total, self.exemplars.copy())


class _Counts(dict[int, int]):
    """Number of values by cell; none is 0. It has the cells with it, so that a reader has both at once."""

    __slots__ = ("cells",)

    def __init__(self, cells: Cells) -> None:
        self.cells = cells


def _native_counts(cells: Cells, counts: dict[int, int]) -> dict[int, int]:
    """Number of values by native bucket."""
    numbers: dict[int, int] = {}
    for cell, number in counts.items():
        bucket = cells.native[cell]
        numbers[bucket] = numbers.get(bucket, 0) + number
    return numbers


def _schema(cells: Cells) -> int:
    return 0 if cells.schema is None else cells.schema
