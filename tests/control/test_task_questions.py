"""Which answers to a question about tasks are taken: those to the open question, of the worker that was asked."""

from typing import Any, cast

import msgspec
import pytest

from celery_metrics_exporter.control.mailbox import Mailbox
from celery_metrics_exporter.control.task_questions import TaskQuestions
from celery_metrics_exporter.facts import TaskQuestion
from tests.pipeline import Bench

W = "w@h"
ENTRY: dict[str, Any] = {
    "id": "u",
    "name": "t",
    "time_start": None,
    "delivery_info": {"exchange": "", "routing_key": "q"},
}


class Sent:
    """A mailbox that keeps what is asked; no answer comes by itself."""

    def __init__(self) -> None:
        self.questions: list[TaskQuestion] = []

    def ask_about_tasks(self, question: TaskQuestion) -> str:
        """The ticket of this question."""
        self.questions.append(question)
        return f"{len(self.questions)}.{question.command}"


class Asking:
    """Questions to one worker, which the real plan makes."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.bench.can_hold(W)
        self._sent = Sent()
        self.questions = TaskQuestions(cast("Mailbox", self._sent), self.bench.pipeline.questions)

    def ask(self) -> str:
        """Ask the next question; returns its ticket."""
        self.questions._not_before = 0.0  # the pause between two
        question = self.questions.next()
        assert question is not None
        self.questions.ask(question)
        return f"{len(self._sent.questions)}.{question.command}"

    @property
    def known(self) -> int:
        """How many tasks are known."""
        return len(self.bench.pipeline.sources.inflight)


def test_an_answer_in_time() -> None:
    """What the worker tells is taken, and the next question can be asked."""
    asking = Asking()
    asking.questions.take(asking.ask(), "scheduled", {W: []})
    asking.questions.take(asking.ask(), "reserved", {W: [ENTRY]})
    assert asking.known == 1
    assert asking.questions.until is None


def test_a_late_answer() -> None:
    """An answer to a question that is over changes nothing, neither while none nor while another one is open."""
    asking = Asking()
    late = asking.ask()
    asking.questions.until = 0.0  # its time is over
    assert asking.questions.next() is None
    with pytest.raises(msgspec.ValidationError, match="too late"):
        asking.questions.take(late, "scheduled", {W: [{"eta": None, "request": ENTRY}]})
    asking.bench.wait(5)
    asking.ask()
    with pytest.raises(msgspec.ValidationError, match="too late"):
        asking.questions.take(late, "scheduled", {W: [{"eta": None, "request": ENTRY}]})
    assert asking.known == 0
    assert asking.questions.until is not None


def test_an_answer_of_somebody_else() -> None:
    """A worker that was not asked has nothing to tell, and the question stays open."""
    asking = Asking()
    ticket = asking.ask()
    with pytest.raises(msgspec.ValidationError, match="was not asked"):
        asking.questions.take(ticket, "scheduled", {"x@h": [{"eta": None, "request": ENTRY}]})
    assert asking.known == 0
    assert asking.questions.until is not None


def test_a_connection_that_is_lost() -> None:
    """The way of the answer is lost with it; the question is asked again later."""
    asking = Asking()
    lost = asking.ask()
    asking.questions.abandon()
    with pytest.raises(msgspec.ValidationError, match="too late"):
        asking.questions.take(lost, "scheduled", {W: [{"eta": None, "request": ENTRY}]})
    asking.bench.wait(5)
    assert asking.ask().endswith(".scheduled")
