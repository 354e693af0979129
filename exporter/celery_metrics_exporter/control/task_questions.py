"""Asks single workers about their tasks: one question at a time, each answer by itself.

Every worker receives every command and compares its own name (``kombu/pidbox.py``, ``Node.handle_message``), so that a
question to one costs the others next to nothing.
"""

from __future__ import annotations

import time
from typing import Any, Final

import msgspec

from celery_metrics_exporter.control import AsksTasks
from celery_metrics_exporter.control.commands import CONF
from celery_metrics_exporter.control.mailbox import Mailbox
from celery_metrics_exporter.control.task_answers import held_tasks, is_json_only
from celery_metrics_exporter.facts import HeldTask, TaskQuestion

#: An answer is waited for so long ...
ANSWER_SECONDS: Final = 5.0
#: ... and for so long, after the first one, where several workers of one name may answer.
SEVERAL_SECONDS: Final = 1.0
#: Shortest time between two questions: all workers receive each.
PAUSE_SECONDS: Final = 0.02


class TaskQuestions:
    """The question that is open, if any.

    Attributes:
        until: monotonic time up to which its answer is waited for; None while no question is open.
    """

    def __init__(self, mailbox: Mailbox, plan: AsksTasks) -> None:
        self._mailbox = mailbox
        self._plan = plan
        self._question: TaskQuestion | None = None
        self._ticket = ""
        self._answered = False
        self._not_before = 0.0
        self.until: float | None = None

    def next(self) -> TaskQuestion | None:
        """The question to ask now; None while one is open, or none is due."""
        if self.until is not None and time.monotonic() >= self.until:
            self._close(answered=self._answered)
        if self._question is None and time.monotonic() >= self._not_before:
            self._question = self._plan.next_question()
            return self._question
        return None

    def ask(self, question: TaskQuestion) -> None:
        """Ask what :meth:`next` gave. Raises whatever prevents it; call :meth:`abandon` then."""
        self._answered = False
        self._ticket = self._mailbox.ask_about_tasks(question)
        now = time.monotonic()
        self.until, self._not_before = now + ANSWER_SECONDS, now + PAUSE_SECONDS

    def abandon(self) -> None:
        """The question could not be asked, or the way of its answer is lost."""
        if self._question is not None:
            self._close(answered=None)

    def pause(self) -> float:
        """Seconds until there is something to do."""
        now = time.monotonic()
        if self.until is not None:
            return max(0.0, self.until - now)
        return max(self._plan.pause(), self._not_before - now)

    def take(self, ticket: object, command: str, answer: Any) -> None:
        """Take an answer; raises msgspec.ValidationError if it is of no use.

        One to a question that is over is dropped: events may have come that are newer than it.
        """
        question = self._question
        if question is None or ticket != self._ticket:
            raise msgspec.ValidationError("an answer that comes too late")
        told: bool | list[HeldTask]
        worker, told = is_json_only(answer) if command == CONF else held_tasks(command, answer)
        if worker != question.worker:
            raise msgspec.ValidationError(f"an answer of {worker[:100]!r}, which was not asked")
        if isinstance(told, bool):
            self._plan.take_json_only(told=told)
        else:
            self._plan.take_tasks(told)
        self._answered = True
        if question.several:
            self.until = min(self.until or 0.0, time.monotonic() + SEVERAL_SECONDS)
        else:
            self._close(answered=True)

    def _close(self, *, answered: bool | None) -> None:
        self._question = self.until = None
        self._ticket = ""
        self._plan.close_question(answered=answered)
