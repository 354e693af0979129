"""A metric family declared once: what a scrape fills, the catalogue and the documentation all come from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from prometheus_client import Metric

from celery_metrics_exporter.exposition.rows import HistogramRows, ValueRows


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

    def described(self) -> Metric:
        """Make the family without samples, by which a registry knows the names."""
        return Metric(self.name.removesuffix("_total"), self.help, self.kind)

    def empty(self) -> ValueRows:
        """Make the family for numbers that are read in a scrape, by ``add_metric(label_values, value)``."""
        return ValueRows(self.name.removesuffix("_total"), self.help, self.kind, self.labels)

    def empty_histogram(self, bounds: Sequence[float], *, classic: bool = True) -> HistogramRows:
        """Make the family for distributions with these upper bounds; ``classic``: whether they are shown."""
        return HistogramRows(self.name, self.help, self.labels, bounds, classic=classic)


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
