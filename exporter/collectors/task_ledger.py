"""What is counted for one (task, queue): the families with a child bound once, so that an event costs plain calls.

Source of facts: what ``collectors/task.py`` enters here, an event each.
"""
# ruff: noqa: D102 - the entries of TaskLedger are documented where they are promised, in exporter.ledger.Ledger

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.collectors.family import Family
from exporter.labels import OTHER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from prometheus_client import Histogram, Metric

    from exporter.attempt import Attempt
    from exporter.running import Running

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


class LedgerFamilies:
    """The families in which all ledgers count."""

    def __init__(
        self,
        runtime_buckets: Sequence[float],
        wait_buckets: Sequence[float],
        *,
        max_series: int,
        on_overflow: Callable[[str], None],
    ) -> None:
        self.sent = _SENT.counter()
        self.received = _RECEIVED.counter()
        self.started = _STARTED.counter()
        self.succeeded = _SUCCEEDED.counter()
        self.failed = _FAILED.counter()
        self.retried = _RETRIED.counter()
        self.cancelled = _CANCELLED.counter()
        self.rejected = _REJECTED.counter()
        self.revoked = _REVOKED.counter()
        self.exceptions = _EXCEPTIONS.counter()
        self.runtime = _RUNTIME.histogram(runtime_buckets)
        self.queue_wait = _QUEUE_WAIT.histogram(wait_buckets)
        self.prefetch_wait = _PREFETCH_WAIT.histogram(wait_buckets)
        self._exceptions_seen: set[tuple[str, ...]] = set()
        self._max_series = max_series
        self._on_overflow = on_overflow

    def count_exception(self, labels: tuple[str, str], exception: str, outcome: str) -> None:
        """Count an exception; classes are made at run time by some libraries, so that they are bounded too."""
        key = (*labels, exception, outcome)
        if key not in self._exceptions_seen:
            if len(self._exceptions_seen) >= self._max_series:
                self._on_overflow(_EXCEPTIONS.name)
                key = (OTHER, OTHER, OTHER, outcome)
            self._exceptions_seen.add(key)
        self.exceptions.labels(*key).inc()

    def collect(self) -> Iterator[Metric]:
        """Yield the families in the order of the reference."""
        counters = (
            self.sent,
            self.received,
            self.started,
            self.succeeded,
            self.failed,
            self.retried,
            self.cancelled,
        )
        labelled = (self.rejected, self.revoked, self.exceptions)
        histograms = (self.runtime, self.queue_wait, self.prefetch_wait)
        for family in (*counters, *labelled, *histograms):
            yield from family.collect()


class TaskLedger:
    """Counts what happens to one task on one queue. All its outcomes exist from the first moment, at 0.

    Of the histograms only those of successes and prefetching do: the queue wait comes with the first task-sent (without
    it nobody knows), the run time of failures with the first of them.
    """

    __slots__ = (
        "_cancelled",
        "_counts",
        "_failed",
        "_prefetch_wait",
        "_queue_wait",
        "_received",
        "_rejected",
        "_retried",
        "_revoked",
        "_running",
        "_runtime",
        "_sent",
        "_started",
        "_succeeded",
        "labels",
        "last_failed",
        "last_succeeded",
    )

    def __init__(self, counts: LedgerFamilies, running: Running, labels: tuple[str, str]) -> None:
        self.labels = labels
        self._counts = counts
        self._running = running
        self._sent = counts.sent.labels(*labels)
        self._received = counts.received.labels(*labels)
        self._started = counts.started.labels(*labels)
        self._succeeded = counts.succeeded.labels(*labels)
        self._failed = counts.failed.labels(*labels)
        self._retried = counts.retried.labels(*labels)
        self._cancelled = counts.cancelled.labels(*labels)
        self._rejected = {requeue: counts.rejected.labels(*labels, requeue) for requeue in ("true", "false")}
        self._revoked = {
            reason: counts.revoked.labels(*labels, reason) for reason in ("revoked", "expired", "terminated")
        }
        self._runtime = counts.runtime.labels(*labels, "succeeded")
        self._prefetch_wait = counts.prefetch_wait.labels(*labels)
        self._queue_wait: Histogram | None = None
        self.last_succeeded = self.last_failed = 0.0  # epoch seconds

    def sent(self) -> None:
        self._sent.inc()
        if self._queue_wait is None:
            self._queue_wait = self._counts.queue_wait.labels(*self.labels)

    def received(self) -> None:
        self._received.inc()

    def started(self) -> None:
        self._started.inc()

    def queue_wait(self, seconds: float) -> None:
        if self._queue_wait is None:
            self._queue_wait = self._counts.queue_wait.labels(*self.labels)
        self._queue_wait.observe(seconds)

    def prefetch_wait(self, seconds: float) -> None:
        self._prefetch_wait.observe(seconds)

    def begin(self, attempt: Attempt, started: float) -> None:
        self._running.begin(self, attempt, started)

    def end(self, attempt: Attempt) -> None:
        self._running.end(attempt)

    def succeeded(self, timestamp: float, runtime: float | None) -> None:
        self._succeeded.inc()
        if runtime is not None:
            self._runtime.observe(runtime)
        self.last_succeeded = max(self.last_succeeded, timestamp)

    def failed(self, timestamp: float, exception: str, runtime: float | None) -> None:
        self._failed.inc()
        self._counts.count_exception(self.labels, exception, "failed")
        if runtime is not None:
            self._counts.runtime.labels(*self.labels, "failed").observe(runtime)
        self.last_failed = max(self.last_failed, timestamp)

    def retried(self, exception: str, runtime: float | None) -> None:
        self._retried.inc()
        self._counts.count_exception(self.labels, exception, "retried")
        if runtime is not None:
            self._counts.runtime.labels(*self.labels, "retried").observe(runtime)

    def rejected(self, requeue: str) -> None:
        self._rejected[requeue].inc()

    def revoked(self, reason: str) -> None:
        self._revoked[reason].inc()

    def cancelled(self) -> None:
        self._cancelled.inc()
