"""Plain numbers of what happened to tasks: by (task, queue), and of one attempt until its queue is known.

Each number has a place in a list; ``collectors/task.py`` declares which metric is at which place. A number costs a
tenth of a child of ``prometheus_client.Counter``, which takes a lock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from operator import add
from typing import TypeAlias

from celery_metrics_exporter.cells import Cells
from celery_metrics_exporter.clock import BatchClock
from celery_metrics_exporter.distribution import Distribution, ExemplarDistribution
from celery_metrics_exporter.exemplar import PAUSE_SECONDS, Exemplar, Traced
from celery_metrics_exporter.labels import OTHER, UNKNOWN, SeriesLimit, clean, queue_label

#: Name and queue of a publication; None while unknown.
Kind: TypeAlias = tuple[str | None, str | None]


def labelled(kind: Kind) -> Kind:
    """The same with the label of the queue, which queues of one process each share."""
    task, queue = kind
    return task, None if queue is None else queue_label(queue)


@dataclass(frozen=True, slots=True)
class Places:
    """How much a :class:`Counts` holds.

    Attributes:
        totals: number of counters.
        latest: number of timestamps.
        classic_cells: of each histogram those without native buckets ...
        native_cells: ... and those with them.
        with_exemplars: the histograms that keep exemplars.
        keeps_exemplars: whether anything does.
    """

    totals: int
    latest: int
    classic_cells: tuple[Cells, ...]
    native_cells: tuple[Cells, ...]
    with_exemplars: frozenset[int] = frozenset()
    keeps_exemplars: bool = False


class Counts:
    """Counters, timestamps and histograms of one (task, queue). One thread at a time writes, any may read.

    An attempt that waits for its task-sent has counts of its own, without labels, and one that was only sent shares
    theirs with all others. They are merged into those of its (task, queue) once that is decided.

    Attributes:
        labels: task and queue; empty while the attempt waits.
        created: epoch seconds at which nothing was counted yet.
        totals: the counters, by place.
        latest: the latest timestamps in epoch seconds, by place; 0.0 before the first.
        histograms: by place; None before the first value.
        exceptions: number of exceptions, by (class, outcome).
        exemplars: of counters, by place.
    """

    __slots__ = (
        "_label_sets",
        "created",
        "exceptions",
        "exemplars",
        "histograms",
        "labels",
        "latest",
        "totals",
    )

    def __init__(self, label_sets: LabelSets, labels: tuple[str, ...]) -> None:
        self._label_sets = label_sets
        self.labels = labels
        self.created = label_sets.now.wall
        self.totals = label_sets.no_totals.copy()
        # Shared until something is counted: most attempts that wait need none of these.
        self.latest = label_sets.no_latest
        self.histograms = label_sets.no_histograms
        self.exceptions = label_sets.no_exceptions
        self.exemplars = label_sets.no_exemplars

    def observe(self, place: int, value: float, task_id: str = "", task: Traced | None = None) -> None:
        """Count a value of a task in the histogram at this place."""
        (self.histograms[place] or self._make_histogram(place)).observe(value, task_id, task)

    def show(self, place: int) -> None:
        """Show the histogram at this place from now on, though it has no value yet."""
        if self.histograms[place] is None:
            self._make_histogram(place)

    def _make_histogram(self, place: int) -> Distribution:
        if self.histograms is self._label_sets.no_histograms:
            self.histograms = self.histograms.copy()
        self.histograms[place] = made = self._label_sets.make_histogram(place)
        return made

    def note_exemplar(self, place: int, task_id: str, task: Traced) -> None:
        """Keep a task that was counted in the counter at this place as its exemplar, if one is due."""
        label_sets = self._label_sets
        if not label_sets.places.keeps_exemplars:
            return
        now, latest = label_sets.now, self.exemplars.get(place)
        if latest is None or now.monotonic >= latest.due:
            if not self.exemplars:
                self.exemplars = {}
            self.exemplars[place] = Exemplar(
                1.0, now.wall, now.monotonic + PAUSE_SECONDS, task_id, task.trace
            )

    def note_latest(self, place: int, timestamp: float) -> None:
        """Note the time of an event of the kind that this place is for."""
        if timestamp > self.latest[place]:
            if self.latest is self._label_sets.no_latest:
                self.latest = self.latest.copy()
            self.latest[place] = timestamp

    def count_exception(self, exception: str, outcome: str) -> None:
        """Count an exception of this class, or of ``other`` if there is no room for one more class."""
        key = (exception, outcome)
        if key not in self.exceptions and not self._label_sets.admits_exception(self):
            key = (OTHER, outcome)
        if not self.exceptions:
            self.exceptions = {}
        self.exceptions[key] = self.exceptions.get(key, 0) + 1

    def merge(self, other: Counts) -> None:
        """Add the counts of an attempt that has waited; nothing may be counted in those any more."""
        self.totals[:] = map(add, self.totals, other.totals)
        if other.latest is not self._label_sets.no_latest:
            for place, timestamp in enumerate(other.latest):
                self.note_latest(place, timestamp)
        if other.histograms is not self._label_sets.no_histograms:
            for place, histogram in enumerate(other.histograms):
                if histogram is not None:
                    (self.histograms[place] or self._make_histogram(place)).merge(histogram)
        for place, exemplar in other.exemplars.items():
            if place not in self.exemplars or self.exemplars[place].due <= exemplar.due:
                self.exemplars = {**self.exemplars, place: exemplar}
        for (exception, outcome), number in other.exceptions.items():
            for _ in range(number):
                self.count_exception(exception, outcome)


class _OneSent(Counts):
    """Stands for one task-sent that waits to be counted, and is false: no other event may be counted in it."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False


class LabelSets(dict["Kind", Counts]):
    """The counts of every (task, queue), bounded in number: the one owner of which label sets the task families have.

    ``label_sets[task, queue]`` finds the counts, or makes them. None is ever removed. One thread at a time writes, any
    may read.
    """

    def __init__(
        self, places: Places, limit: SeriesLimit, now: BatchClock, *, expected: Mapping[str, str | None]
    ) -> None:
        """Args:
        places: how much each of the counts holds.
        limit: of the label sets of a family.
        now: the receipt time of the current batch.
        expected: tasks that are shown at 0 until they are seen, each with the queue on which it is expected, if known.
        """
        super().__init__()
        self.places = places
        #: Of each histogram the cells in which it counts.
        self.cells = places.native_cells
        self.now = now
        self.no_totals = [0] * places.totals
        self.no_latest = [0.0] * places.latest
        self.no_histograms: list[Distribution | None] = [None] * len(places.native_cells)
        self.no_exceptions: dict[tuple[str, str], int] = {}
        self.no_exemplars: dict[int, Exemplar] = {}
        self._limit = limit
        self._exceptions = 0  # label sets of exceptions
        self._expected: dict[str, tuple[str, str]] = {}  # task -> its labels
        for task, queue in islice(expected.items(), limit.maximum):
            self._expected[clean(task)] = (clean(task), queue_label(queue or UNKNOWN))

    def __missing__(self, kind: Kind) -> Counts:
        task, queue = kind
        labels = (clean(task or UNKNOWN), queue_label(queue or UNKNOWN))
        counts = self.get(labels)
        if counts is None and not self._limit.admits("celery_task", len(self)):
            labels = (OTHER, OTHER)
            counts = self.get(labels)
        if counts is None:
            counts = self[labels] = Counts(self, labels)
            self._expected.pop(labels[0], None)  # after: no scrape between misses it
        return counts

    def recount(self, *, native: bool) -> None:
        """Count in native buckets, too, or no more. What waits for its labels is recounted when it has them."""
        self.cells = self.places.native_cells if native else self.places.classic_cells
        for counts in self.values():
            for cells, distribution in zip(self.cells, counts.histograms, strict=True):
                if distribution is not None:
                    distribution.recount(cells)

    def make_histogram(self, place: int) -> Distribution:
        """Make the histogram at a place, without a value."""
        cells = self.cells[place]
        return (
            ExemplarDistribution(cells, self.now)
            if place in self.places.with_exemplars
            else Distribution(cells)
        )

    def make_unlabelled(self) -> Counts:
        """Make counts for an attempt that waits."""
        return Counts(self, ())

    def make_one_sent(self, place: int) -> Counts:
        """Make false counts of a single event, which all attempts share that were only sent so far."""
        one = _OneSent(self, ())
        one.totals[place] = 1
        return one

    def admits_exception(self, counts: Counts) -> bool:
        """Whether there is room for one more class of exceptions; some libraries make classes at run time."""
        if not counts.labels:  # counted against the limit of all when it is merged
            return self._limit.admits("celery_task_exceptions_total", len(counts.exceptions))
        if not self._limit.admits("celery_task_exceptions_total", self._exceptions):
            return False
        self._exceptions += 1
        return True

    def expected(self) -> list[tuple[str, str]]:
        """The labels of expected tasks that were not seen yet, as many as the limit has room for.

        A task that was seen on any queue is expected no more, so that no series of zeros stays beside what is counted.
        """
        expected = tuple(self._expected.values())
        room = max(0, self._limit.maximum - len(self))
        return [labels for labels in expected if labels not in self][:room]
