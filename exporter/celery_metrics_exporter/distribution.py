"""The values of one histogram series, counted in buckets."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate, zip_longest
from operator import add


class Distribution:
    """One series of a histogram, without the lock and the search by comparison of ``Histogram.observe``.

    One thread at a time observes, any may read.

    Attributes:
        total: sum of all values.
    """

    __slots__ = ("_bounds", "_counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        """``bounds``: upper bounds in ascending order; the infinite one is added."""
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value in its bucket."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def observe_all(self, values: list[float]) -> None:
        """Count several, in a few steps for each bucket that they are in: they are sorted for that."""
        values.sort()
        bounds, counts = self._bounds, self._counts
        done, number = 0, len(values)
        while done < number:
            bucket = bisect_left(bounds, values[done])
            upto = bisect_right(values, bounds[bucket], done) if bucket < len(bounds) else number
            counts[bucket] += upto - done
            done = upto
        self.total += sum(values)

    def merge(self, other: Distribution) -> None:
        """Add the values of another distribution with the same bounds."""
        self._counts[:] = map(add, self._counts, other._counts)
        self.total += other.total

    def counts(self) -> tuple[int, ...]:
        """How many values are in each bucket, those beyond all bounds last."""
        return tuple(self._counts)

    def mean(self) -> float | None:
        """Of all values; None if there are none."""
        number = sum(self._counts)
        return self.total / number if number else None

    def bound_of(self, share: float, *, since: Sequence[int]) -> float | None:
        """The upper bound within which this share of the values is that came after ``counts()`` was ``since``.

        Infinite beyond the last bound, None if no value came.
        """
        grown = [now - before for now, before in zip_longest(self._counts, since, fillvalue=0)]
        needed = share * sum(grown)
        if not needed:
            return None
        bounds = (*self._bounds, math.inf)
        return next(bound for bound, upto in zip(bounds, accumulate(grown), strict=True) if upto >= needed)
