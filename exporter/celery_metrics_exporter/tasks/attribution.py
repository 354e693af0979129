"""Decides under which (task, queue) an attempt is counted, and when that may be decided.

Owns: the wait for a late task-sent, what is known of the queues that a task uses, and the fallbacks.
Must not know: metrics, brokers. It is given a function that finds the ledger of a (task, queue).

The queue stands on task-sent only (``celery/app/amqp.py``). The client publishes that after the task itself, so that a
worker's events can overtake it. While task-sent events come, an attempt first met through a worker holds its entries up
to :data:`WAIT_SECONDS`; when they are known to be off, nothing waits.
"""

from __future__ import annotations

import logging
from collections import deque
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from celery_metrics_exporter.labels import UNKNOWN
from celery_metrics_exporter.logs import fields
from celery_metrics_exporter.tasks.ledger import HeldLedger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celery_metrics_exporter.clock import BatchClock
    from celery_metrics_exporter.tasks.attempt import Attempt, Kind
    from celery_metrics_exporter.tasks.ledger import Ledger

log = logging.getLogger(__name__)

#: How long an attempt's entries wait for its task-sent.
WAIT_SECONDS: Final = 2.0
#: Attempts that wait at the same time; beyond, the first of them waits no longer.
MAX_WAITING: Final = 100_000
#: Without any task-sent for this long, one vain wait shows that they are off.
SENT_SILENCE_SECONDS: Final = 60.0

_SEVERAL: Final = object()


class Attribution:
    """Gives attempts their ledgers."""

    def __init__(
        self,
        find_ledger: Callable[[Kind], Ledger],
        now: BatchClock,
        *,
        only_queue: Callable[[str | None], str | None],
        max_tasks: int,
    ) -> None:
        """Args:
        find_ledger: gives the ledger of a (task, queue), either of which may be unknown.
        now: for what waits.
        only_queue: gives the queue that a worker (its nodename) consumes, if it is known to consume just one.
        max_tasks: names of tasks whose queues are remembered.
        """
        self._find_ledger = find_ledger
        self._only_queue = only_queue
        self._now = now
        self._max_tasks = max_tasks
        self._queue_of: dict[str, object] = {}  # task name -> its only queue, or _SEVERAL
        self._routes: Mapping[str, str] = MappingProxyType({})
        self._may_consume: Callable[[str | None, str], bool] = lambda _worker, _queue: True
        #: How many times a queue was taken from the routes.
        self.routed = 0
        self._waiting: deque[tuple[float, Attempt]] = deque()
        self._last_sent: float | None = None
        self._sent_is_off = False  # not known at first: so the first tasks wait, and are right

    def expect(self, routes: Mapping[str, str], may_consume: Callable[[str | None, str], bool]) -> None:
        """Take the queue of a task from here when nothing better tells it.

        A route is what an application intends: whoever publishes a task may name another queue. So it is the last
        source, it is silent about a task that was seen to use any queue, and a worker that does not consume its queue
        (``may_consume``) contradicts it.
        """
        self._routes = routes
        self._may_consume = may_consume

    def published(self, attempt: Attempt) -> Ledger:
        """The ledger of an attempt whose task-sent has come; entries made elsewhere so far are moved or made."""
        self._last_sent = self._now.monotonic
        self._sent_is_off = False
        name, queue = kind = attempt.kind
        if name is None or queue is None:
            return self._settle(attempt)
        if self._queue_of.get(name) != queue:
            self._learn(name, queue)
        if attempt.ledger is None:
            attempt.ledger = ledger = self._find_ledger(kind)
            return ledger
        return self._settle(attempt)

    def met(self, attempt: Attempt) -> Ledger:
        """The ledger of an attempt met through a worker's event, when it has none or its name may be news."""
        if isinstance(attempt.ledger, HeldLedger):
            return attempt.ledger
        if attempt.sent or attempt.ledger is not None or self._sent_is_off:
            return self._settle(attempt)
        attempt.ledger = ledger = HeldLedger(partial(self._settle, attempt))
        self._waiting.append((self._now.monotonic + WAIT_SECONDS, attempt))
        if len(self._waiting) > MAX_WAITING:
            self._settle_next()
        return ledger

    def sweep(self) -> None:
        """Settle what has waited long enough."""
        now = self._now.monotonic
        waiting = self._waiting
        while waiting and waiting[0][0] <= now:
            waited_in_vain = self._settle_next()
            if waited_in_vain and (self._last_sent is None or now - self._last_sent > SENT_SILENCE_SECONDS):
                self._sent_is_off = True

    def _settle_next(self) -> bool:
        """Settle the attempt that has waited longest, unless that is done; whether it was not."""
        _, attempt = self._waiting.popleft()
        if not isinstance(attempt.ledger, HeldLedger):
            return False
        self._settle(attempt)
        return True

    def _settle(self, attempt: Attempt) -> Ledger:
        ledger = self._find_ledger((attempt.name, self._queue(attempt)))
        before, attempt.ledger = attempt.ledger, ledger
        if isinstance(before, HeldLedger):
            before.replay(ledger)
        return ledger

    def _queue(self, attempt: Attempt) -> str:
        if attempt.queue is not None:
            return attempt.queue
        only = self._only_queue(attempt.worker)
        if only is not None:
            return only
        for older in attempt.chain():
            if older.queue is not None and older.name == attempt.name:
                return older.queue
        usual = self._queue_of.get(attempt.name or UNKNOWN)
        if usual is not None:
            return usual if isinstance(usual, str) else UNKNOWN
        return self._route(attempt)

    def _route(self, attempt: Attempt) -> str:
        queue = self._routes.get(attempt.name or UNKNOWN)
        if queue is None or not self._may_consume(attempt.worker, queue):
            return UNKNOWN
        if not self.routed:
            log.info(
                "queues are taken from the application's routes, because no task-sent tells them",
                extra=fields(task=attempt.name, queue=queue),
            )
        self.routed += 1
        return queue

    def _learn(self, name: str, queue: str) -> None:
        known = self._queue_of.get(name)
        if known is None:
            if len(self._queue_of) < self._max_tasks:
                self._queue_of[name] = queue
        elif known != queue:
            self._queue_of[name] = _SEVERAL
