"""The tasks that workers hold and run by their own answers, after a start of the exporter or a gap in listening.

Answers are state: nothing is counted from them but what ended unseen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from celery_metrics_exporter.clock import BatchClock
from celery_metrics_exporter.events.plausibility import MAX_AHEAD_SECONDS, MAX_BEHIND_SECONDS
from celery_metrics_exporter.events.types import TaskSent
from celery_metrics_exporter.facts import HeldTask
from celery_metrics_exporter.tasks.attempt import Attempt
from celery_metrics_exporter.tasks.attribution import Attribution
from celery_metrics_exporter.tasks.interning import Interner
from celery_metrics_exporter.tasks.publication import Destinations, routed
from celery_metrics_exporter.tasks.recovering import HeldTasks, has_another_start
from celery_metrics_exporter.tasks.running import Running

#: What ran before a gap and was not found since is no loss of that gap after this time.
SUSPICION_SECONDS = 600.0


@dataclass(slots=True)
class _Round:
    """A round of questions to one worker: which attempts the answers and events of this time account for."""

    began: float
    accounted: set[Attempt] = field(default_factory=set)


class TaskRecovery:
    """Takes the answers of workers about their tasks, in rounds of one answer to each question."""

    def __init__(
        self,
        held: HeldTasks,
        running: Running,
        attribution: Attribution,
        now: BatchClock,
        *,
        fitting: Interner[frozenset[str] | None],
        destinations: Callable[[], Destinations],
        listening_since: Callable[[], float],
        on_unseen_end: Callable[[Attempt], None],
    ) -> None:
        """Args:
        held: opens the attempts.
        running: the attempts that run.
        attribution: gives them their counts.
        now: the time of receipt.
        fitting: sets of queues that attempts share.
        destinations: to which queues exchanges deliver, as it is known now.
        listening_since: monotonic time of the end of the latest gap; -inf if there was none.
        on_unseen_end: called with each attempt that ran before a gap, and ended without an event.
        """
        self._held = held
        self._running = running
        self._attribution = attribution
        self._now = now
        self._fitting = fitting
        self._destinations = destinations
        self._listening_since = listening_since
        self._on_unseen_end = on_unseen_end
        self._gap_ended = -math.inf
        self._suspects: set[Attempt] = set()  # they ran before the latest gap
        self._rounds: dict[str, _Round] = {}
        self._absent: dict[str, frozenset[Attempt]] = {}  # by worker, in its latest round

    def note_gap(self) -> None:
        """Take note of a gap that has ended, if there was one since the last call."""
        since = self._listening_since()
        if since != self._gap_ended:
            self._gap_ended = since
            self._suspects = {attempt for attempt in self._running.snapshot() if attempt.seen < since}
        elif self._suspects and self._now.monotonic - since > SUSPICION_SECONDS:
            self._suspects.clear()

    def note_end(self, attempts: Iterable[Attempt]) -> None:
        """Take note that these attempts ended, though no event told so."""
        self.note_gap()
        for attempt in self._suspects.intersection(attempts):
            self._suspects.discard(attempt)
            self._on_unseen_end(attempt)

    def begin_round(self, worker: str) -> None:
        """Begin to ask a worker about all its tasks."""
        self._rounds[worker] = _Round(self._now.monotonic)

    def take(self, worker: str, tasks: Iterable[HeldTask], at: float, newer: AbstractSet[str]) -> None:
        """Take the answer to one question, or a part of it.

        Args:
            worker: who answered.
            tasks: what it answered.
            at: the time of the answer, by the worker's clock.
            newer: tasks of which an event of the worker came since the question was sent.
        """
        self._held.begin(at)
        current = self._rounds.get(worker)
        queues: dict[tuple[str | None, str | None], tuple[str | None, frozenset[str] | None]] = {}
        for task in tasks:
            origin = task.exchange, task.routing_key
            if origin not in queues:
                queues[origin] = self._queue(*origin)
            queue, fitting = queues[origin]
            if task.started is not None and not self._is_plausible(task.started):
                task = HeldTask(task.uuid, task.name, *origin, started=at)  # noqa: PLW2901 - as a retimed event
            attempt = self._held.take(task, (task.name, queue), worker, is_outdated=task.uuid in newer)
            if attempt is not None:
                if task.exchange and not attempt.sent:
                    attempt.fitting = self._fitting[fitting]
                    self._attribution.published_by_exchange(attempt)
                self._attribution.told_by_answer(attempt)
                if attempt.open:
                    self._running.begin(attempt)
            if current is not None:
                self._account(current, task, worker)

    def _account(self, current: _Round, task: HeldTask, worker: str) -> None:
        """Account for the executions that an entry may be about: not for one that started before it says."""
        for attempt in self._held.chain(task.uuid):
            if attempt.worker == worker and not (attempt.open and has_another_start(attempt, task)):
                current.accounted.add(attempt)

    def end_round(self, worker: str, newer: AbstractSet[str], *, is_whole: bool) -> bool:
        """End what was absent from two whole rounds.

        Args:
            worker: who was asked.
            newer: tasks of which an event of the worker came since the round began.
            is_whole: all questions were answered, and by one process, the same in both rounds.

        Returns:
            Whether something that seems to run was absent, so that a second round tells more.
        """
        current = self._rounds.pop(worker, None)
        before = self._absent.pop(worker, frozenset())
        if current is None or not is_whole:
            return False
        for uuid in newer:
            current.accounted.update(self._held.chain(uuid))
        self._suspects -= current.accounted
        absent = frozenset(
            attempt
            for attempt in self._running.on(worker)
            if attempt.seen < current.began and attempt not in current.accounted
        )
        ended = absent & before
        for attempt in ended:
            self._running.end(attempt)
            self._on_unseen_end(attempt)
        self._suspects -= ended
        if absent - ended:
            self._absent[worker] = absent - ended
        return bool(absent - ended)

    def _queue(self, exchange: str | None, key: str | None) -> tuple[str | None, frozenset[str] | None]:
        if exchange is None:
            return None, None
        publication = TaskSent("-", 1.0, exchange=exchange, routing_key=key)
        event, fitting = routed(publication, self._destinations())
        return event.queue, fitting

    def _is_plausible(self, started: float) -> bool:
        return self._now.wall - MAX_BEHIND_SECONDS < started < self._now.wall + MAX_AHEAD_SECONDS
