"""Decides under which (task, queue) an attempt is counted, and when that can be decided.

Only task-sent tells the queue (``celery/app/amqp.py``), and only the worker that has a task knows its name and queue
for certain (see ``naming``). So a task-sent is counted with the first event of a worker, or after
:data:`WAIT_SECONDS`. The client sends it after the task itself, so that a worker's events can overtake it: while
task-sent events come, an attempt first seen through a worker's event is counted in counts of its own for as long, then
under the best that is known. So is what a further worker has of a publication: the task may have been published again
under its id, to another queue. When they are known to be off, nothing waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from celery_metrics_exporter.clock import BatchClock
from celery_metrics_exporter.labels import SeriesLimit
from celery_metrics_exporter.tasks.attempt import Attempt
from celery_metrics_exporter.tasks.counts import Counts, Kind, LabelSets
from celery_metrics_exporter.tasks.naming import Naming

#: How long a task-sent waits for a worker's event, and an attempt for its task-sent.
WAIT_SECONDS: Final = 2.0
#: Attempts that wait at the same time; the oldest make room for one more.
MAX_WAITING: Final = 100_000
#: Without any task-sent for this long, one attempt that waited in vain shows that they are off.
SENT_SILENCE_SECONDS: Final = 60.0


class Attribution:
    """Gives attempts their counts.

    The counts of an attempt change when its task-sent comes, its wait ends, or a worker tells of it, never while one of
    its events is handled: a handler may keep what these methods return until it returns, not longer.
    """

    def __init__(
        self,
        label_sets: LabelSets,
        now: BatchClock,
        naming: Naming,
        *,
        sent: int,
        limit: SeriesLimit,
    ) -> None:
        """Args:
        label_sets: the counts by (task, queue).
        now: for what waits.
        naming: finds the task and the queue of an attempt.
        sent: the place of the number of task-sent events in counts.
        limit: of the kinds whose counts are remembered.
        """
        self._label_sets = label_sets
        self._now = now
        self._naming = naming
        self._sent = sent
        self._one_sent = label_sets.make_one_sent(sent)
        self._limit = limit
        self._final: dict[Kind, Counts] = {}  # of kinds that are counted as they are, whatever workers tell
        self._new: list[Attempt] = []  # wait since the sweep before
        self._new_since = 0.0
        self._waiting: deque[tuple[float, list[Attempt]]] = deque()  # (end of the wait, attempts)
        self._room = MAX_WAITING  # for new ones
        self._last_sent: float | None = None
        self._sent_is_off = False  # not known at first: so the first tasks wait, and are right

    def expect_no_sent(self) -> None:
        """Take note that no task-sent will come, so that nothing waits for one."""
        self._sent_is_off = True

    def published(self, attempt: Attempt) -> Counts | None:
        """Count the task-sent of an attempt, at once or later.

        Returns:
            The counts of the attempt; None if the task-sent is the first that is known of it, and waits.
        """
        counts = attempt.counts
        if counts is None:
            attempt.counts = self._one_sent
            new = self._new
            if new and len(new) < self._room:  # nearly always
                new.append(attempt)
            else:
                self._sent_is_off = False
                self._wait(attempt)
            return None
        self._last_sent = self._now.monotonic
        self._sent_is_off = False
        if counts is self._one_sent:  # published again before a worker told of it
            counts = attempt.counts = self._label_sets.make_unlabelled()
            counts.totals[self._sent] = 1
        elif counts.labels or attempt.worker is not None:
            counts = self._settle(attempt)
        counts.totals[self._sent] += 1
        return counts

    def published_by_exchange(self, attempt: Attempt) -> None:
        """Take note that the client published to an exchange, so that a worker knows the queue better."""
        self._naming.note_exchange(attempt.kind)
        self._final.pop(attempt.kind, None)

    def renamed(self, published: str, reported: str) -> None:
        """Take note that workers report a task that was published under one name under another one, its ``shadow``."""
        if self._naming.note_shadow(published, reported):
            self._final = {kind: counts for kind, counts in self._final.items() if kind[0] != published}

    def counts_for_worker_event(self, attempt: Attempt) -> Counts:
        """The counts of an attempt that a worker told of; its name and queue are taken as they are known now."""
        counts = attempt.counts
        if counts is self._one_sent:
            found = self._final.get(attempt.kind)
            if found is not None:  # nearly always
                attempt.counts = found
                found.totals[self._sent] += 1
                return found
        elif not attempt.details.has_certain_queue:
            if counts is None and not self._sent_is_off:
                attempt.counts = counts = self._label_sets.make_unlabelled()
                self._wait(attempt)
                return counts
            if counts is not None and not counts.labels and not counts.totals[self._sent]:  # it waits
                return counts
        return self._settle(attempt)

    def told_by_answer(self, attempt: Attempt) -> Counts:
        """The counts of an attempt of which an answer told; it tells the queue, so nothing is waited for."""
        return self._settle(attempt)

    def _wait(self, attempt: Attempt) -> None:
        if len(self._new) >= self._room:
            self._make_room()
        if not self._new:
            self._new_since = self._now.monotonic
        self._new.append(attempt)

    def _make_room(self) -> None:
        """Settle the oldest of those that wait, a batch of them."""
        if self._waiting:
            _, oldest = self._waiting.popleft()
            self._room += len(oldest)
        else:
            oldest, self._new = self._new, []
        self._settle_all(oldest)

    def sweep(self) -> None:
        """Settle what has waited long enough."""
        now = self._now.monotonic
        waiting = self._waiting
        if self._new:
            if any(attempt.sent for attempt in self._new):
                self._last_sent = self._new_since
            waiting.append((self._new_since + WAIT_SECONDS, self._new))
            self._room -= len(self._new)
            self._new = []
        while waiting and waiting[0][0] <= now:
            _, attempts = waiting.popleft()
            self._room += len(attempts)
            waited_in_vain = self._settle_all(attempts)
            if waited_in_vain and (self._last_sent is None or now - self._last_sent > SENT_SILENCE_SECONDS):
                self._sent_is_off = True

    def _settle_all(self, attempts: Iterable[Attempt]) -> bool:
        """Settle those of them that still wait; whether the task-sent of one has not come."""
        in_vain = False
        for attempt in attempts:
            counts = attempt.counts
            if counts is not None and not counts.labels:
                in_vain |= not attempt.sent
                self._settle(attempt)
        return in_vain

    def _settle(self, attempt: Attempt) -> Counts:
        before, kind = attempt.counts, attempt.kind
        counts = self._final.get(kind)
        if counts is None:
            counts = self._label_sets[self._naming.find(attempt)]
            if self._naming.is_final(kind) and len(self._final) < self._limit.maximum:
                self._final[kind] = counts
        attempt.counts = counts
        if before is self._one_sent:
            counts.totals[self._sent] += 1
        elif before is not None and not before.labels:
            counts.merge(before)
        return counts
