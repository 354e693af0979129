"""What is counted for one (task, queue), in plain numbers that become samples in a scrape.

Source of facts: what ``collectors/task.py`` enters here, an event each. A number costs a tenth of a child of
``prometheus_client.Counter``, which takes a lock.
"""
# ruff: noqa: D102 - the entries of TaskLedger are documented where they are promised, in celery_metrics_exporter.tasks.ledger.Ledger

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from celery_metrics_exporter.collectors.family import Distribution, Family
from celery_metrics_exporter.labels import OTHER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from prometheus_client import Metric

    from celery_metrics_exporter.exposition.rows import ValueRows


_TASK = ("task", "queue")
_SENT = Family("celery_task_sent_total", "counter", "Publications of the task, one a task-sent event.", _TASK)
_RECEIVED = Family(
    "celery_task_received_total", "counter", "Deliveries to a worker, one a task-received event.", _TASK
)
_STARTED = Family(
    "celery_task_started_total", "counter", "Starts in a worker, one a task-started event.", _TASK
)
_SUCCEEDED = Family("celery_task_succeeded_total", "counter", "Successes, one a task-succeeded event.", _TASK)
_FAILED = Family(
    "celery_task_failed_total",
    "counter",
    "Failures, one an attempt however many task-failed events tell of it.",
    _TASK,
)
_RETRIED = Family(
    "celery_task_retried_total", "counter", "Attempts to be repeated, one a task-retried event.", _TASK
)
_CANCELLED = Family(
    "celery_task_cancelled_total",
    "counter",
    "Running tasks cancelled because their worker lost its connection, one a task-cancelled event.",
    _TASK,
)
_REJECTED = Family(
    "celery_task_rejected_total",
    "counter",
    "Messages given back to the broker, one a task-rejected event, by whether they are to be delivered again.",
    (*_TASK, "requeue"),
)
_REVOKED = Family(
    "celery_task_revoked_total",
    "counter",
    "Tasks revoked before their start, expired, or terminated while they ran, one a task-revoked event.",
    (*_TASK, "reason"),
)
_EXCEPTIONS = Family(
    "celery_task_exceptions_total",
    "counter",
    "Exceptions by class, one a task-failed or task-retried event that counts.",
    (*_TASK, "exception", "outcome"),
)
_RUNTIME = Family(
    "celery_task_runtime_seconds",
    "histogram",
    "Run time, of task-succeeded as the worker measured it, else from task-started to task-failed or task-retried.",
    (*_TASK, "outcome"),
)
_QUEUE_WAIT = Family(
    "celery_task_queue_wait_seconds",
    "histogram",
    "Time from when a task was due (task-sent, or its eta if that is later) to task-started.",
    _TASK,
)
_PREFETCH_WAIT = Family(
    "celery_task_prefetch_wait_seconds",
    "histogram",
    "Time that a worker held a task, from task-received (or its eta if that is later) to task-started.",
    _TASK,
)
LEDGER_FAMILIES = (
    _SENT,
    _RECEIVED,
    _STARTED,
    _SUCCEEDED,
    _FAILED,
    _RETRIED,
    _CANCELLED,
    _REJECTED,
    _REVOKED,
    _EXCEPTIONS,
    _RUNTIME,
    _QUEUE_WAIT,
    _PREFETCH_WAIT,
)


#: Where a ledger has the numbers: the slot, and what follows its labels in those of a series.
_TOTALS: Final = (
    (_SENT, "sent_total"),
    (_RECEIVED, "received_total"),
    (_STARTED, "started_total"),
    (_SUCCEEDED, "succeeded_total"),
    (_FAILED, "failed_total"),
    (_RETRIED, "retried_total"),
    (_CANCELLED, "cancelled_total"),
)
_TOTALS_BY: Final = (
    (_REJECTED, "rejected_total", ()),
    (_REVOKED, "revoked_total", ()),
    (_EXCEPTIONS, "failures", ("failed",)),
    (_EXCEPTIONS, "retries", ("retried",)),
)
#: The values of the third label that are there from the first moment.
_FIXED: Final = {_REJECTED: ("true", "false"), _REVOKED: ("revoked", "expired", "terminated")}
_DISTRIBUTIONS: Final = (
    (_RUNTIME, "runtime_succeeded", ("succeeded",)),
    (_RUNTIME, "runtime_failed", ("failed",)),
    (_RUNTIME, "runtime_retried", ("retried",)),
    (_QUEUE_WAIT, "queue_waits", ()),
    (_PREFETCH_WAIT, "prefetch_waits", ()),
)


@dataclass(frozen=True, slots=True)
class Buckets:
    """Upper bounds in seconds of the histograms."""

    runtime: Sequence[float]
    wait: Sequence[float]


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """What all ledgers share."""

    buckets: Buckets
    admit_exception: Callable[[tuple[str, ...]], bool]


class TaskLedger:
    """Counts what happens to one task on one queue. One thread at a time writes, any may read.

    An entry is a few additions to slots: nothing is made, hashed or locked for it. All counters but those of exceptions
    exist from the first moment, at 0, so that ``rate()`` and ratios work from the start. Of the histograms those of
    successes and prefetching do: the queue wait comes with the first task-sent (without it nobody knows), the run time
    of failures with the first of them.
    """

    __slots__ = (
        "_settings",
        "cancelled_total",
        "failed_total",
        "failures",
        "labels",
        "last_failed",
        "last_succeeded",
        "prefetch_wait",
        "prefetch_waits",
        "queue_wait",
        "queue_waits",
        "received_total",
        "rejected_total",
        "retried_total",
        "retries",
        "revoked_total",
        "runtime_failed",
        "runtime_retried",
        "runtime_succeeded",
        "sent_total",
        "started_total",
        "succeeded_total",
    )

    def __init__(self, settings: LedgerSettings, labels: tuple[str, str]) -> None:
        self._settings = settings
        self.labels = labels
        self.last_succeeded = self.last_failed = 0.0  # epoch seconds
        self.sent_total = self.received_total = self.started_total = 0
        self.succeeded_total = self.failed_total = self.retried_total = self.cancelled_total = 0
        self.rejected_total = dict.fromkeys(_FIXED[_REJECTED], 0)
        self.revoked_total = dict.fromkeys(_FIXED[_REVOKED], 0)
        self.failures: dict[str, int] = {}  # by class of exception
        self.retries: dict[str, int] = {}
        self.runtime_succeeded = Distribution(settings.buckets.runtime)
        self.runtime_failed: Distribution | None = None
        self.runtime_retried: Distribution | None = None
        self.queue_waits: Distribution | None = None
        self.prefetch_waits = Distribution(settings.buckets.wait)
        # Bound once: a call less for each task.
        self.prefetch_wait: Callable[[float], None] = self.prefetch_waits.observe
        self.queue_wait: Callable[[float], None] = self._first_queue_wait

    def sent(self) -> None:
        self.sent_total += 1
        if self.queue_waits is None:
            self._open_queue_waits()

    def received(self) -> None:
        self.received_total += 1

    @property
    def deliveries(self) -> int:
        return self.received_total

    def started(self) -> None:
        self.started_total += 1

    def _open_queue_waits(self) -> Distribution:
        self.queue_waits = waits = Distribution(self._settings.buckets.wait)
        self.queue_wait = waits.observe
        return waits

    def _first_queue_wait(self, seconds: float) -> None:
        self._open_queue_waits().observe(seconds)

    def succeeded(self, timestamp: float, runtime: float | None) -> None:
        self.succeeded_total += 1
        if runtime is not None:
            self.runtime_succeeded.observe(runtime)
        if timestamp > self.last_succeeded:  # noqa: PLR1730 - a call of max() costs as much as all else here
            self.last_succeeded = timestamp

    def failed(self, timestamp: float, exception: str, runtime: float | None) -> None:
        self.failed_total += 1
        self._count_exception(self.failures, exception, "failed")
        if runtime is not None:
            if self.runtime_failed is None:
                self.runtime_failed = Distribution(self._settings.buckets.runtime)
            self.runtime_failed.observe(runtime)
        if timestamp > self.last_failed:  # noqa: PLR1730 - a call of max() costs as much as all else here
            self.last_failed = timestamp

    def retried(self, exception: str, runtime: float | None) -> None:
        self.retried_total += 1
        self._count_exception(self.retries, exception, "retried")
        if runtime is not None:
            if self.runtime_retried is None:
                self.runtime_retried = Distribution(self._settings.buckets.runtime)
            self.runtime_retried.observe(runtime)

    def rejected(self, requeue: str) -> None:
        self.rejected_total[requeue] += 1

    def revoked(self, reason: str) -> None:
        self.revoked_total[reason] += 1

    def cancelled(self) -> None:
        self.cancelled_total += 1

    def _count_exception(self, counts: dict[str, int], exception: str, outcome: str) -> None:
        if exception not in counts:
            if not self._settings.admit_exception((*self.labels, exception, outcome)):
                exception = OTHER
            counts.setdefault(exception, 0)
        counts[exception] += 1


def collect(
    ledgers: Sequence[TaskLedger], buckets: Buckets, expected: Sequence[tuple[str, str]] = ()
) -> Iterator[Metric]:
    """Yield the families, with the rows of all these ledgers.

    ``expected``: labels of others, for which nothing was counted yet; their counters are at 0, and they have no
    histograms, which would be three quarters of their lines.
    """
    labels = [ledger.labels for ledger in ledgers]
    totals = {family: family.empty() for family in LEDGER_FAMILIES if family.kind == "counter"}
    for family, slot in _TOTALS:
        totals[family].add_metrics(labels, map(attrgetter(slot), ledgers))
    for family, slot, after in _TOTALS_BY:
        for pair, numbers in zip(labels, map(attrgetter(slot), ledgers), strict=True):
            for value, number in tuple(numbers.items()):
                totals[family].add_metric((*pair, value, *after), number)
    _add_zeros(totals, expected)
    histograms = {
        _RUNTIME: _RUNTIME.empty_histogram(buckets.runtime),
        _QUEUE_WAIT: _QUEUE_WAIT.empty_histogram(buckets.wait),
        _PREFETCH_WAIT: _PREFETCH_WAIT.empty_histogram(buckets.wait),
    }
    for family, slot, after in _DISTRIBUTIONS:
        for pair, distribution in zip(labels, map(attrgetter(slot), ledgers), strict=True):
            if distribution is not None:
                distribution.add_to(histograms[family], pair + after)
    yield from totals.values()
    yield from histograms.values()


def _add_zeros(totals: Mapping[Family, ValueRows], labels: Sequence[tuple[str, str]]) -> None:
    zeros = [0] * len(labels)
    for family, _ in _TOTALS:
        totals[family].add_metrics(labels, zeros)
    for family, values in _FIXED.items():
        for value in values:
            totals[family].add_metrics([(*pair, value) for pair in labels], zeros)
