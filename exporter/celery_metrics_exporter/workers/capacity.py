"""What workers answer about themselves: how many tasks they can run at once, and which queues they consume.

Source of facts: the remote control commands ``stats`` and ``active_queues`` (``celery/worker/control.py``). A worker
that is busy (solo pool) or stopped answers late or never; its last answers stay valid for a while.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from celery_metrics_exporter.facts import Binding, WorkerFacts
from celery_metrics_exporter.labels import has_shared_label, is_shared_label, queue_label

#: Answers are valid this long.
ANSWER_TTL_SECONDS: Final = 600.0
#: Most bindings that are kept of workers that share a name.
MAX_BINDINGS: Final = 10_000


@dataclass(slots=True)
class Capacity:
    """The last answers of one worker; None without a valid one.

    Answers do not tell which of several workers of one name they are from. So the queues of all of them are kept.

    Attributes:
        pool_size: tasks that it can run at once.
        prefetch_limit: messages that it may hold; 0 means no limit.
        queues: labels of the queues that it consumes.
        shown: how many of them, the first ones, ``celery_worker_queue_info`` has room for.
        cut: it consumes more queues than those of ``queues``.
        own_queues: names of those among them that it has for itself, which share a label with those of other workers.
        bindings: of its queues.
        told_twice_at: when two workers of this name last told of their queues.
        differed_at: when their queues last differed.
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
    told_twice_at: float = -math.inf
    differed_at: float = -math.inf
    _told_at: dict[str, float] = field(default_factory=dict)  # by queue

    def told_by_all(self, *, shared: bool) -> bool:
        """Whether every worker of its name, which several may share, has told what it consumes, as far as is known."""
        return self.queues is not None and not self.cut and (not shared or self.told_twice_at > -math.inf)

    def certain_queues(self, *, shared: bool) -> tuple[str, ...] | None:
        """The queues that every worker of its name consumes; None if that is not known, or if they differ."""
        return self.queues if self.told_by_all(shared=shared) and self.differed_at == -math.inf else None

    def apply(self, facts: WorkerFacts, now: float, *, room: int, series: int, shared: bool = False) -> int:
        """Take an answer; what it does not contain stays as it is.

        Args:
            facts: the answer.
            now: monotonic.
            room: most queues that are kept.
            series: most of them that are shown.
            shared: several workers have its name.

        Returns:
            The number of queues that are not shown for lack of room.
        """
        if facts.pool_size is not None or facts.prefetch_limit is not None:
            self.pool_size, self.prefetch_limit, self.stats_at = facts.pool_size, facts.prefetch_limit, now
        if facts.queues is not None:
            own = tuple(name for name in facts.queues if has_shared_label(name))
            told = dict.fromkeys(map(queue_label, facts.queues), now)
            if facts.answered_twice:
                self.told_twice_at = now
            if shared or self.told_twice_at > -math.inf:
                kept = {queue: at for queue, at in self._told_at.items() if _is_valid(at, now)}
                if kept and kept.keys() != told.keys():
                    self.differed_at = now
                told = kept | told
                own = tuple(dict.fromkeys((*self.own_queues, *own)))[:room]
                self.bindings = tuple(dict.fromkeys((*self.bindings, *facts.bindings)))[:MAX_BINDINGS]
            else:
                self.differed_at = -math.inf
                self.bindings = facts.bindings
            queues = tuple(told)
            self.queues, self.queues_at, self.cut = queues[:room], now, len(queues) > room
            self._told_at = {queue: told[queue] for queue in self.queues}
            self.shown = min(len(self.queues), series)
            self.own_queues = own
            return len(queues) - self.shown
        return 0

    def expire(self, now: float) -> None:
        """Forget answers that are too old."""
        if not _is_valid(self.stats_at, now):
            self.pool_size = self.prefetch_limit = None
        if not _is_valid(self.told_twice_at, now):
            self.told_twice_at = -math.inf
        if not _is_valid(self.differed_at, now):
            self.differed_at = -math.inf
        if not _is_valid(self.queues_at, now):
            self.queues, self.shown, self.cut = None, 0, False
            self.own_queues = ()
            self.bindings = ()
            self._told_at = {}

    def only_queue(self, *, shared: bool = False) -> str | None:
        """The queue that it consumes, if it is exactly one; one that it has for itself does not count beside others."""
        queues = self.certain_queues(shared=shared) or ()
        named = [queue for queue in queues if not is_shared_label(queue)] or queues
        return named[0] if len(named) == 1 else None


def _is_valid(at: float, now: float) -> bool:
    return now - at <= ANSWER_TTL_SECONDS


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
