"""How long tasks are remembered: finished ones for their late events, others while they may go on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from celery_metrics_exporter.tasks.attempt import Attempt

#: Whether a worker may still have what it received at this time (epoch seconds by its clock) and did not start.
MayHold: TypeAlias = Callable[[str, float], bool]

#: A task that nobody has may wait in its queue for this long after it was due.
WAITING_TTL_SECONDS = 7 * 24 * 3600.0
#: Finished tasks are kept this long, for the task-sent, the repeated outcome or the redelivery that may still come ...
FINISHED_TTL_SECONDS = 60.0
#: ... but at most this many of them.
MAX_FINISHED = 200_000


class FinishedTasks:
    """The uuids of finished tasks, oldest first.

    Attributes:
        latest: those since the last call of :meth:`expire`; whoever sees a task finish appends it.
    """

    def __init__(self) -> None:
        self.latest: list[str] = []
        self._batches: deque[tuple[float, list[str]]] = deque()  # (monotonic expiry, uuids), one per call
        self._number = 0  # uuids in them

    def look_again(self, uuid: str) -> None:
        """Keep a uuid that expired for as long again, as far as there is room."""
        if self._number + len(self.latest) < MAX_FINISHED // 2:
            self.latest.append(uuid)

    def expire(self, now: float) -> list[str]:
        """Remove and return the uuids that were kept long enough, or that are too many."""
        batches = self._batches
        if self.latest:
            batches.append((now + FINISHED_TTL_SECONDS, self.latest))
            self._number += len(self.latest)
            self.latest = []
        expired: list[str] = []
        while batches and (batches[0][0] <= now or self._number > MAX_FINISHED):
            expiry, uuids = batches.popleft()
            surplus = self._number - MAX_FINISHED
            if expiry > now and len(uuids) > surplus:
                batches.appendleft((expiry, uuids[surplus:]))
                uuids = uuids[:surplus]
            self._number -= len(uuids)
            expired += uuids
        return expired


def goes_on(head: Attempt, may_hold: MayHold) -> bool:
    """Whether a task with an outcome runs elsewhere, or will run again."""
    return any(
        attempt.open or _is_held(attempt, may_hold) or (attempt.worker is None and not attempt.ended)
        for attempt in head.chain()
    )


def is_awaited(head: Attempt, now: float, may_hold: MayHold) -> bool:
    """Whether a task without an outcome runs, is held by a worker, waits for its eta, or may wait in its queue.

    ``now`` is in epoch seconds.
    """
    return any(
        attempt.open
        or _is_held(attempt, may_hold)
        or (_may_start(attempt) and now < max(attempt.due, _held_since(attempt)) + WAITING_TTL_SECONDS)
        for attempt in head.chain()
    )


def _is_held(attempt: Attempt, may_hold: MayHold) -> bool:
    return attempt.reserved and not attempt.ended and may_hold(attempt.worker or "", _held_since(attempt))


def _held_since(attempt: Attempt) -> float:
    """When its worker had it for certain: at its delivery, or when an answer told so."""
    return attempt.received or attempt.answered


def _may_start(attempt: Attempt) -> bool:
    """Whether it has not started yet, or its message was returned to the queue."""
    return not attempt.ended and bool(attempt.reserved or attempt.returned or not attempt.started)
