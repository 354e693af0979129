"""Which worker is asked about its tasks, when, and what it is never asked."""

from typing import Any

import pytest

from celery_metrics_exporter.facts import HeldTask, TaskQuestion
from celery_metrics_exporter.workers.recovery import CONF, MAX_HELD, MAX_NEWER, QUESTIONS
from tests.pipeline import Bench, task, worker_event

EVERYTHING = list(QUESTIONS)


def next_question(bench: Bench) -> TaskQuestion | None:
    """The question that is due."""
    return bench.pipeline.questions.next_question()


def ask(bench: Bench, *, answered: bool | None = True) -> list[str]:
    """Ask what is due, with this result for each; returns the commands."""
    asked = []
    while (question := next_question(bench)) is not None:
        asked.append(question.command)
        bench.pipeline.questions.close_question(answered=answered)
    return asked


def reconnect(bench: Bench) -> None:
    """Lose the subscription for a while."""
    bench.subscription.mark_disconnected("lost")
    bench.wait(10)
    bench.subscription.mark_connected()


def test_once_for_each_subscription() -> None:
    """A worker is asked when it has told how much it may hold, in the order in which tasks move on, once."""
    bench = Bench()
    bench.answer(queues=("q",))
    assert ask(bench) == []
    bench.can_hold()
    assert ask(bench) == EVERYTHING
    bench.can_hold()
    assert ask(bench) == []
    reconnect(bench)
    bench.can_hold()
    assert ask(bench) == EVERYTHING


def test_one_worker_after_the_other() -> None:
    """All questions to one come before those to the next."""
    bench = Bench()
    for worker in ("a@h", "b@h"):
        bench.can_hold(worker)
    asked = []
    while (question := next_question(bench)) is not None:
        asked.append((question.worker, question.command))
        bench.pipeline.questions.close_question(answered=True)
    assert asked == [(worker, command) for worker in ("a@h", "b@h") for command in QUESTIONS]
    assert bench.pipeline.questions.pause() == float("inf")


def test_a_worker_that_started_while_we_listened() -> None:
    """All its events have come, so that it is not asked; unless it sent none before it was asked to."""
    bench = Bench()
    bench.feed(worker_event("online"))
    bench.wait(1)
    bench.can_hold()
    assert ask(bench) == []
    bench.can_hold(events_were_on=False)
    assert ask(bench) == EVERYTHING


def test_a_worker_without_task_events() -> None:
    """What it runs would never end here: it is asked as soon as its task events are on."""
    bench = Bench()
    for enabled in (None, False):
        bench.can_hold(events_enabled=enabled)
        assert ask(bench) == []
    bench.answer(events_enabled=True)
    assert ask(bench) == EVERYTHING


def test_a_gap_while_a_worker_is_asked() -> None:
    """An answer from before it is not used, and the worker is asked anew; an old number of tasks proves nothing."""
    bench = Bench()
    bench.can_hold()
    next_question(bench)
    reconnect(bench)
    bench.pipeline.questions.take_tasks([HeldTask("u", "t", "", "q", started=1.0)])
    bench.pipeline.questions.close_question(answered=True)
    assert len(bench.pipeline.sources.inflight) == 0
    bench.answer(events_enabled=True)
    assert ask(bench) == []
    bench.can_hold()
    assert ask(bench) == EVERYTHING


@pytest.mark.parametrize(
    ("facts", "asked"),
    [
        ({"number": MAX_HELD}, EVERYTHING),
        ({"number": MAX_HELD + 1}, ["active"]),
        ({"number": 0}, ["active"]),
        ({"pool_size": MAX_HELD + 1}, ["scheduled", "reserved"]),
        ({"number": None}, []),
    ],
)
def test_a_long_answer(facts: dict[str, Any], asked: list[str]) -> None:
    """Nobody is asked whose answer may tell of too many tasks, or of a number that is not known."""
    bench = Bench()
    bench.can_hold(**facts)
    assert ask(bench) == asked


@pytest.mark.parametrize(("answer", "asked"), [(True, EVERYTHING), (False, ["active"]), (None, ["active"])])
def test_content_that_json_cannot_encode(answer: bool | None, asked: list[str]) -> None:
    """A worker that may have such arguments is only asked for what it can tell without them; None: it does not say."""
    bench = Bench()
    bench.can_hold(json_only=None)
    assert next_question(bench) == TaskQuestion("w@h", CONF)
    if answer is not None:
        bench.pipeline.questions.take_json_only(told=answer)
    bench.pipeline.questions.close_question(answered=answer is not None)
    bench.wait(5)
    assert ask(bench) == asked
    reconnect(bench)
    bench.can_hold(json_only=None)
    assert ask(bench) == asked


def test_content_of_several_workers_of_one_name() -> None:
    """All of them have to accept JSON alone."""
    bench = Bench()
    bench.can_hold(json_only=None, answered_twice=True)
    next_question(bench)
    for told in (False, True):
        bench.pipeline.questions.take_json_only(told=told)
    bench.pipeline.questions.close_question(answered=True)
    assert ask(bench) == ["active"]


def test_a_worker_that_runs_much() -> None:
    """What its heartbeats tell counts as well as its pool."""
    bench = Bench()
    bench.feed(worker_event("heartbeat", active=MAX_HELD + 1, processed=5))
    bench.can_hold()
    assert ask(bench) == ["scheduled", "reserved"]


def test_a_worker_that_does_not_answer() -> None:
    """The next question waits until others were asked; what it did not answer it is not asked before its next start."""
    bench = Bench()
    bench.feed(worker_event("heartbeat", processed=5))
    for worker in ("w@h", "x@h"):
        bench.can_hold(worker)
    assert next_question(bench) == TaskQuestion("w@h", "scheduled")
    bench.pipeline.questions.close_question(answered=False)
    assert ask(bench) == EVERYTHING  # of the other
    bench.wait(5)
    assert ask(bench) == ["reserved", "active"]
    reconnect(bench)
    bench.can_hold()
    assert ask(bench) == ["reserved", "active"]
    bench.feed(worker_event("heartbeat", processed=0, at=20.0), worker_event("online", pid=8, at=21.0))
    reconnect(bench)
    bench.can_hold()
    assert ask(bench) == EVERYTHING


def test_what_is_not_asked_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Operators can find out why tasks that a worker has are not known."""
    caplog.set_level("INFO")
    bench = Bench()
    bench.can_hold(json_only=None)
    next_question(bench)
    bench.pipeline.questions.take_json_only(told=False)
    bench.pipeline.questions.close_question(answered=True)
    ask(bench, answered=False)
    assert [record.message.partition(",")[0] for record in caplog.records] == [
        "a worker accepts more than JSON",
        "a worker did not answer a question about its tasks",
    ]


def test_a_question_that_could_not_be_asked() -> None:
    """It is asked again after a while."""
    bench = Bench()
    bench.can_hold()
    next_question(bench)
    bench.pipeline.questions.close_question(answered=None)
    assert next_question(bench) is None
    assert bench.pipeline.questions.pause() == pytest.approx(5)
    bench.wait(5)
    assert ask(bench) == EVERYTHING


def test_a_worker_that_is_gone() -> None:
    """One that went away before its turn is not asked."""
    bench = Bench()
    bench.can_hold()
    bench.feed(worker_event("offline"))
    assert ask(bench) == []


def test_several_workers_of_one_name() -> None:
    """The question says that several may answer."""
    bench = Bench()
    bench.can_hold(answered_twice=True)
    assert next_question(bench) == TaskQuestion("w@h", "scheduled", several=True)


def test_more_events_than_are_remembered() -> None:
    """An answer that comes after so many is not used: which of its entries are old cannot be told."""
    bench = Bench()
    bench.can_hold()
    next_question(bench)
    for first in range(0, MAX_NEWER + 1, 50_000):
        bench.feed([task("succeeded", str(first + number), runtime=1.0) for number in range(50_001)])
    bench.pipeline.questions.take_tasks([HeldTask("u", "t", "", "q", started=1.0)])
    assert "u" not in bench.pipeline.sources.inflight._heads


def test_what_nobody_asked() -> None:
    """An answer without a question changes nothing."""
    bench = Bench()
    bench.pipeline.questions.take_tasks([HeldTask("u", "t", "", "q", started=1.0)])
    bench.pipeline.questions.close_question(answered=True)
    assert len(bench.pipeline.sources.inflight) == 0
