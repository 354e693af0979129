"""A metric family declared once: the object that counts, the catalogue and the documentation all come from it.

Owns: declaration, the guard's and the collectors' protocols. Must not know: any particular metric.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, TypeVar

from prometheus_client import Counter, Gauge, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.utils import floatToGoString

SampledFamily: TypeAlias = CounterMetricFamily | GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from exporter.events import AnyEvent


EventT = TypeVar("EventT", bound="AnyEvent")


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """One metric family, hashed by identity. ``name`` is the one in queries: that of a counter ends in ``_total``."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()

    def counter(self) -> Counter:
        """Make the counter; it belongs to no registry, its collector yields it."""
        return Counter(self.name.removesuffix("_total"), self.help, self.labels, registry=None)

    def gauge(self) -> Gauge:
        """Make the gauge."""
        return Gauge(self.name, self.help, self.labels, registry=None)

    def described(self) -> Metric:
        """Make the family without samples, by which a registry knows the names."""
        return Metric(self.name.removesuffix("_total"), self.help, self.kind)

    def empty(self) -> SampledFamily:
        """Make the family for samples that are worked out in a scrape, by ``add_metric(label_values, value)``."""
        if self.kind == "counter":
            return CounterMetricFamily(self.name.removesuffix("_total"), self.help, labels=self.labels)
        return GaugeMetricFamily(self.name, self.help, labels=self.labels)

    def empty_histogram(self) -> HistogramMetricFamily:
        """Make the family for distributions, which add themselves."""
        return HistogramMetricFamily(self.name, self.help, labels=self.labels)


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

    def add_to(self, metric: HistogramMetricFamily, labels: Sequence[str]) -> None:
        """Add the series to its family, under these label values."""
        names = [*(_bound(bound) for bound in self._bounds), "+Inf"]
        metric.add_metric(labels, list(zip(names, accumulate(tuple(self._counts)), strict=True)), self._sum)


def _bound(bound: float) -> str:
    """The value of the label ``le``."""
    return str(floatToGoString(float(bound)))  # type: ignore[no-untyped-call]  # the library's


class Subscribe(Protocol):
    """Names a handler for a type of event; mypy checks that the handler takes that type."""

    def __call__(self, kind: type[EventT], handler: Callable[[EventT], None], /) -> None:
        """From now on each event of this type goes to ``handler`` too."""


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
