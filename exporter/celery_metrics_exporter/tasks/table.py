"""The bounded table of attempts by uuid: opens them, and decides how long they are kept."""

from __future__ import annotations

from itertools import islice

from celery_metrics_exporter.clock import BatchClock
from celery_metrics_exporter.tasks.attempt import Attempt
from celery_metrics_exporter.tasks.counts import Kind, labelled
from celery_metrics_exporter.tasks.finished import FinishedTasks, MayHold, goes_on, is_awaited
from celery_metrics_exporter.tasks.interning import Interner
from celery_metrics_exporter.tasks.matching import trim

#: A full table evicts one task in this many at once.
EVICTED_AT_ONCE = 1000
#: An attempt that is this old, and is not awaited any more, is evicted ...
ATTEMPT_TTL_SECONDS = 24 * 3600.0
#: ... by a check at this interval.
CHECK_SECONDS = 60.0
#: Pairs of name and queue, and nodenames, that all attempts share; each attempt keeps what exceeds this.
MAX_INTERNED = 10_000


class AttemptTable:
    """The newest attempt of each uuid, in the order of ``seen``; it knows the older ones.

    Attributes:
        heads: the attempts.
        kinds: pairs of name and queue, each kept once.
        workers: nodenames, each kept once.
        finished: the uuids of tasks that ended.
        evicted: how many tasks were forgotten before their end, by reason.
    """

    def __init__(self, now: BatchClock, *, max_tasks: int) -> None:
        self._now = now
        self._max_tasks = max_tasks
        self.heads: dict[str, Attempt] = {}
        self.kinds: Interner[Kind] = Interner(MAX_INTERNED, labelled)
        self.workers: Interner[str] = Interner(MAX_INTERNED)
        self.finished = FinishedTasks()
        self._next_check = now.monotonic
        self.evicted = {"capacity": 0, "expired": 0}

    def open_sibling(self, uuid: str, attempt: Attempt, worker: str) -> Attempt:
        """Open an attempt of the same publication."""
        sibling = attempt.make_sibling(self._now.monotonic, worker)
        return self._put_first(uuid, self.heads[uuid], sibling, worker)

    def open(
        self, uuid: str, head: Attempt | None, name: str | None = None, worker: str | None = None
    ) -> Attempt:
        """Open an attempt as the newest of its uuid; ``head`` is the newest one until now."""
        if head is None:
            self.make_room()
        return self._put_first(uuid, head, Attempt(self._now.monotonic, self.kinds[name, None]), worker)

    def _put_first(self, uuid: str, head: Attempt | None, attempt: Attempt, worker: str | None) -> Attempt:
        """Make this the newest attempt of its uuid."""
        if worker is not None:
            attempt.worker = self.workers[worker]
        if head is not None:
            del self.heads[uuid]  # the table stays in the order of ``seen``
            attempt.older = head
            trim(attempt)
        self.heads[uuid] = attempt
        return attempt

    def make_room(self) -> None:
        """If it is full evict the oldest tasks, some at once: next(iter(heads)) is slow after many removals."""
        if len(self.heads) < self._max_tasks:
            return
        for uuid in list(islice(self.heads, 1 + self._max_tasks // EVICTED_AT_ONCE)):
            self.evicted["capacity"] += not all(attempt.is_over for attempt in self.heads[uuid].chain())
            self._forget(uuid)

    def _forget(self, uuid: str) -> None:
        attempt = self.heads.pop(uuid)
        attempt.stop_running()
        while attempt.details.older is not None:  # unlinked one by one: to free a long chain at once recurses
            newer, attempt = attempt, attempt.details.older
            newer.older = None
            attempt.stop_running()

    def sweep(self, may_hold: MayHold) -> None:
        """Forget tasks that finished a while ago, and evict those that never did."""
        now = self._now.monotonic
        for uuid in self.finished.expire(now):
            head = self.heads.get(uuid)
            if head is not None and goes_on(head, may_hold):
                self.finished.look_again(uuid)  # the worker that has it may be lost by then
            elif head is not None:
                self._forget(uuid)
        if now >= self._next_check:
            self._next_check = now + CHECK_SECONDS
            self._expire_unfinished(now, may_hold)

    def _expire_unfinished(self, now: float, may_hold: MayHold) -> None:
        """Evict what is too old; the table is in the order of ``seen``."""
        heads = self.heads
        old = []
        for uuid, head in heads.items():  # in one pass: next(iter(heads)) is slow after many removals
            if now - head.seen < ATTEMPT_TTL_SECONDS:
                break
            old.append((uuid, head))
        for uuid, head in old:
            if is_awaited(head, self._now.wall, may_hold):  # look again after the same time
                head.seen = now
                heads[uuid] = heads.pop(uuid)
            else:
                self._forget(uuid)
                self.evicted["expired"] += 1
