"""Tasks by queue: the busiest, those that fail most, and those that run longest."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from heapq import nlargest, nsmallest
from itertools import chain, repeat
from operator import attrgetter
from typing import Final

from celery_metrics_exporter.collectors import TaskCollector
from celery_metrics_exporter.collectors.task import FAILED, QUEUE_WAIT, SENT, STARTED, SUCCEEDED
from celery_metrics_exporter.labels import OTHER, UNKNOWN, clean
from celery_metrics_exporter.status_page.snapshot_tables import RunningRow, TaskRow, Tasks, Top, top_names
from celery_metrics_exporter.tasks.attempt import Attempt
from celery_metrics_exporter.tasks.counts import Counts

#: Rows at most.
BUSIEST: Final = 12
FAILING: Final = 8
RUNNING: Final = 8
#: Starts without a task-sent are a fault of their publishers only when there are more of them than this share: some
#: were published before we listened.
UNSENT_SHARE: Final = 0.02
#: What a worker says of a task that it does not know (``celery/worker/consumer/consumer.py``, ``on_unknown_task``).
_UNREGISTERED: Final = "NotRegistered"
#: Shorter than this, in seconds, a time tells no rate.
_SHORT: Final = 1.0


#: Two numbers of each (task, queue), in the order in which these were first seen.
Totals = tuple[Sequence[int], Sequence[int]]

NOTHING: Final[Totals] = (array("q"), array("q"))


def count_starts(counts: Sequence[Counts]) -> Totals:
    """Starts, and how many of them have a known queue wait, thus a task-sent."""
    return array("q", [each.totals[STARTED] for each in counts]), array("q", map(_paired, counts))


def count_outcomes(counts: Sequence[Counts]) -> Totals:
    """Failures, and all outcomes."""
    return array("q", [each.totals[FAILED] for each in counts]), array("q", map(_ended, counts))


def see_tasks(
    collector: TaskCollector, *, starts: tuple[float, Totals], outcomes: tuple[float, Totals]
) -> Tasks:
    """Args:
    collector: has the counts, and the attempts that run.
    starts: how many seconds ago they were counted, and what they were.
    outcomes: the same of outcomes.
    """
    counts = collector.counts()
    window, starts_before = starts
    long_window, outcomes_before = outcomes
    started, paired = map(_growth, count_starts(counts), starts_before)
    failed, ended = map(_growth, count_outcomes(counts), outcomes_before)
    attempts = collector.running()
    running = Counter(map(_labels, attempts))
    rows = range(len(counts))

    def row(index: int) -> TaskRow:
        rate = started[index] / window if window >= _SHORT else None
        return TaskRow(counts[index], rate, running[counts[index].labels], failed[index], ended[index])

    ran = [index for index in rows if counts[index].totals[STARTED]]
    has_failed = [index for index in rows if counts[index].totals[FAILED]]
    busiest = nlargest(BUSIEST, ran, key=lambda index: (started[index], counts[index].totals[STARTED]))
    failing = nlargest(FAILING, has_failed, key=lambda index: (failed[index], counts[index].totals[FAILED]))
    longest = nsmallest(RUNNING, attempts, key=attrgetter("started"))
    return Tasks(
        busiest=Top(tuple(map(row, busiest)), len(ran)),
        failing=Top(tuple(map(row, failing)), len(has_failed)),
        running=Top(tuple(map(_running, longest)), len(attempts)),
        window=window if window >= _SHORT else None,
        long_window=long_window if long_window >= _SHORT else None,
        sent=sum(each.totals[SENT] for each in counts),
        started=sum(each.totals[STARTED] for each in counts),
        recent_failures=sum(failed),
        recent_ends=sum(ended),
        unsent=_unsent(counts, started, paired),
        unregistered=top_names(
            counts[index].labels[0]
            for index in rows
            if failed[index] and counts[index].exceptions.get((_UNREGISTERED, "failed"))
        ),
    )


def _unsent(counts: Sequence[Counts], started: Sequence[int], paired: Sequence[int]) -> Top[str]:
    """The names of tasks of whose starts lately more than a few had no task-sent event."""
    starts: Counter[str] = Counter()
    unsent: Counter[str] = Counter()
    for each, number, known in zip(counts, started, paired, strict=True):
        name = each.labels[0]
        if number and name not in {UNKNOWN, OTHER}:
            starts[name] += number
            unsent[name] += number - known
    return top_names(name for name in starts if unsent[name] > UNSENT_SHARE * starts[name])


def _paired(counts: Counts) -> int:
    waits = counts.histograms[QUEUE_WAIT]
    return 0 if waits is None else sum(waits.counts())


def _ended(counts: Counts) -> int:
    return counts.totals[SUCCEEDED] + counts.totals[FAILED]


def _labels(attempt: Attempt) -> tuple[str, ...]:
    if attempt.counts is not None and attempt.counts.labels:
        return attempt.counts.labels
    return clean(attempt.name or UNKNOWN), clean(attempt.queue or UNKNOWN)


def _running(attempt: Attempt) -> RunningRow:
    task, queue = _labels(attempt)
    return RunningRow(task, queue, clean(attempt.worker or UNKNOWN), attempt.started)


def _growth(totals: Iterable[int], before: Iterable[int]) -> list[int]:
    """How much each total has grown since a reading; totals that it has not yet were 0."""
    return [total - then for total, then in zip(totals, chain(before, repeat(0)), strict=False)]
