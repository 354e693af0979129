"""The bounded table uuid -> attempts, in which the events of one task find each other.

Owns: which attempt an event belongs to, which events are repetitions, and how long records are kept.
Must not know: metrics, labels, brokers.

A uuid has one :class:`Attempt` for each time it was published: a retry goes on under the same uuid with ``retries`` one
higher, ``Task.replace`` under a new name (``celery/app/task.py``). No worker event but task-received carries either, so
task-started and the outcomes are matched by worker and by what their attempt has gone through already.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from celery_metrics_exporter.tasks.attempt import PLAIN, Attempt, parse_eta
from celery_metrics_exporter.tasks.interning import Shared
from celery_metrics_exporter.tasks.matching import (
    delivered,
    endable,
    published,
    repeats,
    startable,
    supersede,
)

if TYPE_CHECKING:
    from celery_metrics_exporter.clock import BatchClock
    from celery_metrics_exporter.events.types import TaskReceived, TaskSent, TaskStarted, WorkerTaskEvent
    from celery_metrics_exporter.tasks.attempt import Kind

#: An attempt more than this many publications old is forgotten: a task that is retried for days stays small.
MAX_CHAIN = 8
#: Of a full table one task in so many leaves at once.
EVICTED_AT_ONCE = 1000
#: Ended tasks are kept this long, for the task-sent, the repeated outcome or the redelivery that may still come.
TOMBSTONE_SECONDS = 60.0
#: ... but not more of them than this.
MAX_TOMBSTONES = 200_000
#: An attempt that does not run this long after it was first seen is given up ...
ATTEMPT_TTL_SECONDS = 24 * 3600.0
#: ... by a look that is taken as often as this.
WALK_SECONDS = 60.0
#: Pairs of name and queue, and nodenames, that are kept once for all attempts; more of them are kept in each.
MAX_SHARED = 10_000


class Inflight:
    """Finds or opens the attempt of each task event.

    The methods named after events return the attempt that the event belongs to, or None if it says nothing new: the
    very same event was seen before (uuid, type and timestamp), or its attempt already has an outcome. Celery 5.7 sends
    two task-failed for a hard time limit (``celery/worker/request.py``, ``on_timeout`` then ``on_failure``), up to 5.0
    a terminated task was revoked twice.

    Most tasks are sent, received, started and ended once, in this order. Each method takes that way first, in as few
    steps as it has, and leaves everything else to the rules.
    """

    def __init__(self, now: BatchClock, *, max_tasks: int) -> None:
        self._now = now
        self._max_tasks = max_tasks
        self._heads: dict[str, Attempt] = {}
        self._kinds: Shared[Kind] = Shared(MAX_SHARED)
        self._workers: Shared[str] = Shared(MAX_SHARED)
        self._ended: list[str] = []  # since the last sweep
        self._tombstones: deque[tuple[float, list[str]]] = deque()  # when to forget which
        self._buried = 0  # how many these are
        self._next_walk = now.monotonic
        self.evicted = {"capacity": 0, "expired": 0}

    def __len__(self) -> int:
        """Tasks in the table, recently ended ones included."""
        return len(self._heads)

    def sent_at(self, uuid: str) -> float | None:
        """Timestamp of the latest task-sent of a task, None if there was none."""
        head = self._heads.get(uuid)
        return next((attempt.sent for attempt in head.chain() if attempt.sent), None) if head else None

    def sent(self, event: TaskSent) -> Attempt | None:
        """The attempt that this task-sent published; its queue and due time are known from now on."""
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
        """The attempt that this task-received delivered, perhaps not for the first time."""
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
        if attempt.held_elsewhere(event.hostname) or (attempt.goes_on and not attempt.reserved):
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
        """The attempt whose outcome this is; ``final`` unless the uuid goes on (task-retried)."""
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
                head.leave()
            self._ended.append(uuid)
            return head
        head = attempt = head or self._open(uuid, None)
        if repeats(head, "ended", event.timestamp):
            return None
        if head.older is not None:
            attempt = endable(head, event.hostname, final=final)
        if attempt.held_elsewhere(event.hostname) or (attempt.has_outcome and attempt.goes_on and final):
            head = attempt = self._open(uuid, head, attempt.name)  # all that came before was missed
        elif attempt.has_outcome:
            if final:
                return None
            attempt = head.insert_older()  # a retry before the outcome that we know
            _trim(head)
        attempt.stamp("ended", event.timestamp)
        attempt.goes_on = not final
        attempt.release(self._workers[event.hostname])
        attempt.leave()
        if final:
            for link in head.chain():
                link.leave()
            self._ended.append(uuid)
        return attempt

    def returned(self, event: WorkerTaskEvent, *, final: bool) -> Attempt | None:
        """The attempt whose message its worker gave up (rejected, cancelled); that says nothing of its outcome.

        Args:
            event: task-rejected comes beside a task-failed too (``acks_on_failure_or_timeout`` off, and every
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
        attempt.leave()
        if final:
            self._ended.append(event.uuid)
        return attempt

    def sweep(self) -> None:
        """Forget what ended a while ago, and what never ended."""
        now = self._now.monotonic
        self._bury(now)
        if now >= self._next_walk:
            self._next_walk = now + WALK_SECONDS
            self._walk(now)

    def _bury(self, now: float) -> None:
        """Keep what ended since the last sweep for a while; then forget it, unless it goes on."""
        graves, heads = self._tombstones, self._heads
        if self._ended:
            graves.append((now + TOMBSTONE_SECONDS, self._ended))
            self._buried += len(self._ended)
            self._ended = []
        while graves and (graves[0][0] <= now or self._buried > MAX_TOMBSTONES):
            due, uuids = graves.popleft()
            surplus = self._buried - MAX_TOMBSTONES
            if due > now and len(uuids) > surplus:
                graves.appendleft((due, uuids[surplus:]))
                uuids = uuids[:surplus]
            self._buried -= len(uuids)
            for uuid in uuids:
                head = heads.get(uuid)
                if head is not None and head.is_over:
                    self._forget(uuid)

    def _walk(self, now: float) -> None:
        """Give up what is too old; the table is in the order of ``seen``."""
        heads = self._heads
        old = []
        for uuid, head in heads.items():  # one walk: finding the first takes the longer the more have left
            if now - head.seen < ATTEMPT_TTL_SECONDS:
                break
            old.append((uuid, head))
        for uuid, head in old:
            if head.open:  # still running: look at it again when it has grown as old once more
                head.seen = now
                heads[uuid] = heads.pop(uuid)
            else:
                self._forget(uuid)
                self.evicted["expired"] += 1

    def _open_published(self, event: TaskSent | TaskReceived, head: Attempt | None) -> Attempt:
        """Open the attempt of a publication that is news.

        Retries and replacements name their own uuid as parent (``celery/app/task.py``, ``Task.retry`` and
        ``Task.replace``), so that a first publication is known as such, however late its events are.
        """
        follows = event.parent_id == event.uuid
        if head is not None and not follows and head.oldest().follows:
            oldest = head.oldest()
            oldest.older = attempt = Attempt(oldest.seen)
            _trim(head)
            return attempt
        attempt = self._open(event.uuid, head)
        attempt.follows = follows
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
            _trim(attempt)
        return attempt

    def _identify(self, attempt: Attempt, name: str | None, queue: str | None, retries: int | None) -> None:
        """Learn what a publication or delivery tells of itself; a queue told later is the right one."""
        attempt.kind = self._kinds[name if attempt.name is None else attempt.name, queue or attempt.queue]
        if attempt.retries is None:
            attempt.retries = retries

    def _make_room(self) -> None:
        """Forget the oldest tasks, a few at a time: finding the first of a dict takes the longer the more have left."""
        for uuid in list(islice(self._heads, 1 + self._max_tasks // EVICTED_AT_ONCE)):
            self.evicted["capacity"] += not self._heads[uuid].is_over
            self._forget(uuid)

    def _forget(self, uuid: str) -> None:
        attempt: Attempt | None = self._heads.pop(uuid)
        while attempt is not None:
            attempt.leave()
            attempt = attempt.details.older


def _trim(head: Attempt) -> None:
    """Cut the chain behind the last attempt that is remembered."""
    last: Attempt | None = head
    for _ in range(MAX_CHAIN - 1):
        if last is None:
            return
        last = last.older
    if last is not None and last.older is not None:
        for forgotten in last.older.chain():
            forgotten.leave()
        last.older = None
