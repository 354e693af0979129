"""The expected numbers, derived from the submissions alone.

Owns what each behaviour means in events and in samples, after the rules of Celery 5.3 to 5.7 and the metric table of
the product. Must not know the exporter's code, and never looks at an observed event: it is what the exporter is
held to.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import TypeAlias

from tests.integration.truth.workload import (
    ALPHA,
    BETA,
    BROADCAST_FAILS_ON,
    GAMMA,
    PARCEL,
    Behaviour,
    Submission,
    other_queue,
    replacement,
)

Labels: TypeAlias = tuple[tuple[str, str], ...]
Sample: TypeAlias = tuple[str, Labels]


class Event(Enum):
    """One kind of event that counts: its type, the counter it feeds and that counter's own labels."""

    SENT = "task-sent", "celery_task_sent_total", ()
    RECEIVED = "task-received", "celery_task_received_total", ()
    STARTED = "task-started", "celery_task_started_total", ()
    SUCCEEDED = "task-succeeded", "celery_task_succeeded_total", ()
    FAILED = "task-failed", "celery_task_failed_total", ()
    RETRIED = "task-retried", "celery_task_retried_total", ()
    CANCELLED = "task-cancelled", "celery_task_cancelled_total", ()
    REQUEUED = "task-rejected", "celery_task_rejected_total", (("requeue", "true"),)
    DROPPED = "task-rejected", "celery_task_rejected_total", (("requeue", "false"),)
    REVOKED = "task-revoked", "celery_task_revoked_total", (("reason", "revoked"),)
    EXPIRED = "task-revoked", "celery_task_revoked_total", (("reason", "expired"),)
    TERMINATED = "task-revoked", "celery_task_revoked_total", (("reason", "terminated"),)

    def __init__(self, type_: str, counter: str, labels: Labels) -> None:
        self.type = type_
        self.counter = counter
        self.labels = labels


SENT, RECEIVED, STARTED = Event.SENT, Event.RECEIVED, Event.STARTED
TIMED = {Event.SUCCEEDED: "succeeded", Event.FAILED: "failed", Event.RETRIED: "retried"}
"""Ends that have a runtime when the start was seen, with their `outcome`."""


def _same(name: str) -> str:
    return name


@dataclass(frozen=True, slots=True)
class Attempt:
    """One delivery of a task to a worker: the counted events, and those Celery sends that must not be counted."""

    events: tuple[Event, ...]
    exception: str | None = None
    uncounted: tuple[str, ...] = ()
    name: Callable[[str], str] = _same
    queue: Callable[[str], str] = _same
    worker: Callable[[str], str] | None = None
    """The queue whose own worker runs it; by default that of `queue`."""


def _attempt(*ends: Event, exception: str | None = None, uncounted: tuple[str, ...] = ()) -> Attempt:
    return Attempt((SENT, RECEIVED, STARTED, *ends), exception, uncounted=uncounted)


def _redelivered(*ends: Event) -> Attempt:
    return Attempt((RECEIVED, STARTED, *ends))


def _replaced(queue: Callable[[str], str]) -> tuple[Attempt, ...]:
    return (_attempt(), Attempt((SENT, RECEIVED, STARTED, Event.SUCCEEDED), name=replacement, queue=queue))


def _shadow(_name: str) -> str:
    return PARCEL


def _folded(_queue: str) -> str:
    return "bcast.*"


def _broadcast(queue: str, *sent: Event) -> Attempt:
    fails = queue == BROADCAST_FAILS_ON
    return Attempt(
        (*sent, RECEIVED, STARTED, Event.FAILED if fails else Event.SUCCEEDED),
        "ValueError" if fails else None,
        queue=_folded,
        worker=lambda _: queue,
    )


_SUCCEEDS = _attempt(Event.SUCCEEDED)
_RESET = _attempt(Event.RETRIED, exception="ConnectionResetError")
_TERMINATED = _attempt(Event.TERMINATED)

LIVES: Mapping[Behaviour, tuple[Attempt, ...]] = {
    Behaviour.SUCCEED: (_SUCCEEDS,),
    Behaviour.FAIL_VALUE: (_attempt(Event.FAILED, exception="ValueError"),),
    Behaviour.FAIL_DECLINED: (_attempt(Event.FAILED, exception="PaymentDeclined"),),
    Behaviour.FAIL_ODD_REPR: (_attempt(Event.FAILED, exception="OutOfStock"),),
    Behaviour.RETRY_ONCE: (_RESET, _SUCCEEDS),
    Behaviour.RETRY_TWICE: (_RESET, _RESET, _SUCCEEDS),
    # Task.retry() without exc: the event says exception "None", its traceback ends in Celery's own Retry.
    Behaviour.RETRY_BARE: (_attempt(Event.RETRIED, exception="Retry"), _SUCCEEDS),
    Behaviour.RETRY_THEN_FAIL: (
        _attempt(Event.RETRIED, exception="TimeoutError"),
        _attempt(Event.FAILED, exception="TimeoutError"),
    ),
    # Since 5.7 celery.worker.request, Request.on_failure reports a dropped message as a failure too.
    Behaviour.REJECT_DROP: (_attempt(Event.FAILED, Event.DROPPED, exception="Reject"),),
    Behaviour.REJECT_REQUEUE: (_attempt(Event.REQUEUED), _redelivered(Event.SUCCEEDED)),
    Behaviour.IGNORE: (_attempt(),),
    Behaviour.REPLACE: _replaced(_same),
    Behaviour.REPLACE_ELSEWHERE: _replaced(other_queue),
    Behaviour.REPLACE_RELEASED: _replaced(_same),
    Behaviour.CUSTOM_EVENT: (_attempt(Event.SUCCEEDED, uncounted=("shop-note",)),),
    Behaviour.ETA: (_SUCCEEDS,),
    Behaviour.UNREGISTERED: (Attempt((SENT, Event.FAILED), "NotRegistered"),),
    Behaviour.REVOKED_UNSEEN: (Attempt((SENT, Event.REVOKED)),),
    Behaviour.EXPIRED_UNSEEN: (Attempt((SENT, Event.EXPIRED)),),
    Behaviour.SOFT_LIMIT: (_attempt(Event.FAILED, exception="SoftTimeLimitExceeded"),),
    Behaviour.SOFT_LIMIT_HANDLED: (_SUCCEEDS,),
    # Request.on_timeout and Request.on_failure of 5.7 both report a hard limit: one failure, two events.
    Behaviour.HARD_LIMIT: (
        _attempt(Event.FAILED, exception="TimeLimitExceeded", uncounted=(Event.FAILED.type,)),
    ),
    Behaviour.TERMINATED: (_TERMINATED,),
    Behaviour.KILLED: (_TERMINATED,),
    Behaviour.LOST: (_attempt(Event.FAILED, exception="WorkerLostError"),),
    Behaviour.LOST_REQUEUED: (_attempt(Event.REQUEUED), _redelivered(Event.SUCCEEDED)),
    Behaviour.HELD: (_SUCCEEDS,),
    Behaviour.REVOKED_WAITING: (Attempt((SENT, RECEIVED, Event.REVOKED)),),
    Behaviour.EXPIRED_WAITING: (Attempt((SENT, RECEIVED, Event.EXPIRED)),),
    Behaviour.REVOKED_SCHEDULED: (Attempt((SENT, RECEIVED, Event.REVOKED)),),
    Behaviour.UUID_OBJECT: (_SUCCEEDS,),
    # task-sent carries the real name, but one name is counted: that of the worker's events.
    Behaviour.SHADOWED: (Attempt((SENT, RECEIVED, STARTED, Event.SUCCEEDED), name=_shadow),),
    Behaviour.PUBLISHED_TWICE: (
        _attempt(Event.FAILED, exception="ValueError"),
        Attempt((SENT, RECEIVED, STARTED, Event.SUCCEEDED), queue=other_queue),
    ),
    # One publication, and an execution on each worker.
    Behaviour.BROADCAST: (_broadcast(ALPHA, SENT), _broadcast(BETA), _broadcast(GAMMA)),
}
"""What happens to a task of each behaviour, attempt by attempt, in Celery 5.7."""

_UNTIL_5_6: Mapping[Behaviour, tuple[Attempt, ...]] = {
    Behaviour.REJECT_DROP: (_attempt(Event.DROPPED),),
    Behaviour.HARD_LIMIT: (_attempt(Event.FAILED, exception="TimeLimitExceeded"),),
}


def lives(celery: tuple[int, ...]) -> Mapping[Behaviour, tuple[Attempt, ...]]:
    """What happens in this version of Celery, such as ``(5, 3, 6)``."""
    return LIVES if celery >= (5, 7) else {**LIVES, **_UNTIL_5_6}


ALWAYS_ZERO = (
    "celery_exporter_events_dropped_total",
    "celery_exporter_events_retimed_total",
    "celery_exporter_in_flight_evicted_total",
    "celery_exporter_receiver_reconnects_total",
    "celery_exporter_receiver_restarts_total",
    "celery_exporter_series_overflowed_total",
    "celery_exporter_web_connections_cut_total",
    "celery_task_ended_unseen_total",
    "celery_worker_lost_total",
)
"""Counters of what must not happen, with any labels."""


@dataclass(frozen=True, slots=True)
class Truth:
    """Expected values of every counter and every histogram's count.

    `samples` must be there with these values; `optional_zeros` may be there with value 0; nothing else may.
    `places` are the (queue, task) label sets and `workers` the nodenames that any task or worker metric may carry.
    """

    samples: Mapping[Sample, float]
    optional_zeros: frozenset[Sample]
    places: frozenset[Labels]
    workers: frozenset[str]
    of_listener: bool = True

    def of_workers(self) -> "Truth":
        """What the workers must tell together that report for themselves, of what an exporter that listens must tell.

        They know neither publications, nor what the tasks themselves send, nor what they missed.
        """
        unknown = (
            "celery_task_ended_unseen_total",
            "celery_task_sent_total",
            "celery_worker_missed_tasks_total",
        )
        unheard = (("event", "other"),), (("event", "task-sent"),)
        return replace(
            self,
            samples={
                sample: 0.0 if sample[1] in unheard else value
                for sample, value in self.samples.items()
                if sample[0] not in unknown
            },
            of_listener=False,
        )


def truth(planned: Iterable[Submission], workers: Mapping[str, str], *, celery: tuple[int, ...]) -> Truth:
    """Expected samples after all of `planned` happened; `workers` maps a queue to the nodename that consumes it.

    `celery` is the version of the workers.
    """
    tally = _Tally(workers, lives(celery))
    for submission in planned:
        tally.add(submission)
    return tally.truth()


class _Tally:
    def __init__(self, workers: Mapping[str, str], lives: Mapping[Behaviour, tuple[Attempt, ...]]) -> None:
        self._workers = workers
        self._lives = lives
        self._counts: Counter[Sample] = Counter()
        self._places: set[Labels] = set()

    def add(self, submission: Submission) -> None:
        """Count one task's whole life."""
        for attempt in self._lives[submission.behaviour]:
            self._attempt(attempt, submission)

    def _attempt(self, attempt: Attempt, submission: Submission) -> None:
        queue = attempt.queue(submission.queue)
        where: Labels = (("queue", queue), ("task", attempt.name(submission.task)))
        worker = self._workers[attempt.worker(submission.queue) if attempt.worker else queue]
        started = STARTED in attempt.events
        self._places.add(where)
        for event in attempt.events:
            self._count(event.counter, where, event.labels)
            self._count("celery_exporter_events_total", (("event", event.type),))
            if event in TIMED:
                outcome: Labels = (("outcome", TIMED[event]),)
                self._count("celery_worker_tasks_total", (("worker", worker),), outcome)
                if started:
                    self._count("celery_task_runtime_seconds_count", where, outcome)
                if attempt.exception is not None:
                    named: Labels = (("exception", attempt.exception), *outcome)
                    self._count("celery_task_exceptions_total", where, named)
        for type_ in attempt.uncounted:
            counted_as = type_ if type_.startswith("task-") else "other"
            self._count("celery_exporter_events_total", (("event", counted_as),))
        if started:
            self._count("celery_worker_processed_tasks_total", (("worker", worker),))
            self._count("celery_task_prefetch_wait_seconds_count", where)
            self._count("celery_task_queue_wait_seconds_count", where)

    def _count(self, name: str, *labels: Labels) -> None:
        self._counts[_sample(name, *labels)] += 1

    def truth(self) -> Truth:
        """Expected samples of everything added so far."""
        samples = {sample: float(count) for sample, count in self._counts.items()}
        zeros = {_sample("celery_exporter_events_total", (("event", event.type),)) for event in Event}
        for where in self._places:
            for event in Event:
                samples.setdefault(_sample(event.counter, where, event.labels), 0.0)
            for outcome in TIMED.values():
                zeros.add(_sample("celery_task_runtime_seconds_count", where, (("outcome", outcome),)))
            zeros.add(_sample("celery_task_prefetch_wait_seconds_count", where))
            zeros.add(_sample("celery_task_queue_wait_seconds_count", where))
        for worker in self._workers.values():
            samples[_sample("celery_worker_missed_tasks_total", (("worker", worker),))] = 0.0
        return Truth(
            samples,
            frozenset(zeros - samples.keys()),
            frozenset(self._places),
            frozenset(self._workers.values()),
        )


def _sample(name: str, *labels: Labels) -> Sample:
    return name, tuple(sorted(pair for pairs in labels for pair in pairs))
