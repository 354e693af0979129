"""Send remote control commands to all workers and collect their answers, over its own connection and in its own thread.

Source of the facts: ``kombu/pidbox.py``. ``celery.app.control.Inspect`` is made for a command line: it waits its whole
timeout, leaves a queue or key behind for late answers, and reconnects for as long as it takes.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import msgspec

from celery_metrics_exporter.connection.celery_app import Broker
from celery_metrics_exporter.control import AsksTasks, RefusedError
from celery_metrics_exporter.control.answers import facts_of
from celery_metrics_exporter.control.commands import (
    ABOUT_TASKS,
    HEARTBEAT,
    IDLE_SECONDS,
    INSPECTION,
    CommandSchedule,
)
from celery_metrics_exporter.control.mailbox import Mailbox, UnreadableReplyError
from celery_metrics_exporter.control.task_questions import TaskQuestions
from celery_metrics_exporter.control.transport import MAX_ANSWERS, Message
from celery_metrics_exporter.errors import one_line
from celery_metrics_exporter.facts import WorkerFacts
from celery_metrics_exporter.logs import OutageLog, fields

log = logging.getLogger(__name__)

#: Answers are polled for so long after a command; later ones are found after the next command.
WINDOW_SECONDS: Final = 2.0
#: First and longest pause between two polls for answers.
POLL_SECONDS: Final = (0.01, 0.25)
#: Longest wait of a stop for the answers to the last command.
LEAVING_SECONDS: Final = 0.3
#: First and longest pause between two attempts to connect, before jitter.
BACKOFF_SECONDS: Final = (0.5, 30.0)

_SEE: Final = "see 'Least privilege' in docs/permissions.md"
_NO_COMMANDS: Final = f"cannot ask workers: the broker refuses our command; {_SEE}"
_NO_REPLIES: Final = f"workers cannot answer: the broker refuses our reply queue; {_SEE}"


class RemoteControl:
    """Asks all workers at intervals until it is told to stop. Any thread may call :meth:`stop`.

    Attributes:
        schedule: which commands are due.
        failures: commands that could not be sent, or whose answers could not be read.
        invalid_answers: answers that could not be used.
        trouble: why workers cannot be asked or cannot answer, in one line from the library; None when they can.
    """

    def __init__(
        self,
        broker: Broker,
        schedule: CommandSchedule,
        report: Callable[[Sequence[WorkerFacts]], None],
        *,
        tasks: AsksTasks | None = None,
        timeout: float = 3.0,
    ) -> None:
        """Args:
        report: takes the answers of workers; called by the thread of :meth:`run`, must not raise.
        tasks: plans questions about tasks, and takes their answers in the same way; None: nobody is asked.
        timeout: seconds that connecting and each answer of the broker may take.
        """
        self._broker = broker
        self._report = report
        self.schedule = schedule
        self._mailbox = Mailbox(broker, timeout=timeout, lifetime=4 * schedule.interval + 60)
        self._tasks = None if tasks is None else TaskQuestions(self._mailbox, tasks)
        self._stopping = threading.Event()
        self._listening_until: float | None = None
        self._taken = 0
        #: The tickets of the answers since the latest commands, and who sent them.
        self._answers: set[tuple[object, str]] = set()
        self._poll = POLL_SECONDS[0]
        self._backoff = BACKOFF_SECONDS[0]
        self._outage = OutageLog(
            log, "cannot ask workers, trying again", "workers can be asked again", broker=broker.name
        )
        self._refused = False
        self.failures = 0
        self.invalid_answers = 0
        self.trouble: str | None = None

    def stop(self) -> None:
        """Make :meth:`run` return soon. May be called from a signal handler as well."""
        self._stopping.set()
        self.schedule.nudge()

    def run(self) -> None:
        """Ask until told to stop; reconnects forever."""
        while not self._stopping.is_set():
            try:
                probe = self.schedule.take_probe()
                if probe is not None:
                    told, anew = probe
                    self._mailbox.send_probe(told, anew=anew)
                commands = self.schedule.take()
                if commands:
                    self._ask(commands)
                elif self._tasks is not None and self._mailbox.connected:
                    self._ask_about_tasks(self._tasks)
                if self._listening_until is not None:
                    self._listen(self._listening_until)
            except Exception as error:  # noqa: BLE001 - the reconnect loop: nothing ends it but a stop
                self._fail(error)
            self.schedule.wait(self._pause())
        self._leave()

    def _pause(self) -> float:
        if self._listening_until is not None:
            return self._poll
        return IDLE_SECONDS if self._tasks is None or not self._mailbox.connected else self._tasks.pause()

    def _ask_about_tasks(self, tasks: TaskQuestions) -> None:
        question = tasks.next()
        if question is None:
            return
        try:
            if self._open():
                tasks.ask(question)
        except RefusedError as error:
            self._refuse(_NO_COMMANDS, error)
        finally:
            if tasks.until is None:
                tasks.abandon()
            else:
                self._listening_until = tasks.until

    def _ask(self, commands: Sequence[str]) -> None:
        kept = self._mailbox.connected
        left = deque(commands)
        try:
            self._mailbox.connect()
            if left[0] == HEARTBEAT:
                self._mailbox.ask(left[0], answered=False)
                left.popleft()
            answered = not left or self._open()
            self._answers.clear()
            while left:
                if answered or left[0] not in INSPECTION:
                    self._mailbox.ask(left[0], answered=answered)
                left.popleft()
            if answered:
                self._refused = False
                self.trouble = None
        except RefusedError as error:
            self._refuse(_NO_COMMANDS, error)
        except Exception as error:
            self.schedule.postpone(left, 0.0 if kept else self._next_backoff())
            if not kept:
                raise
            # Firewalls and brokers drop idle connections: send the remaining commands over a new one at once.
            log.debug("the connection was dead, connecting again", exc_info=error)
            self._drop()
            return
        self._backoff = BACKOFF_SECONDS[0]
        self._outage.recover()

    def _open(self) -> bool:
        """Make the reply queue and begin to poll; returns whether workers can answer."""
        try:
            self._mailbox.open()
        except RefusedError as error:
            self._refuse(_NO_REPLIES, error)
            return False
        self._poll = POLL_SECONDS[0]
        until = time.monotonic() + WINDOW_SECONDS
        self._listening_until = max(until, self._listening_until or until)
        return True

    def _listen(self, until: float) -> None:
        """Take the answers that have arrived; stops polling when all are there, or after ``until``."""
        messages = self._take()
        if messages is None:
            self._listening_until = None
            return
        facts = [fact for fact in map(self._read, messages) if fact is not None]
        if facts:
            self._report(facts)
        self._taken += len(messages)
        if self._taken > MAX_ANSWERS:
            self._mailbox.discard()
        elif messages:
            self._poll = POLL_SECONDS[0]
            if not self._mailbox.settled:
                return
        elif time.monotonic() < until and not self._mailbox.settled:
            self._poll = min(1.5 * self._poll, POLL_SECONDS[1])
            return
        self._listening_until = None
        self._taken = 0
        self._mailbox.rest()

    def _take(self) -> list[Message] | None:
        try:
            return self._mailbox.take()
        except RefusedError as error:
            self._refuse(_NO_REPLIES, error)
        except Exception as error:  # the next command shows whether the broker is still there
            self.failures += 1
            log.debug("the connection was lost, perhaps with answers, asking again soon", exc_info=error)
            self._drop()
            self.schedule.request_inspection()
        return None

    def _read(self, message: Message) -> WorkerFacts | None:
        try:
            command, content = self._mailbox.read(message)
            if command in ABOUT_TASKS:
                if self._tasks is not None:
                    self._tasks.take(message.headers.get("ticket"), command, content)
                return None
            facts = facts_of(command, content)
        except (UnreadableReplyError, msgspec.ValidationError, RecursionError) as error:
            self.invalid_answers += 1
            log.debug("ignoring an answer that cannot be read", extra=fields(error=error))
            return None
        answer = (message.headers.get("ticket"), facts.worker)
        if answer in self._answers:
            return replace(facts, answered_twice=True)
        self._answers.add(answer)
        return facts

    def _refuse(self, text: str, error: RefusedError) -> None:
        self.failures += 1
        self.trouble = one_line(error)
        level = logging.DEBUG if self._refused else logging.WARNING
        self._refused = True
        log.log(level, text, extra=fields(broker=self._broker.name, error=error))

    def _fail(self, error: Exception) -> None:
        self.failures += 1
        self._drop()
        self.trouble = one_line(error)
        self._outage.fail(error)

    def _drop(self) -> None:
        self._listening_until = None
        self._mailbox.drop()
        if self._tasks is not None:
            self._tasks.abandon()

    def _next_backoff(self) -> float:
        pause, self._backoff = self._backoff, min(2 * self._backoff, BACKOFF_SECONDS[1])
        return pause * random.uniform(0.5, 1.0)  # noqa: S311 - jitter

    def _leave(self) -> None:
        deadline = time.monotonic() + LEAVING_SECONDS
        try:
            while self._listening_until is not None and self._mailbox.owed and time.monotonic() < deadline:
                self._listen(self._listening_until)
                time.sleep(POLL_SECONDS[0])
            self._mailbox.close()
        except Exception as error:  # the end of the reconnect loop
            log.debug("disconnected from the broker without a clean close", exc_info=error)
            self._mailbox.drop()
