"""What workers answer about themselves: how many tasks they can run at once, and which queues they consume.

Source of facts: the remote control commands ``stats`` and ``active_queues`` (``celery/worker/control.py``). A worker
that is busy (solo pool) or stopped answers late or never; its last answers stay valid for a while.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from celery_metrics_exporter.facts import Binding, WorkerFacts
from celery_metrics_exporter.labels import has_shared_label, is_shared_label, queue_label

#: Answers are valid this long.
ANSWER_TTL_SECONDS: Final = 600.0


@dataclass(slots=True)
class Capacity:
    """The last answers of one worker; None without a valid one.

    Attributes:
        pool_size: tasks that it can run at once.
        prefetch_limit: messages that it may hold; 0 means no limit.
        queues: labels of the queues that it consumes.
        shown: how many of them, the first ones, ``celery_worker_queue_info`` has room for.
        cut: it consumes more queues than those of ``queues``.
        own_queues: names of those among them that it has for itself, which share a label with those of other workers.
        bindings: of its queues.
    """

    pool_size: int | None = None
    prefetch_limit: int | None = None
    queues: tuple[str, ...] | None = None
    shown: int = 0
    cut: bool = False
    own_queues: tuple[str, ...] = ()
    bindings: tuple[Binding, ...] = ()
    stats_at: float = 0.0  # monotonic
    queues_at: float = 0.0

    @property
    def all_queues(self) -> tuple[str, ...] | None:
        """Every queue that it consumes; None where that is not known."""
        return None if self.cut else self.queues

    def apply(self, facts: WorkerFacts, now: float, *, room: int, series: int) -> int:
        """Take an answer; what it does not contain stays as it is.

        Args:
            facts: the answer.
            now: monotonic.
            room: most queues that are kept.
            series: most of them that are shown.

        Returns:
            The number of queues that are not shown for lack of room.
        """
        if facts.pool_size is not None or facts.prefetch_limit is not None:
            self.pool_size, self.prefetch_limit, self.stats_at = facts.pool_size, facts.prefetch_limit, now
        if facts.queues is not None:
            queues = tuple(dict.fromkeys(map(queue_label, facts.queues)))
            self.queues, self.queues_at, self.cut = queues[:room], now, len(queues) > room
            self.shown = min(len(self.queues), series)
            self.bindings = facts.bindings
            self.own_queues = tuple(name for name in facts.queues if has_shared_label(name))
            return len(queues) - self.shown
        return 0

    def expire(self, now: float) -> None:
        """Forget answers that are too old."""
        if now - self.stats_at > ANSWER_TTL_SECONDS:
            self.pool_size = self.prefetch_limit = None
        if now - self.queues_at > ANSWER_TTL_SECONDS:
            self.queues, self.shown, self.cut = None, 0, False
            self.own_queues = ()
            self.bindings = ()

    @property
    def only_queue(self) -> str | None:
        """The queue that it consumes, if it is exactly one; one that it has for itself does not count beside others."""
        queues = self.all_queues or ()
        named = [queue for queue in queues if not is_shared_label(queue)] or queues
        return named[0] if len(named) == 1 else None


@dataclass(frozen=True, slots=True)
class Consumption:
    """Who consumes a queue: number of workers, and of tasks that they can run at once (None if one did not tell)."""

    workers: int = 0
    pool_size: int | None = 0

    def add(self, pool_size: int | None) -> Consumption:
        """The same with one more worker."""
        known = self.pool_size is not None and pool_size is not None
        return Consumption(self.workers + 1, (self.pool_size or 0) + (pool_size or 0) if known else None)


def consumption(capacities: Iterable[Capacity]) -> dict[str, Consumption]:
    """Sum the workers by queue; one that consumes several is counted fully in each."""
    found: dict[str, Consumption] = {}
    for capacity in capacities:
        for queue in capacity.queues or ():
            found[queue] = found.get(queue, Consumption()).add(capacity.pool_size)
    return found
