"""What workers answer about themselves: how many tasks they can run at once, and which queues they consume.

Source of facts: the remote control commands ``stats`` and ``active_queues`` (``celery/worker/control.py``). A worker
that is busy (solo pool) or stopped answers late or never; its last answers stay valid for a while.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from celery_metrics_exporter.facts import WorkerFacts

#: Answers are valid this long.
ANSWER_TTL_SECONDS: Final = 600.0


@dataclass(slots=True)
class Capacity:
    """The last answers of one worker; None without a valid one. A prefetch limit of 0 means no limit.

    ``cut``: it consumes more queues than those of ``queues``.
    """

    pool_size: int | None = None
    prefetch_limit: int | None = None
    queues: tuple[str, ...] | None = None
    cut: bool = False
    stats_at: float = 0.0  # monotonic
    queues_at: float = 0.0

    @property
    def all_queues(self) -> tuple[str, ...] | None:
        """Every queue that it consumes; None where that is not known."""
        return None if self.cut else self.queues

    def apply(self, facts: WorkerFacts, now: float, *, room: int) -> None:
        """Take an answer, with so many queues at most; what it does not contain stays as it is."""
        if facts.pool_size is not None or facts.prefetch_limit is not None:
            self.pool_size, self.prefetch_limit, self.stats_at = facts.pool_size, facts.prefetch_limit, now
        if facts.queues is not None:
            queues = tuple(dict.fromkeys(facts.queues))
            self.queues, self.queues_at, self.cut = queues[:room], now, len(queues) > room

    def expire(self, now: float) -> None:
        """Forget answers that are too old."""
        if now - self.stats_at > ANSWER_TTL_SECONDS:
            self.pool_size = self.prefetch_limit = None
        if now - self.queues_at > ANSWER_TTL_SECONDS:
            self.queues, self.cut = None, False


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
