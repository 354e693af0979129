"""A metric family declared once: the object that counts, the catalogue and the documentation all come from it.

Owns: declaration, the guard's and the collectors' protocols. Must not know: any particular metric.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from prometheus_client import Counter, Gauge, Histogram, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.utils import floatToGoString

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from exporter.events import AnyEvent


EventT = TypeVar("EventT", bound="AnyEvent")


@dataclass(frozen=True, slots=True)
class Family:
    """One metric family. ``name`` is the one in queries, so that of a counter ends in ``_total``."""

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

    def histogram(self, buckets: Sequence[float]) -> Histogram:
        """Make the histogram with these upper bounds, the infinite one is added."""
        return Histogram(self.name, self.help, self.labels, buckets=buckets, registry=None)

    def described(self) -> Metric:
        """Make the family without samples, by which a registry knows the names."""
        return Metric(self.name.removesuffix("_total"), self.help, self.kind)

    def empty(self) -> CounterMetricFamily | GaugeMetricFamily:
        """Make the family for samples that are worked out in a scrape, by ``add_metric(label_values, value)``."""
        if self.kind == "counter":
            return CounterMetricFamily(self.name.removesuffix("_total"), self.help, labels=self.labels)
        return GaugeMetricFamily(self.name, self.help, labels=self.labels)


class Distribution:
    """A histogram without labels, for what is observed with every event: a third of the time of ``Histogram.observe``.

    One thread at a time observes, any may read.
    """

    def __init__(self, family: Family, bounds: Sequence[float]) -> None:
        """``bounds``: upper bounds in ascending order; the infinite one is added."""
        self._family = family
        self._bounds = tuple(map(float, bounds))
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value in its bucket."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def collect(self) -> Iterable[Metric]:
        """Yield the family."""
        metric = HistogramMetricFamily(self._family.name, self._family.help, labels=self._family.labels)
        names = [*map(floatToGoString, self._bounds), "+Inf"]
        metric.add_metric((), list(zip(names, accumulate(self._counts), strict=True)), self._sum)
        yield metric


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
