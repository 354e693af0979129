"""What happened to tasks: ``celery_task_*``, by task and queue.

Source of facts: the task events of clients (task-sent) and workers (all others), see ``events.types``. ``inflight``
tells which attempt an event belongs to, ``attribution`` where it is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import Metric

from celery_metrics_exporter.clock import BatchClock
from celery_metrics_exporter.collectors.family import Family
from celery_metrics_exporter.collectors.task_counts import TASK_LABELS, Buckets, CountedFamilies
from celery_metrics_exporter.collectors.task_recovery import TaskRecovery
from celery_metrics_exporter.collectors.task_running import RUNNING_FAMILIES, collect_running
from celery_metrics_exporter.events import types as events
from celery_metrics_exporter.events.handlers import HandlerTable
from celery_metrics_exporter.labels import SeriesLimit, exception_class, unregistered_task
from celery_metrics_exporter.tasks.attempt import Attempt
from celery_metrics_exporter.tasks.attribution import Attribution
from celery_metrics_exporter.tasks.counts import Counts, LabelSets
from celery_metrics_exporter.tasks.inflight import Inflight
from celery_metrics_exporter.tasks.interning import Interner
from celery_metrics_exporter.tasks.naming import Naming
from celery_metrics_exporter.tasks.publication import routed
from celery_metrics_exporter.tasks.running import Running
from celery_metrics_exporter.workers.roster import Roster

# A family is declared here and counted in the handler of its event; everything else follows from that.
_COUNTED: Final = CountedFamilies()

SENT: Final = _COUNTED.counter("celery_task_sent_total", "Publications of the task, one per task-sent event.")
RECEIVED: Final = _COUNTED.counter(
    "celery_task_received_total", "Deliveries of the task to a worker, one per task-received event."
)
STARTED: Final = _COUNTED.counter(
    "celery_task_started_total", "Starts of the task in a worker, one per task-started event."
)
SUCCEEDED: Final = _COUNTED.counter("celery_task_succeeded_total", "Successes, one per task-succeeded event.")
FAILED: Final = _COUNTED.counter(
    "celery_task_failed_total",
    "Failures, one per execution even if several task-failed events tell of it.",
)
RETRIED: Final = _COUNTED.counter(
    "celery_task_retried_total", "Attempts that end in a retry, one per task-retried event."
)
_CANCELLED: Final = _COUNTED.counter(
    "celery_task_cancelled_total",
    "Running tasks cancelled because their worker lost its connection, one per task-cancelled event.",
)
_REJECTED: Final = _COUNTED.counter_by(
    "celery_task_rejected_total",
    "Messages returned to the broker, one per task-rejected event, by whether they will be delivered again.",
    "requeue",
    ("true", "false"),
)
_REVOKED: Final = _COUNTED.counter_by(
    "celery_task_revoked_total",
    "Tasks revoked before their start, expired, or terminated while they ran, one per task-revoked event.",
    "reason",
    ("revoked", "expired", "terminated"),
)
_ENDED_UNSEEN: Final = _COUNTED.counter(
    "celery_task_ended_unseen_total",
    "Executions that ran before a gap in listening and then no more, by two answers of their worker or by its "
    "worker-heartbeat events, without an outcome event until then.",
)
_EXCEPTIONS: Final = Family(
    "celery_task_exceptions_total",
    "counter",
    "Exceptions by class, one per task-failed or task-retried event that is counted.",
    (*TASK_LABELS, "exception", "outcome"),
)
_RUNTIME: Final = Family(
    "celery_task_runtime_seconds",
    "histogram",
    "Run time, as the worker measured it for task-succeeded, else from task-started to task-failed or task-retried.",
    (*TASK_LABELS, "outcome"),
)
RUNTIME_SUCCEEDED: Final = _COUNTED.histogram(
    _RUNTIME, "succeeded", bounds=lambda buckets: buckets.runtime, exemplars=True, shows_empty=lambda _: True
)
_RUNTIME_FAILED: Final = _COUNTED.histogram(
    _RUNTIME, "failed", bounds=lambda buckets: buckets.runtime, exemplars=True
)
_RUNTIME_RETRIED: Final = _COUNTED.histogram(
    _RUNTIME, "retried", bounds=lambda buckets: buckets.runtime, exemplars=True
)
QUEUE_WAIT: Final = _COUNTED.histogram(
    Family(
        "celery_task_queue_wait_seconds",
        "histogram",
        "Time from when a task was due (task-sent, or its eta if that is later) to task-started; inside workers the "
        "time that its message carries stands for task-sent.",
        TASK_LABELS,
    ),
    bounds=lambda buckets: buckets.wait,
    exemplars=True,
    shows_empty=lambda counts: counts.totals[SENT] > 0,  # without task-sent nobody can know it
)
_PREFETCH_WAIT: Final = _COUNTED.histogram(
    Family(
        "celery_task_prefetch_wait_seconds",
        "histogram",
        "Time that a worker held a task, from task-received (or its eta if that is later) to task-started.",
        TASK_LABELS,
    ),
    bounds=lambda buckets: buckets.wait,
    shows_empty=lambda _: True,
)
_LAST_SUCCEEDED: Final = _COUNTED.latest(
    "celery_task_last_succeeded_timestamp_seconds", "Time of the latest task-succeeded event."
)
LAST_FAILED: Final = _COUNTED.latest(
    "celery_task_last_failed_timestamp_seconds", "Time of the latest task-failed event."
)


class TaskCollector:
    """Feeds the task families from the task events."""

    name = "task"
    families = (*_COUNTED.families, _EXCEPTIONS, *RUNNING_FAMILIES)

    def __init__(
        self,
        inflight: Inflight,
        roster: Roster,
        now: BatchClock,
        *,
        buckets: Buckets,
        limit: SeriesLimit,
        expected: Mapping[str, str | None],
        on_published: Callable[[str, str, float], None],
        listening_since: Callable[[], float],
    ) -> None:
        """Args:
        inflight: the table of attempts, written by this collector alone.
        roster: knows which queues workers consume and what they may hold, and counts the outcomes of each worker.
        now: the receipt time of the current batch.
        buckets: of the histograms.
        limit: of label sets.
        expected: tasks that are shown at 0 from the start, each with the queue to which its application sends it, None
            if that cannot be told. The queue labels events of which no better source tells the queue.
        on_published: called with (label of the queue, its name, timestamp) of each task-sent that names a queue.
        listening_since: monotonic time of the end of the latest gap in which events were missed.
        """
        self._inflight = inflight
        self._now = now
        self._buckets = buckets
        self._running = Running()
        self._label_sets = LabelSets(_COUNTED.places(buckets), limit, now, expected=expected)
        self._naming = Naming(consumers=roster, routes=expected, limit=limit)
        self._attribution = Attribution(self._label_sets, now, self._naming, sent=SENT, limit=limit)
        self._counts_for = self._attribution.counts_for_worker_event
        #: Called where no task-sent will come.
        self.expect_no_sent = self._attribution.expect_no_sent
        inflight.on_renamed = inflight.held.on_renamed = self._attribution.renamed
        self._roster = roster
        self._fitting = Interner[frozenset[str] | None](limit.maximum)
        self.recovery = TaskRecovery(
            inflight.held,
            self._running,
            self._attribution,
            now,
            fitting=self._fitting,
            destinations=lambda: roster.bindings,
            listening_since=listening_since,
            on_unseen_end=self._count_unseen_end,
        )
        self._on_published = on_published
        self._on_outcome = roster.count_outcome
        self._may_hold = roster.may_hold

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
        table.on(events.TaskIdentified, self._inflight.identified)
        table.on_sweep(self.sweep)

    def on_sent(self, event: events.TaskSent) -> None:
        """Count it soon, and the waits of starts that came before it."""
        exchange, fitting = event.exchange, None
        if exchange or (exchange is not None and event.routing_key != event.queue):
            event, fitting = routed(event, self._roster.bindings)
        attempt = self._inflight.sent(event)
        if attempt is None:
            return
        if exchange:
            attempt.fitting = self._fitting[fitting]
            self._attribution.published_by_exchange(attempt)
        self._attribution.published(attempt)
        queue = attempt.kind[1]
        if queue is not None:
            self._on_published(queue, event.queue or queue, event.timestamp)
        if attempt.worker is not None:  # it came late
            for each in (attempt, *self._inflight.siblings(event.uuid, attempt)):
                _observe_unpaired(each, self._counts_for(each), event.uuid)

    def on_received(self, event: events.TaskReceived) -> None:
        """Count it."""
        attempt = self._inflight.received(event)
        if attempt is None:
            return
        counts = self._counts_for(attempt)  # its name and its worker may be news
        counts.totals[RECEIVED] += 1
        if event.published is not None:
            counts.show(QUEUE_WAIT)
            _observe_unpaired(attempt, counts, event.uuid)
        if (
            attempt.started and not attempt.past and not attempt.unconfirmed
        ):  # in the wrong order, as kombu's filesystem transport may deliver
            counts.observe(_PREFETCH_WAIT, _prefetch_wait(attempt))

    def on_started(self, event: events.TaskStarted) -> None:
        """Count it and the waits that it ends."""
        attempt = self._inflight.started(event)
        if attempt is None:
            return
        counts = attempt.counts or self._counts_for(attempt)
        counts.totals[STARTED] += 1
        started = event.timestamp
        published = attempt.sent or attempt.details.published
        if published:
            wait = started - (attempt.due if attempt.details.eta else published)
            counts.observe(
                QUEUE_WAIT, wait if wait > 0 else 0.0, event.uuid, attempt
            )  # max() would be a call
        else:
            attempt.wait_for_sent(started)
        if attempt.received:
            counts.observe(_PREFETCH_WAIT, _prefetch_wait(attempt))
        if attempt.open:
            self._running.begin(attempt)

    def on_succeeded(self, event: events.TaskSucceeded) -> None:
        """Count the outcome."""
        attempt = self._inflight.ended(event, final=True)
        if attempt is None:
            return
        counts = attempt.counts or self._counts_for(attempt)
        counts.totals[SUCCEEDED] += 1
        if event.runtime is not None:
            counts.observe(RUNTIME_SUCCEEDED, event.runtime, event.uuid, attempt)
        counts.note_latest(_LAST_SUCCEEDED, self._past(event.timestamp))
        self._on_outcome(event.hostname, "succeeded")

    def on_failed(self, event: events.TaskFailed) -> None:
        """Count the outcome."""
        attempt = self._inflight.ended(event, final=True)
        if attempt is None:
            return
        if attempt.kind[0] is None:
            attempt.kind = unregistered_task(event.exception, event.traceback), attempt.kind[1]
        counts = attempt.counts or self._counts_for(attempt)
        counts.totals[FAILED] += 1
        counts.note_exemplar(FAILED, event.uuid, attempt)
        counts.count_exception(exception_class(event.exception, event.traceback), "failed")
        if attempt.started:
            runtime = max(0.0, event.timestamp - attempt.started)
            counts.observe(_RUNTIME_FAILED, runtime, event.uuid, attempt)
        counts.note_latest(LAST_FAILED, self._past(event.timestamp))
        self._on_outcome(event.hostname, "failed")

    def on_retried(self, event: events.TaskRetried) -> None:
        """Count the outcome of this attempt; the next one comes under the same uuid."""
        attempt = self._inflight.ended(event, final=False)
        if attempt is None:
            return
        counts = attempt.counts or self._counts_for(attempt)
        counts.totals[RETRIED] += 1
        counts.count_exception(exception_class(event.exception, event.traceback), "retried")
        if attempt.started:
            runtime = max(0.0, event.timestamp - attempt.started)
            counts.observe(_RUNTIME_RETRIED, runtime, event.uuid, attempt)
        self._on_outcome(event.hostname, "retried")

    def on_rejected(self, event: events.TaskRejected) -> None:
        """Count it, whether or not the attempt has an outcome too."""
        attempt = self._inflight.returned(event, final=not event.requeue)
        if attempt is not None:
            counts = attempt.counts or self._counts_for(attempt)
            counts.totals[_REJECTED["true" if event.requeue else "false"]] += 1

    def on_revoked(self, event: events.TaskRevoked) -> None:
        """Count the outcome."""
        attempt = self._inflight.ended(event, final=True)
        if attempt is not None:
            reason = "expired" if event.expired else "terminated" if event.terminated else "revoked"
            counts = attempt.counts or self._counts_for(attempt)
            counts.totals[_REVOKED[reason]] += 1

    def on_cancelled(self, event: events.TaskCancelled) -> None:
        """Count it; the broker will deliver the message again."""
        attempt = self._inflight.returned(event, final=False)
        if attempt is not None:
            counts = attempt.counts or self._counts_for(attempt)
            counts.totals[_CANCELLED] += 1

    def _past(self, timestamp: float) -> float:
        """The time of an event, but no future time by the clock of a worker that is ahead of ours."""
        now = self._now.wall
        return timestamp if timestamp < now else now  # noqa: FURB136 - min() costs twice as much

    def on_worker_idle(self, worker: str, since: float) -> None:
        """Nothing runs on a worker: take off what seems to, and was started before ``since`` (epoch seconds).

        Some tasks end without an event: ``Ignore``, ``Task.replace`` by itself, a killed worker, an event lost.
        """
        ended = self._running.end_all(worker, since)
        if ended:
            self.recovery.note_end(ended)

    def end_all_but(self, worker: str, uuids: Iterable[str], before: float) -> None:
        """End what seems to run on a worker, was started ``before`` (epoch seconds) and is none of these tasks."""
        running = set().union(*map(self._inflight.held.chain, uuids))
        for attempt in self._running.on(worker):
            if attempt.started < before and attempt not in running:
                self._running.end(attempt)

    def _count_unseen_end(self, attempt: Attempt) -> None:
        counts = attempt.counts or self._counts_for(attempt)
        counts.totals[_ENDED_UNSEEN] += 1

    def counts(self) -> tuple[Counts, ...]:
        """Those of every (task, queue), in the order in which these were first seen; none is ever removed."""
        return tuple(self._label_sets.values())

    def running(self) -> list[Attempt]:
        """The attempts that run now."""
        return self._running.snapshot()

    @property
    def routed(self) -> int:
        """How many times a queue was taken from the routes of an application."""
        return self._naming.routed

    def received_by_queue(self) -> dict[str, int]:
        """Number of task-received events by queue, ``unknown`` among them."""
        found: dict[str, int] = {}
        for counts in self._label_sets.values():
            found[counts.labels[1]] = found.get(counts.labels[1], 0) + counts.totals[RECEIVED]
        return found

    def sweep(self) -> None:
        """Settle and forget what has waited long enough."""
        self._attribution.sweep()
        self._inflight.sweep(self._may_hold)
        self._running.sweep()
        self.recovery.note_gap()

    def recount(self, *, native: bool) -> None:
        """Count in native buckets, too, or no more."""
        self._label_sets.recount(native=native)

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        expected = self._label_sets.expected()  # first: a task that is seen in between is in one of the two
        all_counts = self.counts()
        yield from _COUNTED.collect(
            all_counts, self._label_sets.cells, expected, classic=self._buckets.classic
        )
        exceptions = _EXCEPTIONS.empty()
        for counts in all_counts:
            for key, number in tuple(counts.exceptions.items()):
                exceptions.add_metric((*counts.labels, *key), number, counts.created)
        yield exceptions
        yield from collect_running(all_counts, self.running(), self._now.wall)


def _observe_unpaired(attempt: Attempt, counts: Counts, uuid: str) -> None:
    """Observe the queue waits of the starts that came before it was known when the attempt was published."""
    for started in attempt.unpaired:
        counts.observe(QUEUE_WAIT, max(0.0, started - attempt.due), uuid, attempt)
    attempt.unpaired = ()


def _prefetch_wait(attempt: Attempt) -> float:
    wait = attempt.started - (max(attempt.received, attempt.eta) if attempt.details.eta else attempt.received)
    return wait if wait > 0 else 0.0
