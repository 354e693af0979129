"""A metric family declared once: the object that counts, the catalogue and the documentation all come from it.

Owns: declaration, the guard's and the collectors' protocols. Must not know: any particular metric.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import accumulate, zip_longest
from typing import TYPE_CHECKING, Literal, Protocol

from prometheus_client import Counter, Gauge, Metric

from celery_metrics_exporter.exposition.rows import HistogramRows, Labels, ValueRows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """One metric family, hashed by identity. ``name`` is the one in queries: that of a counter ends in ``_total``."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """The encoders write names as they are: those of letters, digits and underscores need no escape."""
        for name in (self.name, *self.labels):
            if not (name.isascii() and name.isidentifier()):
                raise ValueError(f"{name!r} is no plain name")

    def counter(self) -> Counter:
        """Make the counter; it belongs to no registry, its collector yields it."""
        return Counter(self.name.removesuffix("_total"), self.help, self.labels, registry=None)

    def gauge(self) -> Gauge:
        """Make the gauge."""
        return Gauge(self.name, self.help, self.labels, registry=None)

    def described(self) -> Metric:
        """Make the family without samples, by which a registry knows the names."""
        return Metric(self.name.removesuffix("_total"), self.help, self.kind)

    def empty(self) -> ValueRows:
        """Make the family for numbers that are read in a scrape, by ``add_metric(label_values, value)``."""
        return ValueRows(self.name.removesuffix("_total"), self.help, self.kind, self.labels)

    def empty_histogram(self, bounds: Sequence[float]) -> HistogramRows:
        """Make the family for distributions with these upper bounds, which add themselves."""
        return HistogramRows(self.name, self.help, self.labels, bounds)


class Distribution:
    """One series of a histogram, without the lock and the search by comparison of ``Histogram.observe``.

    One thread at a time observes, any may read.
    """

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        """``bounds``: upper bounds in ascending order; the infinite one is added."""
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value in its bucket."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

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
        self._sum += sum(values)

    def add_to(self, metric: HistogramRows, labels: Labels) -> None:
        """Add the series to its family, under these label values."""
        metric.add_metric(labels, self._counts, self._sum)

    def counts(self) -> tuple[int, ...]:
        """How many values are in each bucket, those beyond all bounds last."""
        return tuple(self._counts)

    def mean(self) -> float | None:
        """Of all values; None if there are none."""
        number = sum(self._counts)
        return self._sum / number if number else None

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


class Collector(Protocol):
    """One subject: its families, and the handlers that feed them."""

    @property
    def name(self) -> str:
        """The value of the label ``collector``."""

    @property
    def families(self) -> tuple[Family, ...]:
        """Every family that it may yield."""

    def collect(self) -> Iterable[Metric]:
        """Yield the families as they are now. Called in scrapes, from any thread; never waits for the network."""
