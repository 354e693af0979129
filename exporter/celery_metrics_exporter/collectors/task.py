"""What happened to tasks: ``celery_task_*``, by task and queue.

Source of facts: the task events of clients (task-sent) and workers (all others), see ``events.types``. ``inflight``
tells which attempt an event belongs to, ``attribution`` where it is counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celery_metrics_exporter.collectors.family import Family
from celery_metrics_exporter.collectors.task_ledger import (
    LEDGER_FAMILIES,
    LedgerSettings,
    TaskLedger,
    collect,
)
from celery_metrics_exporter.collectors.task_ledgers import TaskLedgers
from celery_metrics_exporter.events import types as events
from celery_metrics_exporter.labels import exception_class
from celery_metrics_exporter.tasks.attribution import Attribution
from celery_metrics_exporter.tasks.running import Running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client import Metric

    from celery_metrics_exporter.clock import BatchClock
    from celery_metrics_exporter.collectors.task_ledger import Buckets
    from celery_metrics_exporter.events.handlers import HandlerTable
    from celery_metrics_exporter.tasks.attempt import Attempt
    from celery_metrics_exporter.tasks.inflight import Inflight
    from celery_metrics_exporter.tasks.ledger import Ledger
    from celery_metrics_exporter.workers.roster import Roster

_IN_PROGRESS = Family(
    "celery_task_in_progress",
    "gauge",
    "Tasks between task-started and their end.",
    ("task", "queue"),
)
_OLDEST_RUNNING = Family(
    "celery_task_oldest_running_timestamp_seconds",
    "gauge",
    "Time of task-started of the task that runs longest, absent while none runs.",
    ("task", "queue"),
)
_LAST_SUCCEEDED = Family(
    "celery_task_last_succeeded_timestamp_seconds",
    "gauge",
    "Time of the latest task-succeeded event.",
    ("task", "queue"),
)
_LAST_FAILED = Family(
    "celery_task_last_failed_timestamp_seconds",
    "gauge",
    "Time of the latest task-failed event.",
    ("task", "queue"),
)


class TaskCollector:
    """Feeds the task families from the task events."""

    name = "task"
    families = (*LEDGER_FAMILIES, _IN_PROGRESS, _OLDEST_RUNNING, _LAST_SUCCEEDED, _LAST_FAILED)

    def __init__(
        self,
        inflight: Inflight,
        roster: Roster,
        now: BatchClock,
        *,
        buckets: Buckets,
        max_series: int,
        expected: Mapping[str, str | None],
        on_published: Callable[[str, float], None],
        on_overflow: Callable[[str], None],
    ) -> None:
        """Args:
        inflight: the table of attempts, which this collector alone writes to.
        roster: tells which queues a worker consumes, and is told each succeeded, failed, retried that counts.
        now: when that came which is handled.
        buckets: of the histograms.
        max_series: label sets a family, the rest is folded into ``other``.
        expected: tasks that are shown from the start, at 0: by the task's name the queue where its application sends
            it, None if that cannot be told. It labels what no better source tells the queue of.
        on_published: told (queue, timestamp) of each task-sent that names a queue.
        on_overflow: told the family of each label set that was folded.
        """
        self._inflight = inflight
        self._now = now
        self._running = Running()
        self._settings = LedgerSettings(buckets, self._admit_exception)
        self._ledgers = TaskLedgers(self._settings, max_series=max_series, on_overflow=on_overflow)
        self._ledgers.expect(expected)
        self._attribution = Attribution(
            self._ledgers.__getitem__, now, only_queue=roster.only_queue, max_tasks=max_series
        )
        routes = {task: queue for task, queue in expected.items() if queue is not None}
        self._attribution.expect(routes, roster.may_consume)
        self._exceptions: set[tuple[str, ...]] = set()
        self._max_series = max_series
        self._on_published = on_published
        self._on_outcome = roster.count_outcome
        self._on_overflow = on_overflow

    @property
    def routed(self) -> int:
        """How many times a queue was taken from the routes of an application."""
        return self._attribution.routed

    def subscribe(self, table: HandlerTable) -> None:
        """Name the handlers."""
        table.on(events.TaskSent, self.on_sent)
        table.on(events.TaskReceived, self.on_received)
        table.on(events.TaskStarted, self.on_started)
        table.on(events.TaskSucceeded, self.on_succeeded)
        table.on(events.TaskFailed, self.on_failed)
        table.on(events.TaskRetried, self.on_retried)
        table.on(events.TaskRejected, self.on_rejected)
        table.on(events.TaskRevoked, self.on_revoked)
        table.on(events.TaskCancelled, self.on_cancelled)
        table.on_sweep(self.sweep)

    def on_sent(self, event: events.TaskSent) -> None:
        """Count it, and settle what waited for it."""
        attempt = self._inflight.sent(event)
        if attempt is None:
            return
        ledger = self._attribution.published(attempt)
        ledger.sent()
        if event.queue is not None:
            self._on_published(event.queue, event.timestamp)
        if attempt.details.unpaired:
            for started in attempt.unpaired:
                ledger.queue_wait(max(0.0, started - attempt.due))
            attempt.unpaired = ()

    def on_received(self, event: events.TaskReceived) -> None:
        """Count it."""
        attempt = self._inflight.received(event)
        if attempt is None:
            return
        ledger = attempt.ledger
        if ledger is None or attempt.started:  # started before: its name may be news
            ledger = self._attribution.met(attempt)
        ledger.received()
        if (
            attempt.started and not attempt.past
        ):  # told in the wrong order, as kombu's filesystem transport may
            ledger.prefetch_wait(_prefetch_wait(attempt))

    def on_started(self, event: events.TaskStarted) -> None:
        """Count it and the waits that it ends."""
        attempt = self._inflight.started(event)
        if attempt is None:
            return
        ledger = attempt.ledger or self._attribution.met(attempt)
        started = event.timestamp
        ledger.started()
        if attempt.sent:
            wait = started - (attempt.due if attempt.details.eta else attempt.sent)
            ledger.queue_wait(wait if wait > 0 else 0.0)  # max() would be a call
        else:
            attempt.wait_for_sent(started)
        if attempt.received:
            ledger.prefetch_wait(_prefetch_wait(attempt))
        if attempt.open:
            self._running.begin(attempt)

    def on_succeeded(self, event: events.TaskSucceeded) -> None:
        """Count the outcome."""
        attempt = self._inflight.ended(event, final=True)
        if attempt is None:
            return
        ledger = attempt.ledger or self._attribution.met(attempt)
        ledger.succeeded(self._past(event.timestamp), event.runtime)
        self._on_outcome(event.hostname, "succeeded")

    def on_failed(self, event: events.TaskFailed) -> None:
        """Count the outcome."""
        attempt = self._inflight.ended(event, final=True)
        if attempt is None:
            return
        exception = exception_class(event.exception, event.traceback)
        runtime = _runtime(attempt, event.timestamp)
        self._ledger_of(attempt).failed(self._past(event.timestamp), exception, runtime)
        self._on_outcome(event.hostname, "failed")

    def on_retried(self, event: events.TaskRetried) -> None:
        """Count the outcome of this attempt; the next one comes under the same uuid."""
        attempt = self._inflight.ended(event, final=False)
        if attempt is None:
            return
        exception = exception_class(event.exception, event.traceback)
        self._ledger_of(attempt).retried(exception, _runtime(attempt, event.timestamp))
        self._on_outcome(event.hostname, "retried")

    def on_rejected(self, event: events.TaskRejected) -> None:
        """Count it beside the outcome, if the attempt has one."""
        attempt = self._inflight.returned(event, final=not event.requeue)
        if attempt is not None:
            self._ledger_of(attempt).rejected("true" if event.requeue else "false")

    def on_revoked(self, event: events.TaskRevoked) -> None:
        """Count the outcome."""
        attempt = self._inflight.ended(event, final=True)
        if attempt is not None:
            reason = "expired" if event.expired else "terminated" if event.terminated else "revoked"
            self._ledger_of(attempt).revoked(reason)

    def on_cancelled(self, event: events.TaskCancelled) -> None:
        """Count it; the broker will deliver the message again."""
        attempt = self._inflight.returned(event, final=False)
        if attempt is not None:
            self._ledger_of(attempt).cancelled()

    def on_worker_idle(self, worker: str, since: float) -> None:
        """Nothing runs on a worker: take off what seems to, and was started before ``since`` (epoch seconds).

        Some tasks end without an event: ``Ignore``, ``Task.replace`` by itself, a killed worker, an event lost.
        """
        self._running.end_all(worker, since)

    def ledgers(self) -> tuple[TaskLedger, ...]:
        """Those of all (task, queue), in the order in which these came to be known; none ever goes."""
        return tuple(self._ledgers.values())

    def running(self) -> list[Attempt]:
        """What runs now."""
        return self._running.snapshot()

    def received_by_queue(self) -> dict[str, int]:
        """Number of task-received events by queue, ``unknown`` among them."""
        found: dict[str, int] = {}
        for ledger in self._ledgers.values():
            found[ledger.labels[1]] = found.get(ledger.labels[1], 0) + ledger.deliveries
        return found

    def sweep(self) -> None:
        """Settle and forget what has waited long enough."""
        self._attribution.sweep()
        self._inflight.sweep()
        self._running.sweep()

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        expected = self._ledgers.expected()  # first: none is missing that is seen between the two
        ledgers = self.ledgers()
        yield from collect(ledgers, self._settings.buckets, expected)
        in_progress, oldest = _IN_PROGRESS.empty(), _OLDEST_RUNNING.empty()
        last_succeeded, last_failed = _LAST_SUCCEEDED.empty(), _LAST_FAILED.empty()
        starts: dict[Ledger | None, list[float]] = {}
        now = self._now.wall  # no clock that is ahead of ours makes a time to come of what has happened
        for attempt in self.running():
            starts.setdefault(attempt.ledger, []).append(attempt.started)
        for ledger in ledgers:
            running = starts.get(ledger, ())
            in_progress.add_metric(ledger.labels, len(running))
            if running:
                oldest.add_metric(ledger.labels, min(now, *running))
            if ledger.last_succeeded:
                last_succeeded.add_metric(ledger.labels, ledger.last_succeeded)
            if ledger.last_failed:
                last_failed.add_metric(ledger.labels, ledger.last_failed)
        yield from (in_progress, oldest, last_succeeded, last_failed)

    def _past(self, timestamp: float) -> float:
        """The time of what has happened, by a clock that may be ahead of ours."""
        now = self._now.wall
        return min(now, timestamp)

    def _ledger_of(self, attempt: Attempt) -> Ledger:
        return attempt.ledger or self._attribution.met(attempt)

    def _admit_exception(self, labels: tuple[str, ...]) -> bool:
        """Whether one more exception class may have a series; some libraries make classes at run time."""
        if labels in self._exceptions or len(self._exceptions) < self._max_series:
            self._exceptions.add(labels)
            return True
        self._on_overflow("celery_task_exceptions_total")
        return False


def _prefetch_wait(attempt: Attempt) -> float:
    wait = attempt.started - (max(attempt.received, attempt.eta) if attempt.details.eta else attempt.received)
    return wait if wait > 0 else 0.0


def _runtime(attempt: Attempt, ended: float) -> float | None:
    return max(0.0, ended - attempt.started) if attempt.started else None
