"""Joins the events of one task: which attempt an event belongs to, and which events are repetitions.

A uuid has one :class:`Attempt` for each time it was published, and one more for each further worker that has the same
publication: a retry keeps the uuid and has ``retries`` one higher, ``Task.replace`` keeps it under a new name
(``celery/app/task.py``). Of the worker's events only task-received carries these, so task-started and the outcomes are
matched by worker and by the state of the attempts.
"""

from __future__ import annotations

from collections.abc import Callable

from celery_metrics_exporter.clock import BatchClock
from celery_metrics_exporter.events.types import (
    TaskIdentified,
    TaskReceived,
    TaskSent,
    TaskStarted,
    WorkerTaskEvent,
)
from celery_metrics_exporter.tasks.attempt import PLAIN, Attempt, Details, parse_eta
from celery_metrics_exporter.tasks.finished import MayHold
from celery_metrics_exporter.tasks.matching import (
    MayConsume,
    delivered,
    elsewhere,
    endable,
    ended_unstarted,
    is_published_twice,
    is_republished,
    published,
    repeats,
    returnable,
    siblings,
    startable,
    told_by_answer,
    trim,
    undelivered,
)
from celery_metrics_exporter.tasks.recovering import HeldTasks
from celery_metrics_exporter.tasks.replacing import end_before, supersede, supersede_instead
from celery_metrics_exporter.tasks.table import AttemptTable


class Inflight:
    """Finds or opens the attempt of each task event.

    The methods named after events return the attempt that the event belongs to, or None for a repetition: the very
    same event was seen before (uuid, worker, type and timestamp), or its attempt already has an outcome. Celery 5.7
    sends two task-failed events for a hard time limit (``celery/worker/request.py``, ``on_timeout`` then
    ``on_failure``), Celery up to 5.0 two task-revoked events for a terminated task.

    Most tasks are sent, received, started and ended once, in this order. Each method handles that case first, in as few
    steps as possible; ``matching`` has the rules for all others.
    """

    def __init__(
        self, now: BatchClock, *, max_tasks: int, may_consume: MayConsume = lambda _worker, _queue: True
    ) -> None:
        """Args:
        now: the receipt time of the current batch.
        max_tasks: most tasks that are kept.
        may_consume: tells which of several publications of an id a worker may have received.
        """
        self._now = now
        self._may_consume = may_consume
        self._max_tasks = max_tasks
        self._table = table = AttemptTable(now, max_tasks=max_tasks)
        self._heads = table.heads
        self._kinds = table.kinds
        self._workers = table.workers
        self._finished = table.finished
        #: Takes what workers answer.
        self.held = HeldTasks(table, may_consume)
        #: How many tasks were forgotten before their end, by reason.
        self.evicted = table.evicted
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
                    self._table.make_room()
                first = self._heads[uuid] = Attempt(
                    self._now.monotonic,
                    self._kinds[event.name, event.queue],
                    sent=event.timestamp,
                    details=details,
                )
                return first
        attempt = None
        if head is not None:
            if is_published_twice(head, event):
                return None
            attempt = published(head, event)
        if attempt is None:
            attempt = self._open_published(event, head)
        also = () if attempt.worker is None or attempt.sent else siblings(self._heads[uuid], attempt)
        for one in (attempt, *also):
            one.stamp("sent", event.timestamp)
            self._identify(one, event)
        return attempt

    def siblings(self, uuid: str, attempt: Attempt) -> list[Attempt]:
        """The other attempts of the same publication that workers told of."""
        head = self._heads.get(uuid)
        return [] if head is None else siblings(head, attempt)

    def received(self, event: TaskReceived) -> Attempt | None:
        """The attempt that this task-received delivered, for the first time or again."""
        head = self._heads.get(event.uuid)
        if (
            head is not None
            and head.worker is None
            and not head.ended
            and head.details is PLAIN.get(event.retries, event)
            and event.eta is None
            and head.kind[0] == event.name
            and event.parent_id != event.uuid
            and event.queue is None
            and event.published is None
            and event.trace is None
        ):
            head.received = event.timestamp
            head.worker = self._workers[event.hostname]
            head.reserved = True
            return head
        attempt = None
        if head is None:
            if event.eta is None and event.parent_id != event.uuid and event.retries in PLAIN:
                return self._open_received(event)
        else:
            if repeats(head, "received", event.hostname, event.timestamp):
                return None
            attempt = undelivered(head, event) or delivered(head, event, self._may_consume)
        if attempt is None:
            attempt = self._open_published(event, head)
        is_first = not attempt.received
        if attempt.worker in (None, event.hostname) and event.timestamp <= max(
            attempt.latest_start, attempt.ended
        ):
            attempt.stamp("received", event.timestamp)  # told after what follows it
            self._identify(attempt, event)
            return attempt
        if attempt.open or attempt.worker not in (None, event.hostname):
            attempt = self._table.open_sibling(event.uuid, attempt, event.hostname)
            is_first = False
        attempt.worker = self._workers[event.hostname]
        attempt.stamp("received", event.timestamp)
        self._identify(attempt, event)
        attempt.reserved = True
        if attempt.has_outcome:
            attempt.reopen()
        if head is not None and is_first:
            supersede(attempt, self._heads[event.uuid], may_replace=event.parent_id is not None)
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
            head.open = True
            return head
        head = head or self._table.open(event.uuid, None)
        if repeats(head, "started", event.hostname, event.timestamp):
            return None
        told = ended_unstarted(head, event) or told_by_answer(head, event.hostname)
        if told is not None:
            if told.unconfirmed:
                told.confirm_start(event.timestamp)
            else:
                told.stamp("started", event.timestamp)
            return told
        attempt = startable(head, event.hostname)
        if attempt.will_retry and not attempt.reserved:
            attempt = self._table.open(
                event.uuid, head, attempt.name, event.hostname
            )  # its task-received was missed
        elif attempt.open or attempt.worker not in (None, event.hostname):
            before, attempt = attempt, self._table.open_sibling(event.uuid, attempt, event.hostname)
            if before.worker == event.hostname:
                attempt.received = before.give_received()
        attempt.worker = self._workers[event.hostname]
        attempt.stamp("started", event.timestamp)
        attempt.reserved = False
        if not attempt.is_superseded:
            if attempt.has_outcome:
                attempt.reopen()
            attempt.open = True
        attempt.unconfirmed = False
        return attempt

    def identified(self, event: TaskIdentified) -> None:
        """Note the name and the queue of a task of which no event has told them."""
        head = self._heads.get(event.uuid)
        if head is None:
            head = self._table.open(event.uuid, None, worker=event.hostname)
        name, queue = head.kind
        head.kind = self._kinds[name or event.name, queue or event.queue]

    def ended(self, event: WorkerTaskEvent, *, final: bool) -> Attempt | None:
        """The attempt whose outcome this is; ``final`` unless it is a task-retried, after which the uuid goes on."""
        uuid = event.uuid
        head = self._heads.get(uuid)
        if (
            head is not None
            and final
            and head.open
            and not head.ended
            and head.worker == event.hostname
            and head.details.older is None
            and not head.details.past
        ):
            head.ended = event.timestamp
            head.open = False
            head.reserved = False
            if head.running is not None:
                head.stop_running()
            self._finished.latest.append(uuid)
            return head
        head = head or self._table.open(uuid, None)
        if repeats(head, "ended", event.hostname, event.timestamp):
            return None
        attempt = endable(head, event.hostname, final=final)
        if attempt is None:  # all earlier events of it were missed
            attempt = self._open_ended(uuid, head, event.hostname, final=final)
        elif attempt.has_outcome:
            return None
        elif attempt.is_superseded:
            supersede_instead(attempt, head)
        attempt.stamp("ended", event.timestamp)
        attempt.will_retry = not final
        attempt.release(self._workers[event.hostname])
        if final:
            if head.details.older is not None:
                end_before(attempt, head)
            self._finished.latest.append(uuid)
        return attempt

    def returned(self, event: WorkerTaskEvent, *, final: bool) -> Attempt | None:
        """The attempt whose message its worker returned (rejected, cancelled), which is no outcome.

        Args:
            event: task-rejected may come in addition to a task-failed (``acks_on_failure_or_timeout`` off, and every
                ``Reject`` of Celery 5.7), so each is counted by itself.
            final: the message will not be delivered again.
        """
        head = self._heads.get(event.uuid) or self._table.open(event.uuid, None)
        if repeats(head, "returned", event.hostname, event.timestamp):
            return None
        attempt = returnable(head, event)
        if attempt.worker not in (None, event.hostname):
            attempt = self._table.open_sibling(event.uuid, attempt, event.hostname)
        attempt.stamp("returned", event.timestamp)
        attempt.release(self._workers[event.hostname])
        if final:
            self._finished.latest.append(event.uuid)
        return attempt

    def sweep(self, may_hold: MayHold) -> None:
        """Forget tasks that finished a while ago, and evict those that never did."""
        self._table.sweep(may_hold)

    def _open_received(self, event: TaskReceived) -> Attempt:
        """Open the attempt of a first publication of which nothing was known: nobody sends task-sent events."""
        details = PLAIN[event.retries]
        if event.queue is not None or event.published is not None or event.trace is not None:
            details = Details(
                retries=event.retries,
                has_certain_queue=event.queue is not None,
                published=event.published or 0.0,
                trace=event.trace,
            )
        if len(self._heads) >= self._max_tasks:
            self._table.make_room()
        attempt = self._heads[event.uuid] = Attempt(
            self._now.monotonic,
            self._kinds[event.name, event.queue],
            worker=self._workers[event.hostname],
            received=event.timestamp,
            reserved=True,
            details=details,
        )
        return attempt

    def _open_published(self, event: TaskSent | TaskReceived, head: Attempt | None) -> Attempt:
        """Open an attempt for a publication that none of the known ones is.

        Retries and replacements name their own uuid as parent (``celery/app/task.py``, ``Task.retry`` and
        ``Task.replace``), so that a first publication is known as such, however late its events are.
        """
        republished = is_republished(event)
        if head is not None and not republished and head.oldest().is_republished:
            oldest = head.oldest()
            oldest.older = attempt = Attempt(oldest.seen)
            trim(head)
            return attempt
        attempt = self._table.open(event.uuid, head)
        attempt.is_republished = republished
        return attempt

    def _open_ended(self, uuid: str, head: Attempt, worker: str, *, final: bool) -> Attempt:
        """Open an attempt of which nothing but its outcome came."""
        newest = elsewhere(head)
        if not final:
            attempt = newest.insert_older()
            trim(head)
            return attempt
        if newest.will_retry:
            return self._table.open(uuid, head, newest.name, worker)
        return self._table.open_sibling(uuid, newest, worker)

    def _identify(self, attempt: Attempt, event: TaskSent | TaskReceived) -> None:
        """Take over what a publication or delivery tells of itself; of several queues the latest is right."""
        name, queue = attempt.kind
        if isinstance(event, TaskSent):
            if not attempt.has_certain_queue:
                queue = event.queue or queue
            attempt.eta = parse_eta(event.eta) or attempt.eta
            if name is None or not attempt.received:
                name = event.name or name
            elif event.name not in (None, name):
                self.on_renamed(event.name, name)
        else:
            attempt.eta = attempt.eta or parse_eta(event.eta)
            attempt.published = event.published or attempt.published
            attempt.trace = event.trace or attempt.trace
            if event.queue is not None:
                queue = event.queue
                attempt.has_certain_queue = True
            if event.name not in (None, name):
                if name is not None and attempt.sent:
                    self.on_renamed(name, event.name)
                name = event.name
        attempt.kind = self._kinds[name, queue]
        if attempt.retries is None:
            attempt.retries = event.retries
        attempt.is_republished = attempt.is_republished or is_republished(event)
