"""Metric families as rows of numbers, which our collectors yield in a scrape.

A family of prometheus_client holds a ``Sample`` with a dict of labels for each line, which costs more than everything
else in a scrape. Our families hold numbers by label values; ``exposition.text`` makes lines from them directly. They
are still a ``Metric`` of prometheus_client: users of ``samples`` (its own encoders, ``restricted_registry``,
``get_sample_value``) get samples, which are made at that moment.

A scrape makes few objects this way, which saves work of the garbage collector.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate, repeat
from typing import TypeAlias

from prometheus_client import Metric
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

from celery_metrics_exporter.distribution import Distribution
from celery_metrics_exporter.exemplar import Exemplar
from celery_metrics_exporter.exposition.exemplars import shown

#: The label values of one series, in the order of its family's label names.
Labels: TypeAlias = tuple[str, ...]


class Rows(Metric, ABC):
    """A family of either kind. ``name`` is as in prometheus_client: a counter's name without ``_total``.

    ``sample_names``: those with which the lines of a series begin, in their order.
    """

    def __init__(
        self, name: str, documentation: str, kind: str, label_names: Labels, sample_names: tuple[str, ...]
    ) -> None:
        super().__init__(name, documentation, kind)
        del self.samples  # Metric makes a list, which would hide the property below
        self.label_names = label_names
        self.sample_names = sample_names
        self.labels: list[Labels] = []  # one entry per series; the lists of the subclasses hold the numbers
        #: When each series began to count, in epoch seconds; 0.0: at ``since``. Only protobuf shows it, of counters and
        #: histograms.
        self.created: list[float] = []
        #: When the process began to count, in epoch seconds; 0.0 if that is not known.
        self.since = 0.0

    @abstractmethod
    def _make_samples(self) -> Iterator[Sample]:
        """The rows as prometheus_client's samples."""

    @cached_property
    def samples(self) -> list[Sample]:  # type: ignore[override]  # an attribute there; here too, after the first use
        """Every line as a sample, in the order of the text format."""
        return list(self._make_samples())

    def _restricted_metric(self, names: set[str]) -> Metric | None:
        """The part of the family with these names, for prometheus_client's ``RestrictedRegistry``; None if empty.

        The family's own name stands for all of it, as in a message.

        The registry collects all families and then selects; here families that nobody wants make no samples.
        """
        wanted = names.intersection((self.name, *self.sample_names))
        if not wanted or not self.labels:
            return None
        if self.name in wanted or len(wanted) == len(self.sample_names):
            return self
        part: Metric = super()._restricted_metric(names)  # type: ignore[no-untyped-call]  # the library's
        return part


class ValueRows(Rows):
    """A counter or a gauge: one number per series."""

    def __init__(self, name: str, documentation: str, kind: str, label_names: Labels) -> None:
        sample_name = f"{name}_total" if kind == "counter" else name
        super().__init__(name, documentation, kind, label_names, (sample_name,))
        self.values: list[float] = []
        #: Of a counter, by the number of the series.
        self.exemplars: dict[int, Exemplar] = {}

    def add_metric(self, labels: Labels, value: float, created: float = 0.0) -> None:
        """Add a series."""
        self.labels.append(labels)
        self.values.append(value)
        self.created.append(created)

    def add_metrics(
        self, labels: Sequence[Labels], values: Iterable[float], created: Iterable[float] | None = None
    ) -> None:
        """Add several series: the labels, the value and the beginning of each."""
        self.labels += labels
        self.values += values
        self.created += repeat(0.0, len(labels)) if created is None else created

    def _make_samples(self) -> Iterator[Sample]:
        (name,) = self.sample_names
        for number, (labels, value) in enumerate(zip(self.labels, self.values, strict=True)):
            exemplar = self.exemplars.get(number)
            yield Sample(
                name,
                dict(zip(self.label_names, labels, strict=True)),
                value,
                exemplar=None if exemplar is None else shown(exemplar),
            )


class HistogramRows(Rows):
    """A histogram: per series the number of values in each bucket, and their sum.

    The text formats have classic buckets alone. Where these are not shown, count and sum remain: a summary without
    quantiles.
    """

    def __init__(
        self,
        name: str,
        documentation: str,
        label_names: Labels,
        bounds: Sequence[float],
        *,
        classic: bool = True,
    ) -> None:
        """Args:
        name: as in prometheus_client.
        documentation: HELP.
        label_names: of all series.
        bounds: the upper bounds in ascending order, without +Inf.
        classic: whether classic buckets are shown.
        """
        kind, buckets = ("histogram", (f"{name}_bucket",)) if classic else ("summary", ())
        super().__init__(name, documentation, kind, label_names, (*buckets, f"{name}_count", f"{name}_sum"))
        #: The values of the label ``le``.
        self.bounds = (*(go_string(bound) for bound in bounds), "+Inf") if classic else ()
        self.counts: list[tuple[int, ...]] = []
        self.sums: list[float] = []
        #: Of each series those of its buckets, if it has any; another thread may replace one.
        self.exemplars: list[Sequence[Exemplar | None]] = []
        #: Counts in native buckets again, if it did no more: whether these rows are those of before.
        self.want_native: Callable[[], bool] = lambda: False
        #: Where messages take all numbers from, at the moment when they are made.
        self.sources: list[Distribution | None] = []

    def add_metric(
        self,
        labels: Labels,
        counts: Iterable[int],
        sum_: float,
        created: float = 0.0,
        exemplars: Sequence[Exemplar | None] = (),
    ) -> None:
        """Add a series: the number of values in each bucket, the one above all bounds last, and the sum of the values.

        The counts are copied, so that ``_count`` equals the +Inf bucket while another thread goes on counting.
        """
        self.labels.append(labels)
        self.counts.append(tuple(counts))
        self.sums.append(sum_)
        self.created.append(created)
        self.exemplars.append(exemplars)
        self.sources.append(None)

    def add(self, labels: Labels, values: Distribution, created: float = 0.0) -> None:
        """Add a series of these values.

        Copies of what only messages have would stay until the page is made, and the garbage collector would go through
        all that there is several times in a scrape.
        """
        self.add_metric(labels, values.counts(), values.total, created, values.exemplars)
        self.sources[-1] = values

    def _make_samples(self) -> Iterator[Sample]:
        *buckets, count, total = self.sample_names
        for values, counts, sum_, exemplars in zip(
            self.labels, self.counts, self.sums, self.exemplars, strict=True
        ):
            labels = dict(zip(self.label_names, values, strict=True))
            found = [None if exemplar is None else shown(exemplar) for exemplar in exemplars]
            found += [None] * (len(counts) - len(found))
            for bucket in buckets:
                for bound, number, exemplar in zip(self.bounds, accumulate(counts), found, strict=True):
                    yield Sample(bucket, {**labels, "le": bound}, number, exemplar=exemplar)
            yield Sample(count, labels, sum(counts))
            yield Sample(total, labels, sum_)


def go_string(number: float) -> str:
    """The number as prometheus_client writes it, in both formats."""
    return str(floatToGoString(number))  # type: ignore[no-untyped-call]  # the library's
