"""Takes what workers answer about the tasks that they hold and run into the table of attempts.

An answer is state, not an event: it opens attempts and counts nothing, and adds only what events have not told. Events
and answers reach us by different ways, so an answer may be older than events that came before it. Whoever asks knows
which events came since (see ``workers.recovery``): for their tasks the answer tells a name and a queue at most.

Source of the facts: ``celery/worker/control.py`` (``scheduled``, ``reserved``, ``active``) and
``celery/worker/request.py`` (``Request.info``; ``on_accepted`` sets ``time_start`` just before it sends task-started).
"""

from __future__ import annotations

from collections.abc import Callable

from celery_metrics_exporter.facts import HeldTask
from celery_metrics_exporter.tasks.attempt import PLAIN, UNCERTAIN_SECONDS, Attempt, Details, parse_eta
from celery_metrics_exporter.tasks.counts import Kind
from celery_metrics_exporter.tasks.matching import MayConsume, elsewhere, find_best, of_worker, startable
from celery_metrics_exporter.tasks.table import AttemptTable


class HeldTasks:
    """Opens the attempts that answers tell of."""

    def __init__(self, table: AttemptTable, may_consume: MayConsume) -> None:
        self._table = table
        self._may_consume = may_consume
        self._details = Details()
        #: As of ``Inflight``.
        self.on_renamed: Callable[[str, str], None] = lambda _published, _reported: None

    def begin(self, at: float) -> None:
        """Take an answer of this time, by the worker's clock; what it opens shares its details."""
        self._details = Details(answered=at)

    def chain(self, uuid: str) -> tuple[Attempt, ...]:
        """The attempts of a task, newest first."""
        head = self._table.heads.get(uuid)
        return () if head is None else tuple(head.chain())

    def take(self, task: HeldTask, kind: Kind, worker: str, *, is_outdated: bool) -> Attempt | None:
        """Take an entry of an answer.

        Args:
            task: the entry.
            kind: its name and the queue that follows from it.
            worker: who has it.
            is_outdated: an event of it came since the question was sent.

        Returns:
            The attempt of which the entry told something new; None if there is none.
        """
        head = self._table.heads.get(task.uuid)
        mine, unassigned = ([], []) if head is None else of_worker(head, worker)
        if is_outdated:
            return self._identify(mine[0], kind) if len(mine) == 1 else None
        known = [each for each in mine if _is_known(each, task)]
        if known:
            return self._identify(known[0], kind)
        if head is None:
            attempt = self._table.open(task.uuid, None, kind[0], worker)
        elif task.started is not None:
            attempt = self._running(task.uuid, head, worker, task.started)
        else:
            attempt = self._waiting(task.uuid, head, worker, mine, unassigned, kind[0])
        self._set_state(attempt, worker, task)
        self._identify(attempt, kind)
        return attempt

    def _running(self, uuid: str, head: Attempt, worker: str, started: float) -> Attempt:
        """The attempt that began to run, as for a task-started (``Inflight.started``)."""
        attempt = startable(head, worker)
        if attempt.worker not in (None, worker):
            return self._table.open_sibling(uuid, attempt, worker)
        is_later = attempt.reserved and attempt.received > started + UNCERTAIN_SECONDS
        if is_later or attempt.open or attempt.is_superseded or (attempt.ended and not attempt.reserved):
            return self._table.open(uuid, head, attempt.name, worker)
        return attempt

    def _waiting(
        self,
        uuid: str,
        head: Attempt,
        worker: str,
        mine: list[Attempt],
        unassigned: list[Attempt],
        name: str | None,
    ) -> Attempt:
        """The attempt that was delivered, as for a task-received."""
        published = [each for each in unassigned if not each.ended]
        near = [each for each in published if each.queue is None or self._may_consume(worker, each.queue)]
        returned = [each for each in mine if not (each.open or each.ended)]
        found = find_best((near or published)[::-1], name, None) or next(iter(returned), None)
        if found is not None:
            return found
        if mine:
            return self._table.open(uuid, head, mine[0].name, worker)
        return self._table.open_sibling(uuid, elsewhere(head), worker)

    def _set_state(self, attempt: Attempt, worker: str, task: HeldTask) -> None:
        attempt.worker = self._table.workers[worker]
        if attempt.details is PLAIN[None]:
            attempt.details = self._details
        else:
            attempt.answered = self._details.answered
        attempt.eta = attempt.eta or parse_eta(task.eta)
        attempt.reserved = task.started is None
        if task.started is not None:
            attempt.stamp("started", task.started)
            attempt.open = attempt.unconfirmed = True

    def _identify(self, attempt: Attempt, kind: Kind) -> Attempt | None:
        """Add the name and the queue that are not known; the name is the one that the worker reports."""
        name = attempt.name
        if kind[0] is not None and not attempt.received:
            if name not in (None, kind[0]) and attempt.sent:
                self.on_renamed(name, kind[0])
            name = kind[0]
        queue = kind[1] if attempt.queue is None and not attempt.sent else attempt.queue
        if (name, queue) == attempt.kind:
            return None
        attempt.kind = self._table.kinds[name, queue]
        return attempt


def has_another_start(attempt: Attempt, task: HeldTask) -> bool:
    """Whether it started earlier than the task that the answer tells of, so that it is another execution."""
    return task.started is not None and attempt.started < task.started - UNCERTAIN_SECONDS


def _is_known(attempt: Attempt, task: HeldTask) -> bool:
    """Whether what the answer tells of an attempt is known: its delivery, or its start, or even its end."""
    if task.started is None:
        return attempt.reserved
    return attempt.ended >= task.started or (attempt.open and not has_another_start(attempt, task))
