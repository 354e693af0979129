"""A metric family in one scrape, as rows of numbers: what our collectors yield.

A family of prometheus_client holds a ``Sample`` with a dict of labels for each line, which costs more than all the
rest. Ours hold numbers by label values, of which ``exposition.text`` makes lines at once. They are
prometheus_client's ``Metric`` all the same: whoever asks for ``samples`` (its own encoders, ``restricted_registry``,
``get_sample_value``) gets them, made in that moment.

A scrape makes few objects for them, so that it makes little work for the garbage collector.

Owns: the shape of such families. Must not know: any particular metric, what lines look like.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, TypeAlias

from prometheus_client import Metric
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

#: The label values of one series, in the order of its family's label names.
Labels: TypeAlias = tuple[str, ...]


class Rows(Metric, ABC):
    """Either kind of family. ``name`` is prometheus_client's: that of a counter without ``_total``."""

    def __init__(self, name: str, documentation: str, kind: str, label_names: Labels) -> None:
        super().__init__(name, documentation, kind)
        del self.samples  # the list that Metric makes, which hides the property
        self.label_names = label_names
        self.labels: list[Labels] = []  # of each series; further lists hold the numbers

    @property
    @abstractmethod
    def sample_names(self) -> tuple[str, ...]:
        """The names that its lines begin with."""

    @abstractmethod
    def _make_samples(self) -> Iterator[Sample]:
        """The rows as prometheus_client has them."""

    @cached_property
    def samples(self) -> list[Sample]:  # type: ignore[override]  # there an attribute; here too once it is made
        """Every line, in the order of the text format."""
        return list(self._make_samples())

    def _restricted_metric(self, names: set[str]) -> Metric | None:
        """What prometheus_client's ``RestrictedRegistry`` asks each family: itself, or less, or None.

        Its collector is asked for all of its families; this spares them the samples of those that nobody wants.
        """
        wanted = names.intersection(self.sample_names)
        if not wanted or not self.labels:
            return None
        if len(wanted) == len(self.sample_names):
            return self
        part: Metric = super()._restricted_metric(names)  # type: ignore[no-untyped-call]  # theirs
        return part


class ValueRows(Rows):
    """A counter or a gauge: a number for each series."""

    def __init__(self, name: str, documentation: str, kind: str, label_names: Labels) -> None:
        super().__init__(name, documentation, kind, label_names)
        self.sample_name = f"{name}_total" if kind == "counter" else name
        self.values: list[float] = []

    def add_metric(self, labels: Labels, value: float) -> None:
        """Add a series."""
        self.labels.append(labels)
        self.values.append(value)

    def add_metrics(self, labels: Iterable[Labels], values: Iterable[float]) -> None:
        """Add as many series as there are labels, with as many values."""
        self.labels += labels
        self.values += values

    @property
    def sample_names(self) -> tuple[str, ...]:
        """All lines begin alike."""
        return (self.sample_name,)

    def _make_samples(self) -> Iterator[Sample]:
        for labels, value in zip(self.labels, self.values, strict=True):
            yield Sample(self.sample_name, dict(zip(self.label_names, labels, strict=True)), value)


class HistogramRows(Rows):
    """A histogram: for each series the number of values up to each bound, and their sum."""

    def __init__(self, name: str, documentation: str, label_names: Labels, bounds: Sequence[float]) -> None:
        """``bounds``: upper bounds in ascending order, without the infinite one."""
        super().__init__(name, documentation, "histogram", label_names)
        #: The values of the label ``le``.
        self.bounds = (*(go_string(bound) for bound in bounds), "+Inf")
        self.counts: list[tuple[int, ...]] = []
        self.sums: list[float] = []

    def add_metric(self, labels: Labels, counts: Iterable[int], sum_: float) -> None:
        """Add a series: the number of values in each bucket, those beyond all bounds last, and the sum of the values.

        The counts are read at once, so that ``_count`` is the infinite bucket though others go on counting.
        """
        self.labels.append(labels)
        self.counts.append(tuple(counts))
        self.sums.append(sum_)

    @property
    def sample_names(self) -> tuple[str, ...]:
        """In the order of a series' lines."""
        return (f"{self.name}_bucket", f"{self.name}_count", f"{self.name}_sum")

    def _make_samples(self) -> Iterator[Sample]:
        bucket, count, total = self.sample_names
        for values, counts, sum_ in zip(self.labels, self.counts, self.sums, strict=True):
            labels = dict(zip(self.label_names, values, strict=True))
            for bound, number in zip(self.bounds, accumulate(counts), strict=True):
                yield Sample(bucket, {**labels, "le": bound}, number)
            yield Sample(count, labels, sum(counts))
            yield Sample(total, labels, sum_)


def go_string(number: float) -> str:
    """The number as both formats write it."""
    return str(floatToGoString(number))  # type: ignore[no-untyped-call]  # theirs
