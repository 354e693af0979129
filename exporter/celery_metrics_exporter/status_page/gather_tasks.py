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
from celery_metrics_exporter.collectors.task_ledger import TaskLedger
from celery_metrics_exporter.labels import OTHER, UNKNOWN, clean
from celery_metrics_exporter.status_page.snapshot_tables import RunningRow, TaskRow, Tasks, Top, top_names
from celery_metrics_exporter.tasks.attempt import Attempt

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


#: Two numbers of each ledger, in the order in which the ledgers came to be.
Counts = tuple[Sequence[int], Sequence[int]]

NOTHING: Final[Counts] = (array("q"), array("q"))


def count_starts(ledgers: Sequence[TaskLedger]) -> Counts:
    """Starts, and how many of them have a known wait in their queue, thus a task-sent."""
    return array("q", map(attrgetter("started_total"), ledgers)), array("q", map(_paired, ledgers))


def count_outcomes(ledgers: Sequence[TaskLedger]) -> Counts:
    """Failures, and all outcomes."""
    return array("q", map(attrgetter("failed_total"), ledgers)), array("q", map(_ended, ledgers))


def see_tasks(
    collector: TaskCollector, *, starts: tuple[float, Counts], outcomes: tuple[float, Counts]
) -> Tasks:
    """Args:
    collector: has the ledgers, and the attempts that run.
    starts: how many seconds ago they were counted, and what they were.
    outcomes: the same of outcomes.
    """
    ledgers = collector.ledgers()
    window, starts_before = starts
    long_window, outcomes_before = outcomes
    started, paired = map(_growth, count_starts(ledgers), starts_before)
    failed, ended = map(_growth, count_outcomes(ledgers), outcomes_before)
    attempts = collector.running()
    running = Counter(map(_labels, attempts))
    rows = range(len(ledgers))

    def row(index: int) -> TaskRow:
        ledger = ledgers[index]
        rate = started[index] / window if window >= _SHORT else None
        return TaskRow(ledger, rate, running[ledger.labels], failed[index], ended[index])

    ran = [index for index in rows if ledgers[index].started_total]
    has_failed = [index for index in rows if ledgers[index].failed_total]
    busiest = nlargest(BUSIEST, ran, key=lambda index: (started[index], ledgers[index].started_total))
    failing = nlargest(FAILING, has_failed, key=lambda index: (failed[index], ledgers[index].failed_total))
    longest = nsmallest(RUNNING, attempts, key=attrgetter("started"))
    return Tasks(
        busiest=Top(tuple(map(row, busiest)), len(ran)),
        failing=Top(tuple(map(row, failing)), len(has_failed)),
        running=Top(tuple(map(_running, longest)), len(attempts)),
        window=window if window >= _SHORT else None,
        long_window=long_window if long_window >= _SHORT else None,
        sent=sum(map(attrgetter("sent_total"), ledgers)),
        started=sum(map(attrgetter("started_total"), ledgers)),
        recent_failures=sum(failed),
        recent_ends=sum(ended),
        unsent=_unsent(ledgers, started, paired),
        unregistered=top_names(
            ledgers[index].labels[0]
            for index in rows
            if failed[index] and ledgers[index].failures.get(_UNREGISTERED)
        ),
    )


def _unsent(ledgers: Sequence[TaskLedger], started: Sequence[int], paired: Sequence[int]) -> Top[str]:
    """The names of tasks of whose starts lately more than a few had no task-sent event."""
    starts: Counter[str] = Counter()
    unsent: Counter[str] = Counter()
    for ledger, number, known in zip(ledgers, started, paired, strict=True):
        name = ledger.labels[0]
        if number and name not in {UNKNOWN, OTHER}:
            starts[name] += number
            unsent[name] += number - known
    return top_names(name for name in starts if unsent[name] > UNSENT_SHARE * starts[name])


def _paired(ledger: TaskLedger) -> int:
    return 0 if ledger.queue_waits is None else sum(ledger.queue_waits.counts())


def _ended(ledger: TaskLedger) -> int:
    return ledger.succeeded_total + ledger.failed_total


def _labels(attempt: Attempt) -> tuple[str, str]:
    if isinstance(attempt.ledger, TaskLedger):
        return attempt.ledger.labels
    return clean(attempt.name or UNKNOWN), clean(attempt.queue or UNKNOWN)


def _running(attempt: Attempt) -> RunningRow:
    return RunningRow(*_labels(attempt), clean(attempt.worker or UNKNOWN), attempt.started)


def _growth(totals: Iterable[int], before: Iterable[int]) -> list[int]:
    """How much each total has grown since a reading; totals that it has not yet were 0."""
    return [total - then for total, then in zip(totals, chain(before, repeat(0)), strict=False)]
