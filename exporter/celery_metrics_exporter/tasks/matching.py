"""Finds the attempt that an event belongs to, where a uuid has several.

The rules are functions over a chain of attempts, newest first by arrival. They rely on the order in which each worker
sends its own events, except that task-retried may come after the task-started of the next attempt (seen with
Celery 5.7). Events of different workers and clients may come in any order.

An event of a worker belongs to an attempt of this worker, or to one that no worker has told of yet. Where a rule gives
an attempt of another worker, or None, the caller opens a new one.

A publication is told from others by its retry count, and by ``parent_id``: retries and replacements have their own uuid
there (``celery/app/task.py``, ``Task.retry`` and ``Task.replace``; the retry of a task with a parent keeps that
parent). Names tell less: task-sent has the task's, task-received the one of ``shadow`` (``celery/worker/request.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from celery_metrics_exporter.events.types import TaskReceived, TaskSent, TaskStarted, WorkerTaskEvent
from celery_metrics_exporter.labels import queue_label
from celery_metrics_exporter.tasks.attempt import Attempt
from celery_metrics_exporter.tasks.replacing import leads_to

#: Whether a worker may have a task from a queue: false if it is known not to consume it.
MayConsume: TypeAlias = Callable[[str, str], bool]

#: Attempts of one uuid that are remembered: a task that is retried for days stays small ...
MAX_CHAIN = 8
#: ... but executions that workers have, and those of the newest publication, up to this number.
MAX_EXECUTIONS = 1000

#: A client sends task-sent after the task: a delivery so much before it may be of the same publication.
SENT_LATE_SECONDS = 1.0


def is_republished(event: TaskSent | TaskReceived) -> bool:
    """Whether it tells of a retry or of a replacement."""
    return event.parent_id == event.uuid or bool(event.retries)


def trim(head: Attempt) -> None:
    """Take the attempts out of the chain behind ``head`` that are too many."""
    number = here = 1
    last = head
    attempt = head.details.older
    while attempt is not None:
        older = attempt.details.older
        is_here = attempt.worker == head.worker
        here += is_here
        if number < MAX_CHAIN or (
            number < MAX_EXECUTIONS
            and not (is_here and here > MAX_CHAIN)
            and (attempt.open or attempt.reserved or _is_sibling(attempt, head))
        ):
            number += 1
            last = attempt
        else:
            attempt.stop_running()
            last.older = older
        attempt = older


def _is_sibling(attempt: Attempt, head: Attempt) -> bool:
    return (
        attempt.worker is not None
        and attempt.sent == head.sent
        and attempt.details.retries == head.details.retries
    )


def repeats(head: Attempt, field: str, worker: str, timestamp: float) -> bool:
    """Whether any attempt of this worker has seen this very event before."""
    if head.details.older is None:  # nearly always
        return head.worker == worker and head.has_seen(field, timestamp)
    return any(attempt.has_seen(field, timestamp) for attempt in head.chain() if attempt.worker == worker)


def is_published_twice(head: Attempt, event: TaskSent) -> bool:
    """Whether this very task-sent was seen before."""
    return any(
        attempt.has_seen("sent", event.timestamp) and (attempt.received or attempt.name == event.name)
        for attempt in head.chain()
    )


def published(head: Attempt, event: TaskSent) -> Attempt | None:
    """The attempt that a worker told of before its task-sent came, even if it was taken for a redelivery."""
    republished = is_republished(event)
    fitting = [attempt for attempt in head.chain() if attempt.is_of(event.retries, republished=republished)]
    unsent = [
        attempt
        for attempt in fitting
        if not attempt.sent
        and not (republished and attempt.will_retry and attempt.retries is None)  # rather the one before
    ]
    if unsent or not fitting:
        return find_best(unsent, event.name, event.retries)
    last = max(fitting, key=lambda attempt: attempt.received)
    follows = last.received > event.timestamp - SENT_LATE_SECONDS and any(
        other.sent == last.sent and 0 < other.received < last.received for other in fitting
    )
    return last if follows else None


def siblings(head: Attempt, attempt: Attempt) -> list[Attempt]:
    """The other attempts of the same publication that workers told of."""
    return [
        other
        for other in head.chain()
        if other is not attempt
        and _is_sibling(other, attempt)
        and other.is_republished == attempt.is_republished
        and (other.retries is not None or not (other.will_retry or attempt.will_retry))
    ]


def delivered(
    head: Attempt, event: TaskReceived, may_consume: MayConsume = lambda _worker, _queue: True
) -> Attempt | None:
    """The attempt that this worker received: an undelivered one, else one that is delivered again.

    Of several undelivered ones it is the oldest on a queue that the worker may consume. One that another worker has is
    delivered to this one too, if it may consume that queue: else the task-sent of another publication is yet to come.
    """
    republished = is_republished(event)
    mine, unassigned = of_worker(head, event.hostname)
    mine = [attempt for attempt in mine if attempt.is_of(event.retries, republished=republished)]
    late = [
        attempt
        for attempt in mine
        if not attempt.received and (attempt.ended <= 0 or event.timestamp <= attempt.ended)
    ]
    waiting = [attempt for attempt in unassigned if attempt.is_of(event.retries, republished=republished)]
    near = [
        attempt for attempt in waiting if attempt.queue is None or may_consume(event.hostname, attempt.queue)
    ]
    again = [
        attempt
        for attempt in mine
        if attempt.received and attempt.name in (None, event.name) and _may_be_from(attempt, event.queue)
    ]
    again.sort(key=lambda attempt: attempt.open)
    found = (
        find_best(late, event.name, event.retries)
        or find_best((near or waiting)[::-1], event.name, event.retries)
        or find_best(again, event.name, event.retries)
    )
    if found is not None:
        return found
    for attempt in head.chain():
        if (
            attempt.worker not in (None, event.hostname)
            and attempt.is_of(event.retries, republished=republished)
            and (not attempt.received or event.name is None or attempt.name in (None, event.name))
            and (attempt.queue is None or may_consume(event.hostname, attempt.queue))
        ):
            return attempt
    return None


def _may_be_from(attempt: Attempt, queue: str | None) -> bool:
    """Whether the message of this attempt may have come from this queue: an exchange gives each queue its own."""
    return queue is None or not attempt.has_certain_queue or attempt.queue == queue_label(queue)


def undelivered(head: Attempt, event: TaskReceived) -> Attempt | None:
    """The attempt that this worker has by its answer, if this may be its delivery.

    Which publication it is of was not known: an attempt that turns out to be of another one is withdrawn. The events of
    the worker go on from there, even if this is an earlier delivery than the one that the answer told of.
    """
    for attempt in head.chain():
        if (
            attempt.details.answered
            and attempt.worker == event.hostname
            and not (attempt.received or attempt.ended)
            and (attempt.reserved or event.timestamp <= attempt.latest_start)
        ):
            if attempt.is_of(event.retries, republished=is_republished(event)):
                return attempt
            attempt.withdraw()
    return None


def find_best(attempts: list[Attempt], name: str | None, retries: int | None) -> Attempt | None:
    """The first of exactly this name and retry count, else of this name, else of this count, else the first."""
    return max(attempts, key=lambda attempt: (attempt.name == name, attempt.retries == retries), default=None)


def ended_unstarted(head: Attempt, event: TaskStarted) -> Attempt | None:
    """An attempt whose outcome came before this, its task-started."""
    for attempt in head.chain():
        if (
            attempt.worker == event.hostname
            and attempt.ended >= event.timestamp
            and (not attempt.started or attempt.details.unconfirmed)
        ):
            return attempt
    return None


def told_by_answer(head: Attempt, worker: str) -> Attempt | None:
    """The oldest attempt that this worker runs by its answer, unless a delivery to it waits for its start."""
    found = None
    for attempt in head.chain():
        if attempt.worker == worker:
            if attempt.reserved:
                return None
            if attempt.open and attempt.details.unconfirmed:
                found = attempt
    return found


def startable(head: Attempt, worker: str) -> Attempt:
    """The oldest attempt that this worker has reserved, else one that is only published, else its newest.

    If it has none, one of another worker.
    """
    mine, unassigned = of_worker(head, worker)
    reserved = [attempt for attempt in mine if attempt.reserved]
    if reserved:
        return reserved[-1]
    mine = [attempt for attempt in mine if not attempt.is_superseded]
    mine.sort(key=lambda attempt: attempt.open)
    waiting = [attempt for attempt in unassigned if not attempt.ended]
    if waiting or mine:
        return (waiting or mine)[0]
    return elsewhere(head)


def endable(head: Attempt, worker: str, *, final: bool) -> Attempt | None:
    """An attempt that runs on this worker, else one without an outcome.

    A worker may send the task-started of the next attempt before the task-retried of this one (seen with Celery 5.7):
    of several that run on it the oldest was retried, while only the newest can have a final outcome, and none with a
    lower retry count than a settled one.
    """
    mine, unassigned = of_worker(head, worker)
    running = [attempt for attempt in mine if attempt.open]
    if not final:
        pending = [attempt for attempt in mine if attempt.ended <= 0]
        waiting = [attempt for attempt in unassigned if attempt.ended <= 0]
        return next(iter(running[::-1] or pending[::-1] or waiting), None)
    settled = [attempt for attempt in mine if attempt.is_settled]
    if settled:
        last = settled[0]
        running = [
            attempt
            for attempt in running
            if _first_told(attempt) > _first_told(last) or not leads_to(attempt, last, head)
        ]
    pending = [attempt for attempt in mine if not attempt.ended]
    superseded = [attempt for attempt in mine if attempt.is_superseded]
    waiting = [attempt for attempt in unassigned if not attempt.ended]
    return next(iter(running or settled or pending or superseded or waiting), None)


def returnable(head: Attempt, event: WorkerTaskEvent) -> Attempt:
    """The attempt that this worker runs, else the one that it has reserved, else had, else a published one.

    An answer may have told of a start after this event.
    """
    mine, unassigned = of_worker(head, event.hostname)
    mine.sort(
        key=lambda attempt: (
            not attempt.open,
            attempt.unconfirmed and attempt.started > event.timestamp,
            not attempt.reserved,
        )
    )
    return (mine or unassigned or [elsewhere(head)])[0]


def elsewhere(head: Attempt) -> Attempt:
    """The newest attempt that no other task has replaced, whichever worker has it."""
    return next((attempt for attempt in head.chain() if not attempt.is_superseded), head)


def of_worker(head: Attempt, worker: str) -> tuple[list[Attempt], list[Attempt]]:
    """The attempts of this worker, and those of none, newest first by the clock of this worker and of clients."""
    mine, unassigned = [], []
    attempt: Attempt | None = head
    while attempt is not None:
        if attempt.worker is None:
            unassigned.append(attempt)
        elif attempt.worker == worker:
            mine.append(attempt)
        attempt = attempt.details.older
    if len(mine) > 1:
        mine.sort(key=_first_told, reverse=True)
    if len(unassigned) > 1:
        unassigned.sort(key=lambda attempt: attempt.sent, reverse=True)
    return mine, unassigned


def _first_told(attempt: Attempt) -> float:
    return attempt.received or attempt.started or attempt.ended
