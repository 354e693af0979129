"""The bounded table uuid -> attempts, which joins the events of one task.

It decides which attempt an event belongs to, which events are repetitions, and how long records are kept.

A uuid has one :class:`Attempt` for each time it was published: a retry keeps the uuid and has ``retries`` one higher,
``Task.replace`` keeps it under a new name (``celery/app/task.py``). Of the worker's events only task-received carries
these, so task-started and the outcomes are matched by worker and by the state of the attempts.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from celery_metrics_exporter.clock import BatchClock
from celery_metrics_exporter.events.types import TaskReceived, TaskSent, TaskStarted, WorkerTaskEvent
from celery_metrics_exporter.tasks.attempt import PLAIN, Attempt, parse_eta
from celery_metrics_exporter.tasks.counts import Kind, labelled
from celery_metrics_exporter.tasks.finished import FinishedTasks
from celery_metrics_exporter.tasks.interning import Interner
from celery_metrics_exporter.tasks.matching import (
    delivered,
    endable,
    published,
    repeats,
    startable,
    supersede,
    trim,
)

#: A full table evicts one task in this many at once.
EVICTED_AT_ONCE = 1000
#: An attempt that is this old and does not run is evicted ...
ATTEMPT_TTL_SECONDS = 24 * 3600.0
#: ... by a check at this interval.
CHECK_SECONDS = 60.0
#: Pairs of name and queue, and nodenames, that all attempts share; each attempt keeps what exceeds this.
MAX_INTERNED = 10_000


class Inflight:
    """Finds or opens the attempt of each task event.

    The methods named after events return the attempt that the event belongs to, or None for a repetition: the very
    same event was seen before (uuid, type and timestamp), or its attempt already has an outcome. Celery 5.7 sends two
    task-failed events for a hard time limit (``celery/worker/request.py``, ``on_timeout`` then ``on_failure``), Celery
    up to 5.0 two task-revoked events for a terminated task.

    Most tasks are sent, received, started and ended once, in this order. Each method handles that case first, in as few
    steps as possible; ``matching`` has the rules for all others.
    """

    def __init__(self, now: BatchClock, *, max_tasks: int) -> None:
        self._now = now
        self._max_tasks = max_tasks
        self._heads: dict[str, Attempt] = {}
        self._kinds: Interner[Kind] = Interner(MAX_INTERNED, labelled)
        self._workers: Interner[str] = Interner(MAX_INTERNED)
        self._finished = FinishedTasks()
        self._next_check = now.monotonic
        self.evicted = {"capacity": 0, "expired": 0}
        #: Called with (published name, reported name) where these differ: a ``shadow``.
        self.on_renamed: Callable[[str, str], None] = lambda _published, _reported: None

    def __len__(self) -> int:
        """Tasks in the table, recently ended ones included."""
        return len(self._heads)

    def sent_at(self, uuid: str) -> float | None:
        """Timestamp of the latest task-sent of a task, None if there was none."""
        head = self._heads.get(uuid)
        return next((attempt.sent for attempt in head.chain() if attempt.sent), None) if head else None

    def sent(self, event: TaskSent) -> Attempt | None:
        """The attempt that this task-sent published; it tells the attempt's queue and due time."""
        uuid = event.uuid
        head = self._heads.get(uuid)
        if head is None and event.eta is None and event.parent_id != uuid:
            details = PLAIN.get(event.retries)
            if details is not None:
                if len(self._heads) >= self._max_tasks:
                    self._make_room()
                first = self._heads[uuid] = Attempt(
                    self._now.monotonic,
                    self._kinds[event.name, event.queue],
                    sent=event.timestamp,
                    details=details,
                )
                return first
        attempt = None if head is None else published(head, event)
        if attempt is None:
            attempt = self._open_published(event, head)
        if not attempt.stamp("sent", event.timestamp):
            return None
        self._identify(attempt, event.name, event.queue, event.retries)
        attempt.eta = parse_eta(event.eta) or attempt.eta
        return attempt

    def received(self, event: TaskReceived) -> Attempt | None:
        """The attempt that this task-received delivered, for the first time or again."""
        head = self._heads.get(event.uuid)
        if (
            head is not None
            and not head.received
            and not head.ended
            and head.details is PLAIN.get(event.retries, event)
            and event.eta is None
            and head.kind[0] == event.name
        ):
            head.received = event.timestamp
            head.worker = self._workers[event.hostname]
            head.reserved = True
            return head
        attempt = None if head is None else delivered(head, event)
        if attempt is None:
            attempt = self._open_published(event, head)
        if not attempt.stamp("received", event.timestamp):
            return None
        self._identify(attempt, event.name, None, event.retries)
        attempt.worker = self._workers[event.hostname]
        attempt.reserved = True
        if event.eta is not None:
            attempt.eta = attempt.eta or parse_eta(event.eta)
        if attempt.has_outcome:
            attempt.reopen()
        if head is not None:
            supersede(attempt, self._heads[event.uuid])
        return attempt

    def started(self, event: TaskStarted) -> Attempt | None:
        """The attempt that began to run."""
        head = self._heads.get(event.uuid)
        if (
            head is not None
            and head.reserved
            and not head.started
            and not head.ended
            and head.worker == event.hostname
            and head.details.older is None
        ):
            head.started = event.timestamp
            head.reserved = False
            head.open = 1
            return head
        head = attempt = head or self._open(event.uuid, None)
        if repeats(head, "started", event.timestamp):
            return None
        if head.older is not None:
            attempt = startable(head, event.hostname)
        if attempt.held_elsewhere(event.hostname) or (attempt.will_retry and not attempt.reserved):
            head = attempt = self._open(event.uuid, head, attempt.name)  # its task-received was missed
        attempt.stamp("started", event.timestamp)
        attempt.worker = self._workers[event.hostname]
        attempt.reserved = False
        if not attempt.is_superseded:
            if attempt.has_outcome:
                attempt.reopen()
            attempt.open += 1
        return attempt

    def ended(self, event: WorkerTaskEvent, *, final: bool) -> Attempt | None:
        """The attempt whose outcome this is; ``final`` unless it is a task-retried, after which the uuid goes on."""
        uuid = event.uuid
        head = self._heads.get(uuid)
        if (
            head is not None
            and final
            and head.open == 1
            and not head.ended
            and head.worker == event.hostname
            and head.details.older is None
            and not head.details.past
        ):
            head.ended = event.timestamp
            head.open = 0
            head.reserved = False
            if head.running is not None:
                head.stop_running()
            self._finished.latest.append(uuid)
            return head
        head = attempt = head or self._open(uuid, None)
        if repeats(head, "ended", event.timestamp):
            return None
        if head.older is not None:
            attempt = endable(head, event.hostname, final=final)
        if attempt.held_elsewhere(event.hostname) or (attempt.has_outcome and attempt.will_retry and final):
            head = attempt = self._open(uuid, head, attempt.name)  # all earlier events of it were missed
        elif attempt.has_outcome:
            if final:
                return None
            attempt = head.insert_older()  # a retry that came before the known outcome
            trim(head)
        attempt.stamp("ended", event.timestamp)
        attempt.will_retry = not final
        attempt.release(self._workers[event.hostname])
        attempt.stop_running()
        if final:
            for link in head.chain():
                link.stop_running()
            self._finished.latest.append(uuid)
        return attempt

    def returned(self, event: WorkerTaskEvent, *, final: bool) -> Attempt | None:
        """The attempt whose message its worker returned (rejected, cancelled), which is no outcome.

        Args:
            event: task-rejected may come in addition to a task-failed (``acks_on_failure_or_timeout`` off, and every
                ``Reject`` of Celery 5.7), so each is counted by itself.
            final: the message will not be delivered again.
        """
        head = attempt = self._heads.get(event.uuid) or self._open(event.uuid, None)
        if repeats(head, "returned", event.timestamp):
            return None
        if head.older is not None:
            mine = (link for link in head.chain() if link.worker == event.hostname)
            attempt = next(mine, head)
        attempt.stamp("returned", event.timestamp)
        attempt.release(self._workers[event.hostname])
        attempt.stop_running()
        if final:
            self._finished.latest.append(event.uuid)
        return attempt

    def sweep(self) -> None:
        """Forget tasks that finished a while ago, and evict those that never did."""
        now = self._now.monotonic
        self._expire_finished(now)
        if now >= self._next_check:
            self._next_check = now + CHECK_SECONDS
            self._expire_unfinished(now)

    def _expire_finished(self, now: float) -> None:
        """Forget what finished a while ago, unless it was opened again."""
        for uuid in self._finished.expire(now):
            head = self._heads.get(uuid)
            if head is not None and head.is_over:
                self._forget(uuid)

    def _expire_unfinished(self, now: float) -> None:
        """Evict what is too old; the table is in the order of ``seen``."""
        heads = self._heads
        old = []
        for uuid, head in heads.items():  # in one pass: next(iter(heads)) is slow after many removals
            if now - head.seen < ATTEMPT_TTL_SECONDS:
                break
            old.append((uuid, head))
        for uuid, head in old:
            if head.open:  # still running: check it again after the same time
                head.seen = now
                heads[uuid] = heads.pop(uuid)
            else:
                self._forget(uuid)
                self.evicted["expired"] += 1

    def _open_published(self, event: TaskSent | TaskReceived, head: Attempt | None) -> Attempt:
        """Open an attempt for a publication that none of the known ones is.

        Retries and replacements name their own uuid as parent (``celery/app/task.py``, ``Task.retry`` and
        ``Task.replace``), so that a first publication is known as such, however late its events are.
        """
        is_republished = event.parent_id == event.uuid
        if head is not None and not is_republished and head.oldest().is_republished:
            oldest = head.oldest()
            oldest.older = attempt = Attempt(oldest.seen)
            trim(head)
            return attempt
        attempt = self._open(event.uuid, head)
        attempt.is_republished = is_republished
        return attempt

    def _open(self, uuid: str, head: Attempt | None, name: str | None = None) -> Attempt:
        heads = self._heads
        if head is not None:
            del heads[uuid]  # the table stays in the order of ``seen``
        elif len(heads) >= self._max_tasks:
            self._make_room()
        attempt = heads[uuid] = Attempt(self._now.monotonic, self._kinds[name, None])
        if head is not None:
            attempt.older = head
            trim(attempt)
        return attempt

    def _identify(self, attempt: Attempt, name: str | None, queue: str | None, retries: int | None) -> None:
        """Take over what a publication or delivery tells of itself; of several queues the latest is right."""
        attempt.kind = self._kinds[name if attempt.name is None else attempt.name, queue or attempt.queue]
        if attempt.retries is None:
            attempt.retries = retries

    def _make_room(self) -> None:
        """Evict the oldest tasks, some at once: next(iter(heads)) is slow after many removals."""
        for uuid in list(islice(self._heads, 1 + self._max_tasks // EVICTED_AT_ONCE)):
            self.evicted["capacity"] += not self._heads[uuid].is_over
            self._forget(uuid)

    def _forget(self, uuid: str) -> None:
        attempt: Attempt | None = self._heads.pop(uuid)
        while attempt is not None:
            attempt.stop_running()
            attempt = attempt.details.older
