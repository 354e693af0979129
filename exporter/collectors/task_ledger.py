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
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from prometheus_client import Metric
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

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

#: The outcomes that exist from the first moment, at 0, so that ``rate()`` and ratios work from the start.
_ZEROS: tuple[tuple[Family, tuple[str, ...]], ...] = (
    *((family, ()) for family in (_SENT, _RECEIVED, _STARTED, _SUCCEEDED, _FAILED, _RETRIED, _CANCELLED)),
    *((_REJECTED, (requeue,)) for requeue in ("true", "false")),
    *((_REVOKED, (reason,)) for reason in ("revoked", "expired", "terminated")),
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
    running: Running
    admit_exception: Callable[[tuple[str, ...]], bool]


class TaskLedger:
    """Counts what happens to one task on one queue. One thread at a time writes, any may read.

    Of the histograms only those of successes and prefetching exist from the first moment: the queue wait comes with the
    first task-sent (without it nobody knows), the run time of failures with the first of them.
    """

    __slots__ = ("_settings", "_totals", "_waits", "labels", "last_failed", "last_succeeded")

    def __init__(self, settings: LedgerSettings, labels: tuple[str, str]) -> None:
        self.labels = labels
        self.last_succeeded = self.last_failed = 0.0  # epoch seconds
        self._settings = settings
        self._totals: dict[tuple[Family, tuple[str, ...]], int] = dict.fromkeys(_ZEROS, 0)
        self._waits: dict[tuple[Family, tuple[str, ...]], Distribution] = {}
        self._histogram(_RUNTIME, ("succeeded",))
        self._histogram(_PREFETCH_WAIT, ())

    def sent(self) -> None:
        self._totals[_SENT, ()] += 1
        if (_QUEUE_WAIT, ()) not in self._waits:
            self._histogram(_QUEUE_WAIT, ())

    def received(self) -> None:
        self._totals[_RECEIVED, ()] += 1

    @property
    def deliveries(self) -> int:
        return self._totals[_RECEIVED, ()]

    def started(self) -> None:
        self._totals[_STARTED, ()] += 1

    def queue_wait(self, seconds: float) -> None:
        self._observe(_QUEUE_WAIT, (), seconds)

    def prefetch_wait(self, seconds: float) -> None:
        self._observe(_PREFETCH_WAIT, (), seconds)

    def begin(self, attempt: Attempt, started: float) -> None:
        self._settings.running.begin(self, attempt, started)

    def end(self, attempt: Attempt) -> None:
        self._settings.running.end(attempt)

    def succeeded(self, timestamp: float, runtime: float | None) -> None:
        self._totals[_SUCCEEDED, ()] += 1
        self._observe(_RUNTIME, ("succeeded",), runtime)
        self.last_succeeded = max(self.last_succeeded, timestamp)

    def failed(self, timestamp: float, exception: str, runtime: float | None) -> None:
        self._totals[_FAILED, ()] += 1
        self._count_exception(exception, "failed")
        self._observe(_RUNTIME, ("failed",), runtime)
        self.last_failed = max(self.last_failed, timestamp)

    def retried(self, exception: str, runtime: float | None) -> None:
        self._totals[_RETRIED, ()] += 1
        self._count_exception(exception, "retried")
        self._observe(_RUNTIME, ("retried",), runtime)

    def rejected(self, requeue: str) -> None:
        self._totals[_REJECTED, (requeue,)] += 1

    def revoked(self, reason: str) -> None:
        self._totals[_REVOKED, (reason,)] += 1

    def cancelled(self) -> None:
        self._totals[_CANCELLED, ()] += 1

    def _count_exception(self, exception: str, outcome: str) -> None:
        key = (_EXCEPTIONS, (exception, outcome))
        if key not in self._totals:
            if not self._settings.admit_exception((*self.labels, exception, outcome)):
                key = (_EXCEPTIONS, (OTHER, outcome))
            self._totals.setdefault(key, 0)
        self._totals[key] += 1

    def _observe(self, family: Family, extra: tuple[str, ...], seconds: float | None) -> None:
        if seconds is not None:
            (self._waits.get((family, extra)) or self._histogram(family, extra)).observe(seconds)

    def _histogram(self, family: Family, extra: tuple[str, ...]) -> Distribution:
        buckets = self._settings.buckets
        bounds = buckets.runtime if family is _RUNTIME else buckets.wait
        distribution = self._waits[family, extra] = Distribution(bounds)
        return distribution

    def add_to(
        self,
        counters: Mapping[Family, CounterMetricFamily | GaugeMetricFamily],
        histograms: Mapping[Family, HistogramMetricFamily],
    ) -> None:
        """Add the samples to their families."""
        for (family, extra), number in tuple(self._totals.items()):
            counters[family].add_metric((*self.labels, *extra), number)
        for (family, extra), distribution in tuple(self._waits.items()):
            distribution.add_to(histograms[family], (*self.labels, *extra))


def collect(ledgers: Sequence[TaskLedger]) -> Iterator[Metric]:
    """Yield the families, with the samples of all these ledgers."""
    counters = {family: family.empty() for family in LEDGER_FAMILIES if family.kind == "counter"}
    histograms = {
        family: family.empty_histogram() for family in LEDGER_FAMILIES if family.kind == "histogram"
    }
    for ledger in ledgers:
        ledger.add_to(counters, histograms)
    yield from counters.values()
    yield from histograms.values()
