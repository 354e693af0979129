"""Decides under which (task, queue) an attempt is counted, and when that can be decided.

Only task-sent tells the queue (``celery/app/amqp.py``). The client sends it after the task itself, so that a worker's
events can overtake it. While task-sent events come, an attempt first seen through a worker's event is counted in counts
of its own for up to :data:`WAIT_SECONDS`, then under the best that is known. When they are known to be off, nothing
waits.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from typing import Final, Protocol

from celery_metrics_exporter.clock import BatchClock
from celery_metrics_exporter.labels import UNKNOWN, SeriesLimit
from celery_metrics_exporter.logs import fields
from celery_metrics_exporter.tasks.attempt import Attempt
from celery_metrics_exporter.tasks.counts import Counts, LabelSets

log = logging.getLogger(__name__)

#: How long an attempt waits for its task-sent.
WAIT_SECONDS: Final = 2.0
#: Attempts that wait at the same time; the oldest makes room for one more.
MAX_WAITING: Final = 100_000
#: Without any task-sent for this long, one attempt that waited in vain shows that they are off.
SENT_SILENCE_SECONDS: Final = 60.0

_SEVERAL: Final = object()


class Consumers(Protocol):
    """What workers, by nodename, are known to consume."""

    def only_queue(self, worker: str | None, /) -> str | None:
        """The queue that a worker consumes, if it is known to consume exactly one."""

    def may_consume(self, worker: str | None, queue: str, /) -> bool:
        """Whether a worker may have a task from this queue: false if it is known not to consume it."""


class Attribution:
    """Gives attempts their counts.

    The counts of an attempt change when its task-sent comes or its wait ends, never while one of its events is handled:
    a handler may keep what these methods return until it returns, not longer.
    """

    def __init__(
        self,
        label_sets: LabelSets,
        now: BatchClock,
        *,
        consumers: Consumers,
        routes: Mapping[str, str | None],
        limit: SeriesLimit,
    ) -> None:
        """Args:
        label_sets: the counts by (task, queue).
        now: for what waits.
        consumers: the queues of workers.
        routes: by the task's name the queue to which its application sends it, None if that cannot be told.
        limit: of the tasks whose queues are remembered.
        """
        self._label_sets = label_sets
        self._now = now
        self._consumers = consumers
        self._routes = routes
        self._limit = limit
        self._queue_of: dict[str, object] = {}  # task name -> its only queue, or _SEVERAL
        #: How many times a queue was taken from the routes.
        self.routed = 0
        self._waiting: deque[tuple[float, Attempt]] = deque()  # (end of the wait, attempt)
        self._last_sent: float | None = None
        self._sent_is_off = False  # not known at first: so the first tasks wait, and are right

    def published(self, attempt: Attempt) -> Counts:
        """The counts of an attempt whose task-sent has come; what waited for it is counted there now."""
        self._last_sent = self._now.monotonic
        self._sent_is_off = False
        name, queue = kind = attempt.kind
        if name is None or queue is None:
            return self._settle(attempt)
        if self._queue_of.get(name) != queue:
            self._learn(name, queue)
        if attempt.counts is None:
            attempt.counts = counts = self._label_sets[kind]
            return counts
        return self._settle(attempt)

    def counts_for_worker_event(self, attempt: Attempt) -> Counts:
        """The counts of an attempt that a worker told of, if it has none or its name may have become known."""
        counts = attempt.counts
        if counts is not None and not counts.labels:  # it waits
            return counts
        if counts is not None or self._sent_is_off:
            return self._settle(attempt)
        if len(self._waiting) >= MAX_WAITING:
            self._settle_oldest()
        attempt.counts = counts = self._label_sets.make_unlabelled()
        self._waiting.append((self._now.monotonic + WAIT_SECONDS, attempt))
        return counts

    def sweep(self) -> None:
        """Settle what has waited long enough."""
        now = self._now.monotonic
        waiting = self._waiting
        while waiting and waiting[0][0] <= now:
            waited_in_vain = self._settle_oldest()
            if waited_in_vain and (self._last_sent is None or now - self._last_sent > SENT_SILENCE_SECONDS):
                self._sent_is_off = True

    def _settle_oldest(self) -> bool:
        """Settle the attempt that has waited longest; False if its task-sent has come before."""
        _, attempt = self._waiting.popleft()
        if attempt.counts is None or attempt.counts.labels:
            return False
        self._settle(attempt)
        return True

    def _settle(self, attempt: Attempt) -> Counts:
        counts = self._label_sets[attempt.name, self._queue(attempt)]
        before, attempt.counts = attempt.counts, counts
        if before is not None and not before.labels:
            counts.merge(before)
        return counts

    def _queue(self, attempt: Attempt) -> str:
        """The queue by the best source that tells it."""
        if attempt.queue is not None:
            return attempt.queue
        only = self._consumers.only_queue(attempt.worker)
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
        """The queue that the application intends for the task, unless its worker is known not to consume that.

        Whoever publishes a task may name another queue, so this is the last source.
        """
        queue = self._routes.get(attempt.name or UNKNOWN)
        if queue is None or not self._consumers.may_consume(attempt.worker, queue):
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
            if len(self._queue_of) < self._limit.maximum:
                self._queue_of[name] = queue
        elif known != queue:
            self._queue_of[name] = _SEVERAL
