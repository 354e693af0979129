"""Tasks by queue: the busiest, those that fail most, and those that run longest."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass
from heapq import nlargest, nsmallest
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Final

from celery_metrics_exporter.collectors.task import (
    FAILED,
    LAST_FAILED,
    QUEUE_WAIT,
    RETRIED,
    RUNTIME_SUCCEEDED,
    SENT,
    STARTED,
    SUCCEEDED,
)
from celery_metrics_exporter.labels import OTHER, UNKNOWN, clean
from celery_metrics_exporter.status_page.gather_readings import growth
from celery_metrics_exporter.status_page.snapshot import RunningRow, TaskRow, Tasks, Top

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celery_metrics_exporter.collectors import TaskCollector
    from celery_metrics_exporter.tasks.attempt import Attempt
    from celery_metrics_exporter.tasks.counts import Counts

#: Rows at most.
BUSIEST: Final = 12
FAILING: Final = 8
RUNNING: Final = 8
NAMES: Final = 5
#: Shorter than this, in seconds, a time tells no rate.
_SHORT: Final = 1.0


@dataclass(frozen=True, slots=True)
class TaskTotals:
    """Failures and all outcomes of each (task, queue), in the order in which these were first seen."""

    failed: array[int]
    ended: array[int]

    @classmethod
    def of(cls, counts: Sequence[Counts]) -> TaskTotals:
        """Read them."""
        return cls(array("q", [each.totals[FAILED] for each in counts]), array("q", map(_ended, counts)))


def see_tasks(
    collector: TaskCollector,
    *,
    starts: tuple[float, array[int]],
    outcomes: tuple[float, TaskTotals],
    evicted: int,
    overflowed: tuple[tuple[str, int], ...],
) -> Tasks:
    """Args:
    collector: has the counts, and the attempts that run.
    starts: how many seconds ago they were read, and by (task, queue) what they were.
    outcomes: the same of outcomes.
    evicted: tasks in flight that were forgotten.
    overflowed: label sets that were folded, by family.
    """
    counts = collector.counts()
    window, started_before = starts
    long_window, before = outcomes
    started = growth((each.totals[STARTED] for each in counts), started_before)
    failed = growth((each.totals[FAILED] for each in counts), before.failed)
    ended = growth(map(_ended, counts), before.ended)
    attempts = collector.running()
    running = Counter(map(_labels, attempts))
    rows = range(len(counts))

    def row(index: int) -> TaskRow:
        rate = started[index] / window if window >= _SHORT else None
        return _row(counts[index], rate, running[counts[index].labels], failed[index], ended[index])

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
        unsent=_unsent(counts, started),
        evicted=evicted,
        overflowed=overflowed,
    )


def _row(counts: Counts, rate: float | None, running: int, failures: int, ends: int) -> TaskRow:
    task, queue = counts.labels
    exceptions = tuple(counts.exceptions.items())
    failed = [(number, name) for (name, outcome), number in exceptions if outcome == "failed"]
    runtime, wait = counts.histograms[RUNTIME_SUCCEEDED], counts.histograms[QUEUE_WAIT]
    return TaskRow(
        task=task,
        queue=queue,
        rate=rate,
        running=running,
        sent=counts.totals[SENT],
        started=counts.totals[STARTED],
        succeeded=counts.totals[SUCCEEDED],
        failed=counts.totals[FAILED],
        retried=counts.totals[RETRIED],
        recent_failures=failures,
        recent_ends=ends,
        runtime=runtime.mean() if runtime else None,
        wait=wait.mean() if wait else None,
        exception=max(failed, key=itemgetter(0), default=(0, ""))[1],
        last_failed=counts.latest[LAST_FAILED] or None,
    )


def _unsent(counts: Sequence[Counts], started: Sequence[int]) -> Top[str]:
    """The names of tasks that started lately, and of which no task-sent ever told."""
    sent: Counter[str] = Counter()
    for each in counts:
        sent[each.labels[0]] += each.totals[SENT]
    found = {
        each.labels[0]: None
        for each, number in zip(counts, started, strict=True)
        if number and not sent[each.labels[0]] and each.labels[0] not in {UNKNOWN, OTHER}
    }
    names = sorted(found)
    return Top(tuple(names[:NAMES]), len(names))


def _ended(counts: Counts) -> int:
    return counts.totals[SUCCEEDED] + counts.totals[FAILED]


def _labels(attempt: Attempt) -> tuple[str, ...]:
    if attempt.counts is not None and attempt.counts.labels:
        return attempt.counts.labels
    return clean(attempt.name or UNKNOWN), clean(attempt.queue or UNKNOWN)


def _running(attempt: Attempt) -> RunningRow:
    task, queue = _labels(attempt)
    return RunningRow(task, queue, clean(attempt.worker or UNKNOWN), attempt.started)
