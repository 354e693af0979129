"""Declares the families that are counted by (task, queue), and makes their rows from the counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from operator import itemgetter
from typing import Final

from prometheus_client import Metric

from celery_metrics_exporter.cells import Cells
from celery_metrics_exporter.collectors.family import Family
from celery_metrics_exporter.config.config import NATIVE_SCHEMA, RUNTIME_BUCKETS, WAIT_BUCKETS
from celery_metrics_exporter.distribution import Distribution
from celery_metrics_exporter.exposition.rows import HistogramRows, Labels
from celery_metrics_exporter.tasks.counts import Counts, Places

#: The labels of every family here; some have one more.
TASK_LABELS: Final = ("task", "queue")


@dataclass(frozen=True, slots=True)
class Buckets:
    """The buckets of the histograms.

    Attributes:
        runtime: upper bounds in seconds of the classic buckets of run times.
        wait: those of waits.
        schema: the resolution of native buckets; None for none.
        classic: whether classic buckets are shown.
        exemplars: whether latest tasks are kept and shown.
    """

    runtime: tuple[float, ...] = RUNTIME_BUCKETS
    wait: tuple[float, ...] = WAIT_BUCKETS
    schema: int | None = NATIVE_SCHEMA
    classic: bool = True
    exemplars: bool = True


@dataclass(frozen=True, slots=True)
class _Series:
    """What each (task, queue) has of a family; ``value`` is that of a third label, if there is one."""

    family: Family
    value: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _HistogramSeries(_Series):
    bounds: Callable[[Buckets], tuple[float, ...]]
    exemplars: bool
    shows_empty: Callable[[Counts], bool]


class CountedFamilies:
    """A table of families, each declared once. A declaration gives the place of a number in :class:`Counts`."""

    def __init__(self) -> None:
        self._totals: list[_Series] = []
        self._latest: list[_Series] = []
        self._histograms: list[_HistogramSeries] = []

    def counter(self, name: str, text: str) -> int:
        """Declare a counter; its place in ``totals``. It is at 0 from when its (task, queue) is first seen."""
        self._totals.append(_Series(Family(name, "counter", text, TASK_LABELS), ()))
        return len(self._totals) - 1

    def counter_by(self, name: str, text: str, label: str, values: Sequence[str]) -> Mapping[str, int]:
        """Declare a counter with a third label; its places in ``totals``, by the value of the label."""
        family = Family(name, "counter", text, (*TASK_LABELS, label))
        first = len(self._totals)
        self._totals += [_Series(family, (value,)) for value in values]
        return {value: first + number for number, value in enumerate(values)}

    def latest(self, name: str, text: str) -> int:
        """Declare a gauge of a latest timestamp, shown when there is one; its place in ``latest``."""
        self._latest.append(_Series(Family(name, "gauge", text, TASK_LABELS), ()))
        return len(self._latest) - 1

    def histogram(
        self,
        family: Family,
        *value: str,
        bounds: Callable[[Buckets], tuple[float, ...]],
        exemplars: bool = False,
        shows_empty: Callable[[Counts], bool] = lambda _: False,
    ) -> int:
        """Declare one series of a histogram; its place in ``histograms``.

        Args:
            family: with the labels task, queue, and perhaps a third one.
            value: of the third label.
            bounds: chooses the buckets.
            exemplars: whether it keeps the latest tasks.
            shows_empty: whether it is shown before its first value.
        """
        self._histograms.append(_HistogramSeries(family, value, bounds, exemplars, shows_empty))
        return len(self._histograms) - 1

    @property
    def families(self) -> tuple[Family, ...]:
        """All of them."""
        series = (*self._totals, *self._histograms, *self._latest)
        return tuple(dict.fromkeys(each.family for each in series))

    def places(self, buckets: Buckets) -> Places:
        """What :class:`Counts` must hold for them."""
        bounds = [each.bounds(buckets) for each in self._histograms]
        cells = {each: Cells(each, None) for each in bounds}
        native = {each: Cells(each, buckets.schema) for each in cells}
        with_exemplars = (
            place for place, each in enumerate(self._histograms) if each.exemplars and buckets.exemplars
        )
        return Places(
            len(self._totals),
            len(self._latest),
            tuple(cells[each] for each in bounds),
            tuple(native[each] for each in bounds),
            frozenset(with_exemplars),
            buckets.exemplars,
        )

    def collect(
        self, counts: Sequence[Counts], cells: Sequence[Cells], expected: Sequence[Labels], *, classic: bool
    ) -> Iterator[Metric]:
        """Yield the families with the rows of all these counts.

        Args:
            counts: of each (task, queue).
            cells: in which their histograms count.
            expected: labels for which nothing was counted yet. Their counters are at 0; they have no histograms, which
                would be three quarters of their lines.
            classic: whether classic buckets are shown.
        """
        labels = [each.labels for each in counts]
        totals = [each.totals for each in counts]
        created = [each.created for each in counts]
        with_exemplars = [(number, each.exemplars) for number, each in enumerate(counts) if each.exemplars]
        counters = {each.family: each.family.empty() for each in self._totals}
        for place, series in enumerate(self._totals):
            rows = counters[series.family]
            for number, exemplars in with_exemplars:
                if place in exemplars:
                    rows.exemplars[len(rows.labels) + number] = exemplars[place]
            rows.add_metrics(_extend(labels, series.value), map(itemgetter(place), totals), created)
            rows.add_metrics(_extend(expected, series.value), repeat(0, len(expected)))
        yield from counters.values()
        yield from self._collect_histograms(counts, cells, classic=classic)
        for place, latest in enumerate(self._latest):
            rows = latest.family.empty()
            for each in counts:
                if each.latest[place]:
                    rows.add_metric(each.labels, each.latest[place])
            yield rows

    def _collect_histograms(
        self, counts: Sequence[Counts], cells: Sequence[Cells], *, classic: bool
    ) -> Iterator[Metric]:
        histograms: dict[Family, HistogramRows] = {}
        for place, (series, own) in enumerate(zip(self._histograms, cells, strict=True)):
            family = series.family
            if family not in histograms:
                histograms[family] = family.empty_histogram(own.classic_bounds, classic=classic)
            add, nothing = histograms[family].add, Distribution(own)
            for each in counts:
                distribution = each.histograms[place]
                if distribution is not None:
                    add((*each.labels, *series.value), distribution, each.created)
                elif series.shows_empty(each):
                    add((*each.labels, *series.value), nothing, each.created)
        yield from histograms.values()


def _extend(labels: Sequence[Labels], value: Labels) -> Sequence[Labels]:
    return [(*each, *value) for each in labels] if value else labels
