"""Which attempt of a uuid an event belongs to, where there are several.

Owns: the rules, as functions over a chain of attempts (newest first by arrival). Must not know: the table, metrics.

What the rules rest on: a worker tells of its own doings in order, save that a retry may be told after the next attempt
has started (seen with Celery 5.7); between workers and clients any order may come.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from celery_metrics_exporter.events.types import TaskReceived, TaskSent
    from celery_metrics_exporter.tasks.attempt import Attempt


def supersede(latest: Attempt, head: Attempt) -> None:
    """After the delivery of ``latest``, close the attempts in whose place another task runs."""
    for attempt in head.chain():
        if attempt.name != latest.name and attempt.received:
            if attempt.received < latest.received:
                attempt.supersede()
            elif attempt.received > latest.received:
                latest.supersede()


def repeats(head: Attempt, field: str, timestamp: float) -> bool:
    """Whether this very event was seen before, by any attempt."""
    if head.older is None:  # nearly always
        return head.noted(field, timestamp)
    return any(attempt.noted(field, timestamp) for attempt in head.chain())


def published(head: Attempt, event: TaskSent) -> Attempt | None:
    """The attempt that met a worker before its task-sent came, or one that is published again as it was."""
    if head.older is None and not head.sent:
        return head if head.fits(event.name, event.retries) else None
    fitting = [attempt for attempt in head.chain() if attempt.fits(event.name, event.retries)]
    for attempt in fitting:
        if attempt.noted("sent", event.timestamp):
            return attempt
    unsent = [attempt for attempt in fitting if not attempt.sent]
    again = [attempt for attempt in fitting if attempt.queue == event.queue]
    return _surest(unsent, event.retries) or _surest(again, event.retries)


def delivered(head: Attempt, event: TaskReceived) -> Attempt | None:
    """The attempt of this name and retry count, before all one that no worker has met yet."""
    if head.older is None and not head.received and not head.ended:  # nearly always
        return head if head.fits(event.name, event.retries) else None
    fitting = [
        attempt
        for attempt in head.chain()
        if attempt.fits(event.name, event.retries) and (attempt.received or attempt.ended <= 0)
    ]
    for attempt in fitting:
        if attempt.noted("received", event.timestamp):
            return attempt
    unmet = [attempt for attempt in fitting if not attempt.received]
    return _surest(unmet, event.retries) or _surest(fitting, event.retries)


def _surest(attempts: list[Attempt], retries: int | None) -> Attempt | None:
    """The newest one of just this retry count, else the newest."""
    exact = [attempt for attempt in attempts if attempt.retries == retries]
    return exact[0] if exact else attempts[0] if attempts else None


def startable(head: Attempt, worker: str) -> Attempt:
    """Of several attempts the oldest that this worker holds, else the newest that any holds, else the newest."""
    held = [attempt for attempt in _newest_first(head) if attempt.reserved]
    mine = [attempt for attempt in held if attempt.worker == worker]
    return mine[-1] if mine else held[0] if held else head


def endable(head: Attempt, worker: str, *, final: bool) -> Attempt:
    """Of several attempts one that runs on this worker, else the newest without an outcome, else the newest.

    A worker may tell that the next attempt started before it tells of the retry (seen with Celery 5.7): of several that
    run here the oldest was retried, while only the newest can come to a final outcome, and none before a settled one.
    """
    attempts = _newest_first(head)
    if not final:
        running = [attempt for attempt in attempts if attempt.open and attempt.worker == worker]
        pending = [
            attempt for attempt in attempts if attempt.ended <= 0 and not attempt.held_elsewhere(worker)
        ]
        met = [attempt for attempt in pending if attempt.worker == worker]
        return running[-1] if running else met[-1] if met else (pending or [head])[0]
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
