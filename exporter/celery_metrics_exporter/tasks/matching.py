"""Finds the attempt that an event belongs to, where a uuid has several.

The rules are functions over a chain of attempts, newest first by arrival. They rely on the order in which each worker
sends its own events, except that task-retried may come after the task-started of the next attempt (seen with
Celery 5.7). Events of different workers and clients may come in any order.
"""

from __future__ import annotations

import math

from celery_metrics_exporter.events.types import TaskReceived, TaskSent
from celery_metrics_exporter.tasks.attempt import Attempt

#: Attempts of one uuid that are remembered: a task that is retried for days stays small.
MAX_CHAIN = 8


def supersede(latest: Attempt, head: Attempt) -> None:
    """After the delivery of ``latest``, end the attempts that another task has replaced."""
    for attempt in head.chain():
        if attempt.name != latest.name and attempt.received:
            if attempt.received < latest.received:
                attempt.supersede()
            elif attempt.received > latest.received:
                latest.supersede()


def trim(head: Attempt) -> None:
    """Cut the chain behind the last attempt that is remembered."""
    last: Attempt | None = head
    for _ in range(MAX_CHAIN - 1):
        if last is None:
            return
        last = last.older
    if last is not None and last.older is not None:
        for forgotten in last.older.chain():
            forgotten.stop_running()
        last.older = None


def repeats(head: Attempt, field: str, timestamp: float) -> bool:
    """Whether this very event was seen before, by any attempt."""
    if head.older is None:  # nearly always
        return head.has_seen(field, timestamp)
    return any(attempt.has_seen(field, timestamp) for attempt in head.chain())


def published(head: Attempt, event: TaskSent) -> Attempt | None:
    """The attempt that a worker told of before its task-sent came, or one that is published again as it was."""
    if head.older is None and not head.sent:
        return head if head.fits(event.name, event.retries) else None
    fitting = [attempt for attempt in head.chain() if attempt.fits(event.name, event.retries)]
    for attempt in fitting:
        if attempt.has_seen("sent", event.timestamp):
            return attempt
    unsent = [attempt for attempt in fitting if not attempt.sent]
    again = [attempt for attempt in fitting if attempt.queue == event.queue]
    return _find_best(unsent, event.retries) or _find_best(again, event.retries)


def delivered(head: Attempt, event: TaskReceived) -> Attempt | None:
    """The attempt of this name and retry count, preferably one that was not delivered yet."""
    if head.older is None and not head.received and not head.ended:  # nearly always
        return head if head.fits(event.name, event.retries) else None
    fitting = [
        attempt
        for attempt in head.chain()
        if attempt.fits(event.name, event.retries) and (attempt.received or attempt.ended <= 0)
    ]
    for attempt in fitting:
        if attempt.has_seen("received", event.timestamp):
            return attempt
    undelivered = [attempt for attempt in fitting if not attempt.received]
    return _find_best(undelivered, event.retries) or _find_best(fitting, event.retries)


def _find_best(attempts: list[Attempt], retries: int | None) -> Attempt | None:
    """The newest attempt of exactly this retry count, else the newest."""
    exact = [attempt for attempt in attempts if attempt.retries == retries]
    return exact[0] if exact else attempts[0] if attempts else None


def startable(head: Attempt, worker: str) -> Attempt:
    """Of several attempts the oldest that this worker has reserved, else the newest that any has, else the newest."""
    reserved = [attempt for attempt in _newest_first(head) if attempt.reserved]
    mine = [attempt for attempt in reserved if attempt.worker == worker]
    return mine[-1] if mine else reserved[0] if reserved else head


def endable(head: Attempt, worker: str, *, final: bool) -> Attempt:
    """Of several attempts one that runs on this worker, else the newest without an outcome, else the newest.

    A worker may send the task-started of the next attempt before the task-retried of this one (seen with Celery 5.7):
    of several that run on it the oldest was retried, while only the newest can have a final outcome, and none that is
    older than a settled one.
    """
    attempts = _newest_first(head)
    if not final:
        running = [attempt for attempt in attempts if attempt.open and attempt.worker == worker]
        pending = [
            attempt for attempt in attempts if attempt.ended <= 0 and not attempt.held_elsewhere(worker)
        ]
        mine = [attempt for attempt in pending if attempt.worker == worker]
        return running[-1] if running else mine[-1] if mine else (pending or [head])[0]
    attempts = [attempt for attempt in attempts if not attempt.is_superseded] or [head]
    settled = [number for number, attempt in enumerate(attempts) if attempt.is_settled]
    if settled:
        attempts = attempts[: settled[0] + 1]
    running = [attempt for attempt in attempts if attempt.open and attempt.worker == worker]
    ended = [attempt for attempt in attempts if attempt.is_settled and attempt.worker == worker]
    pending = [attempt for attempt in attempts if attempt.ended <= 0 and not attempt.held_elsewhere(worker)]
    return (running or ended or pending or attempts)[0]


def _newest_first(head: Attempt) -> list[Attempt]:
    """The chain by retry count, as far as it is known; events of workers may have opened it in another order."""
    return sorted(
        head.chain(),
        key=lambda attempt: math.inf if attempt.retries is None else attempt.retries,
        reverse=True,
    )
