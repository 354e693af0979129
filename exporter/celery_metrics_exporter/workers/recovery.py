"""Plans which worker is asked about its tasks, when, and about what.

A worker that ran before we listened, at the start of the exporter or in a gap, has tasks of which no event told. It is
asked once: for the tasks that it holds for their eta, that wait for a free process, and that run, in the order in which
tasks move on. Only one question is open at a time. An answer costs the worker: it is built in its main loop and sent as
one message, which a broker may refuse to take. So nobody is asked whose answer may be large or has arguments that JSON
may not encode, and nobody again who did not answer.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final, Protocol

from celery_metrics_exporter.clock import BatchClock
from celery_metrics_exporter.events.types import Event, WorkerTaskEvent
from celery_metrics_exporter.facts import HeldTask, TaskQuestion, WorkerFacts
from celery_metrics_exporter.labels import OTHER, clean
from celery_metrics_exporter.logs import ThrottledLog
from celery_metrics_exporter.workers.process import Process
from celery_metrics_exporter.workers.roster import Roster
from celery_metrics_exporter.workers.worker import Worker

log = logging.getLogger(__name__)

_UNANSWERED: Final = (
    "a worker did not answer a question about its tasks, and is not asked it again before its next start"
)
_NOT_JSON: Final = "a worker accepts more than JSON, so that it is not asked for the tasks that wait in it"

#: Whether the answers to the next two can be sent at all: arguments that JSON cannot encode make a worker of Celery 5.2
#: to 5.6 on Redis answer no command any more (``celery/worker/pidbox.py``, ``Pidbox.reset``).
CONF: Final = "conf"
#: Tasks move from each of these to the next.
QUESTIONS: Final = ("scheduled", "reserved", "active")
#: Most tasks that an answer may tell of: 3 to 4 MB with short arguments, and 0.3 s of the worker's main loop.
MAX_HELD: Final = 10_000
#: Shortest time between the rounds of one worker, and between the two that show that a task has ended.
ROUND_SECONDS: Final = 5.0
#: Tasks whose events are remembered while a round lasts; an answer that comes after more is not used.
MAX_NEWER: Final = 200_000
#: While the offset of a worker's clock seems to change by more, its events are older than its answers: they come from
#: a queue that kept them.
STEADY_SECONDS: Final = 1.0


class TakesTasks(Protocol):
    """Takes what workers answer about their tasks; the methods are those of ``collectors.task_recovery``."""

    def begin_round(self, worker: str) -> None:
        """Begin to ask a worker about all its tasks."""

    def take(self, worker: str, tasks: Iterable[HeldTask], at: float, newer: AbstractSet[str]) -> None:
        """Take the answer to one question, or a part of it."""

    def end_round(self, worker: str, newer: AbstractSet[str], *, is_whole: bool) -> bool:
        """End what was absent from two whole rounds; whether a second one is needed."""


@dataclass(slots=True)
class _Round:
    """The questions to one worker that are left.

    Attributes:
        due: monotonic time of the next one.
        since: start of the subscription that has received all events since it was planned; it ends with that.
        left: the questions.
        process: the one that is asked.
        is_whole: all questions so far were answered.
        newer: tasks of which the worker has sent events since the first question.
        offset: of the worker's clock when the first round began.
        before: in the second of two rounds the process that was asked in the first.
    """

    due: float
    since: float
    left: deque[str] = field(default_factory=lambda: deque((CONF, *QUESTIONS)))
    process: Process | None = None
    is_whole: bool = True
    newer: set[str] = field(default_factory=set)
    offset: float | None = None
    before: Process | None = None


class Recovery:
    """Which questions about tasks are due. Its methods are called under the lock for event state."""

    def __init__(
        self, roster: Roster, tasks: TakesTasks, now: BatchClock, *, listening_since: Callable[[], float]
    ) -> None:
        """Args:
        roster: the workers.
        tasks: takes what they answer.
        now: the time.
        listening_since: monotonic time since which events have been received without a gap.
        """
        self._roster = roster
        self._tasks = tasks
        self._now = now
        self._listening_since = listening_since
        self._rounds: dict[str, _Round] = {}  # by nodename, in the order in which they are asked
        self._begun: dict[str, _Round] = {}  # those of them that have begun
        self._log = ThrottledLog(log, lambda: now.monotonic)
        self._asked: TaskQuestion | None = None
        self._current: _Round | None = None  # which the question is of

    def note_answer(self, facts: WorkerFacts) -> None:
        """Plan to ask a worker that has told how much it may hold, unless all its events were received.

        It has to send task events: without them the tasks that it runs would never end here.
        """
        worker, since = self._roster.of(facts.worker), self._listening_since()
        is_known = worker.capacity.prefetch_limit is not None and worker.capacity.stats_at >= since
        if not (is_known and worker.events_enabled) or worker.name == OTHER or worker.asked_tasks_at >= since:
            return
        if worker.newest is not None and worker.newest.began >= since and not worker.switched_on:
            return
        due = max(self._now.monotonic, worker.asked_tasks_at + ROUND_SECONDS)
        worker.asked_tasks_at = self._now.monotonic
        self._begun.pop(facts.worker, None)  # of an earlier subscription
        self._rounds[facts.worker] = _Round(due, since)

    def next(self) -> TaskQuestion | None:
        """The question to ask now, if one is due; the one before is over."""
        self._asked = self._current = None
        for name, current in tuple(self._rounds.items()):
            if current.due <= self._now.monotonic:
                question = self._question(name, current)
                if question is not None:
                    self._asked, self._current = question, current
                    return question
        return None

    def _question(self, name: str, current: _Round) -> TaskQuestion | None:
        if current.since != self._listening_since():
            del self._rounds[name]
            if self._begun.pop(name, None) is not None:
                self._tasks.end_round(name, current.newer, is_whole=False)
            return None
        worker = self._roster.of(name)
        if name not in self._begun:
            self._begun[name] = current
            current.process = worker.newest
            if current.before is None:
                current.offset = worker.offset
            current.is_whole = worker.newest is not None
            self._tasks.begin_round(name)
        if not self._roster.is_alive(worker):
            current.left.clear()
            current.is_whole = False
        while current.left:
            command = current.left[0]
            if _may_ask(worker, command):
                return TaskQuestion(name, command, several=worker.shares_its_name)
            current.left.popleft()
            current.is_whole = current.is_whole and command == CONF
        self._end(name, current, worker)
        return None

    def take(self, tasks: Iterable[HeldTask]) -> None:
        """Take the answer to the question, or a part of it."""
        current = self._current
        if self._asked is None or current is None:
            return
        if len(current.newer) < MAX_NEWER and current.since == self._listening_since():
            worker = self._roster.touch(self._asked.worker)
            at = self._now.wall + (worker.offset or 0.0)
            self._tasks.take(self._asked.worker, tasks, at, current.newer)
        else:
            current.is_whole = False

    def take_json_only(self, *, told: bool) -> None:
        """Take whether the worker that was asked accepts messages in JSON alone; of several of a name all have to."""
        if self._asked is not None:
            worker = self._roster.of(self._asked.worker)
            worker.json_only = told and worker.json_only is not False
            if not told:
                self._log.log(logging.INFO, _NOT_JSON, worker=clean(self._asked.worker))

    def close(self, *, answered: bool | None) -> None:
        """The question is over: it was answered, or not in time; None: it could not be asked."""
        question, current = self._asked, self._current
        self._asked = self._current = None
        if question is None or current is None:
            return
        if answered is not None:
            current.left.popleft()
        if answered is False:
            current.is_whole = False
            if current.since == self._listening_since():
                self._roster.of(question.worker).never_ask.add(question.command)
                self._log.log(
                    logging.INFO, _UNANSWERED, worker=clean(question.worker), command=question.command
                )
        if not answered and self._rounds.get(question.worker) is current:
            # Others first: it may be busy, or out of order for some seconds.
            self._rounds[question.worker] = self._rounds.pop(question.worker)
            current.due = self._now.monotonic + ROUND_SECONDS

    def pause(self) -> float:
        """Seconds until a question is due, if nothing is planned until then."""
        due = min((current.due for current in self._rounds.values()), default=math.inf)
        return max(0.0, due - self._now.monotonic)

    def _end(self, name: str, current: _Round, worker: Worker) -> None:
        del self._rounds[name], self._begun[name]
        is_one = not worker.shares_its_name and worker.newest is current.process
        is_same = current.before is None or current.before is current.process
        before, now = current.offset, worker.offset
        is_steady = before is None or now is None or abs(now - before) < STEADY_SECONDS
        is_whole = current.is_whole and is_one and is_same and is_steady
        if self._tasks.end_round(name, current.newer, is_whole=is_whole):
            due = self._now.monotonic + ROUND_SECONDS
            self._rounds[name] = _Round(due, current.since, offset=current.offset, before=current.process)

    def on_events(self, batch: Sequence[Event]) -> None:
        """Note of which tasks a worker sends events while it is asked."""
        for name, current in self._begun.items():
            if len(current.newer) < MAX_NEWER:
                current.newer.update(
                    event.uuid
                    for event in batch
                    if event.hostname == name and isinstance(event, WorkerTaskEvent)
                )


def _may_ask(worker: Worker, command: str) -> bool:
    """Whether it can answer this, the answer is known to be small, and it has answered it if it was asked before."""
    if command == CONF:
        return worker.json_only is None and command not in worker.never_ask
    capacity = worker.capacity
    most: float
    if command == QUESTIONS[-1]:
        most = max(capacity.pool_size or 0, worker.active or 0)
    else:
        most = (capacity.prefetch_limit or math.inf) if worker.json_only else math.inf  # 0 is unlimited
    return most <= MAX_HELD and command not in worker.never_ask
