"""What workers answer about themselves: how much they can do at once, and which queues they consume.

Owns: the answers of a worker, how long they are believed, and their sum by queue. Must not know: metrics, brokers.

Source of facts: the remote control commands ``stats`` and ``active_queues`` (``celery/worker/control.py``). A worker
that is busy (solo pool) or stopped answers late or never; its last answers stand for a while.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from celery_metrics_exporter.facts import WorkerFacts

#: Answers are believed this long.
BELIEVED_SECONDS: Final = 600.0


@dataclass(slots=True)
class Capacity:
    """The last answers of one worker; None: not told, or too long ago. A prefetch limit of 0 is none."""

    pool_size: int | None = None
    prefetch_limit: int | None = None
    queues: tuple[str, ...] | None = None
    told_stats: float = 0.0  # monotonic
    told_queues: float = 0.0

    def tell(self, facts: WorkerFacts, now: float) -> None:
        """Take an answer; what it does not speak of stays."""
        if facts.pool_size is not None or facts.prefetch_limit is not None:
            self.pool_size, self.prefetch_limit, self.told_stats = facts.pool_size, facts.prefetch_limit, now
        if facts.queues is not None:
            self.queues, self.told_queues = tuple(dict.fromkeys(facts.queues)), now

    def expire(self, now: float) -> None:
        """Forget what was told too long ago."""
        if now - self.told_stats > BELIEVED_SECONDS:
            self.pool_size = self.prefetch_limit = None
        if now - self.told_queues > BELIEVED_SECONDS:
            self.queues = None


@dataclass(frozen=True, slots=True)
class Consumption:
    """Who consumes a queue: the number of workers and of tasks that they can run at once, None if one did not tell."""

    workers: int = 0
    pool_size: int | None = 0

    def add(self, pool_size: int | None) -> Consumption:
        """With one more worker."""
        known = self.pool_size is not None and pool_size is not None
        return Consumption(self.workers + 1, (self.pool_size or 0) + (pool_size or 0) if known else None)


def consumption(capacities: Iterable[Capacity]) -> dict[str, Consumption]:
    """Sum the workers by queue; one that consumes several counts fully in each."""
    found: dict[str, Consumption] = {}
    for capacity in capacities:
        for queue in capacity.queues or ():
            found[queue] = found.get(queue, Consumption()).add(capacity.pool_size)
    return found
