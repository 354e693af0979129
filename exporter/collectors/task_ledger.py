"""What is counted for one (task, queue), in plain numbers that become samples in a scrape.

Source of facts: what ``collectors/task.py`` enters here, an event each. A number costs a tenth of a child of
``prometheus_client.Counter``, which takes a lock.
"""
# ruff: noqa: D102 - the entries of TaskLedger are documented where they are promised, in exporter.ledger.Ledger

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter.collectors.family import Distribution, Family
from exporter.labels import OTHER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from prometheus_client import Metric


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
        "_cancelled",
        "_failed",
        "_failures",
        "_prefetch_wait",
        "_queue_wait",
        "_received",
        "_rejected",
        "_retried",
        "_retries",
        "_revoked",
        "_runtime_failed",
        "_runtime_retried",
        "_runtime_succeeded",
        "_sent",
        "_settings",
        "_started",
        "_succeeded",
        "labels",
        "last_failed",
        "last_succeeded",
    )

    def __init__(self, settings: LedgerSettings, labels: tuple[str, str]) -> None:
        self._settings = settings
        self.labels = labels
        self.last_succeeded = self.last_failed = 0.0  # epoch seconds
        self._sent = self._received = self._started = self._succeeded = self._failed = self._retried = 0
        self._cancelled = 0
        self._rejected = {"true": 0, "false": 0}
        self._revoked = {"revoked": 0, "expired": 0, "terminated": 0}
        self._failures: dict[str, int] = {}  # by class of exception
        self._retries: dict[str, int] = {}
        self._runtime_succeeded = Distribution(settings.buckets.runtime)
        self._runtime_failed: Distribution | None = None
        self._runtime_retried: Distribution | None = None
        self._queue_wait: Distribution | None = None
        self._prefetch_wait = Distribution(settings.buckets.wait)

    def sent(self) -> None:
        self._sent += 1
        if self._queue_wait is None:
            self._queue_wait = Distribution(self._settings.buckets.wait)

    def received(self) -> None:
        self._received += 1

    @property
    def deliveries(self) -> int:
        return self._received

    def started(self) -> None:
        self._started += 1

    def queue_wait(self, seconds: float) -> None:
        if self._queue_wait is None:
            self._queue_wait = Distribution(self._settings.buckets.wait)
        self._queue_wait.observe(seconds)

    def prefetch_wait(self, seconds: float) -> None:
        self._prefetch_wait.observe(seconds)

    def succeeded(self, timestamp: float, runtime: float | None) -> None:
        self._succeeded += 1
        if runtime is not None:
            self._runtime_succeeded.observe(runtime)
        if timestamp > self.last_succeeded:  # noqa: PLR1730 - a call of max() costs as much as all else here
            self.last_succeeded = timestamp

    def failed(self, timestamp: float, exception: str, runtime: float | None) -> None:
        self._failed += 1
        self._count_exception(self._failures, exception, "failed")
        if runtime is not None:
            if self._runtime_failed is None:
                self._runtime_failed = Distribution(self._settings.buckets.runtime)
            self._runtime_failed.observe(runtime)
        if timestamp > self.last_failed:  # noqa: PLR1730 - a call of max() costs as much as all else here
            self.last_failed = timestamp

    def retried(self, exception: str, runtime: float | None) -> None:
        self._retried += 1
        self._count_exception(self._retries, exception, "retried")
        if runtime is not None:
            if self._runtime_retried is None:
                self._runtime_retried = Distribution(self._settings.buckets.runtime)
            self._runtime_retried.observe(runtime)

    def rejected(self, requeue: str) -> None:
        self._rejected[requeue] += 1

    def revoked(self, reason: str) -> None:
        self._revoked[reason] += 1

    def cancelled(self) -> None:
        self._cancelled += 1

    def _count_exception(self, counts: dict[str, int], exception: str, outcome: str) -> None:
        if exception not in counts:
            if not self._settings.admit_exception((*self.labels, exception, outcome)):
                exception = OTHER
            counts.setdefault(exception, 0)
        counts[exception] += 1

    def totals(self) -> Iterator[tuple[Family, tuple[str, ...], int]]:
        """(family, values of the labels beyond task and queue, number) of each counter."""
        yield _SENT, (), self._sent
        yield _RECEIVED, (), self._received
        yield _STARTED, (), self._started
        yield _SUCCEEDED, (), self._succeeded
        yield _FAILED, (), self._failed
        yield _RETRIED, (), self._retried
        yield _CANCELLED, (), self._cancelled
        for requeue, number in self._rejected.items():
            yield _REJECTED, (requeue,), number
        for reason, number in self._revoked.items():
            yield _REVOKED, (reason,), number
        for exception, number in tuple(self._failures.items()):
            yield _EXCEPTIONS, (exception, "failed"), number
        for exception, number in tuple(self._retries.items()):
            yield _EXCEPTIONS, (exception, "retried"), number

    def distributions(self) -> Iterator[tuple[Family, tuple[str, ...], Distribution]]:
        """The same of each histogram."""
        yield _RUNTIME, ("succeeded",), self._runtime_succeeded
        if self._runtime_failed is not None:
            yield _RUNTIME, ("failed",), self._runtime_failed
        if self._runtime_retried is not None:
            yield _RUNTIME, ("retried",), self._runtime_retried
        if self._queue_wait is not None:
            yield _QUEUE_WAIT, (), self._queue_wait
        yield _PREFETCH_WAIT, (), self._prefetch_wait


def collect(ledgers: Sequence[TaskLedger]) -> Iterator[Metric]:
    """Yield the families, with the samples of all these ledgers."""
    counters = {family: family.empty() for family in LEDGER_FAMILIES if family.kind == "counter"}
    histograms = {
        family: family.empty_histogram() for family in LEDGER_FAMILIES if family.kind == "histogram"
    }
    for ledger in ledgers:
        for family, extra, number in ledger.totals():
            counters[family].add_metric((*ledger.labels, *extra), number)
        for family, extra, distribution in ledger.distributions():
            distribution.add_to(histograms[family], (*ledger.labels, *extra))
    yield from counters.values()
    yield from histograms.values()
