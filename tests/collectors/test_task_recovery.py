"""What answers of workers about their tasks lead to, in the metrics."""

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from celery_metrics_exporter.facts import Binding, HeldTask
from tests.pipeline import T0, Bench, received, sent, task, worker_event

QUESTIONS = ("scheduled", "reserved", "active")


class Recovering(Bench):
    """A bench whose workers answer about their tasks."""

    def ask(
        self, answers: Mapping[str, Iterable[HeldTask]] | None = None, *, worker: str = "w@h"
    ) -> list[str]:
        """Ask what is due until nothing is; each answer comes at once. Returns what was asked."""
        asked = []
        questions = self.pipeline.questions
        while (question := questions.next_question()) is not None:
            assert question.worker == worker
            asked.append(question.command)
            questions.take_tasks(list((answers or {}).get(question.command, ())))
            questions.close_question(answered=True)
        return asked

    def gap(self, seconds: float = 5.0) -> None:
        """Lose the subscription, and subscribe again."""
        self.subscription.mark_disconnected("lost")
        self.time.elapsed += seconds
        self.subscription.mark_connected()
        self.wait(0.25)


def held(uuid: str = "u", *, at: float | None = None, **more: Any) -> HeldTask:
    """An entry of an answer."""
    fields = {"name": "t", "exchange": "", "routing_key": "q", **more}
    return HeldTask(uuid, started=None if at is None else T0 + at, **fields)


def running(bench: Bench, task: str = "t", queue: str = "q") -> float | None:
    """How many run."""
    return bench.value("celery_task_in_progress", task=task, queue=queue)


def test_a_start_that_an_answer_told() -> None:
    """Two starts 5 ms apart are one: the event confirms and counts it, and the outcome ends it."""
    bench = Recovering()
    bench.can_hold()
    assert bench.ask({"active": [held(at=-100.0)]}) == list(QUESTIONS)
    assert running(bench) == 1
    assert bench.counts() == {}
    assert bench.value("celery_task_oldest_running_timestamp_seconds", task="t", queue="q") == T0 - 100
    bench.feed(task("started", at=-99.995))
    assert bench.counts() == {"started": 1}
    bench.feed(task("started", at=-99.995))
    assert bench.counts() == {"started": 1}
    assert running(bench) == 1
    bench.feed(task("succeeded", at=1.0, runtime=1.0))
    assert running(bench) == 0
    assert bench.counts() == {"started": 1, "succeeded": 1}


@pytest.mark.parametrize("question", ["scheduled", "reserved"])
def test_a_task_that_a_worker_holds(question: str) -> None:
    """It counts under its name and queue from its start on; its delivery and its waits are not known."""
    bench = Recovering()
    bench.can_hold()
    bench.ask({question: [held(eta="2023-11-20T00:00:00+00:00" if question == "scheduled" else None)]})
    bench.feed(task("started", at=5.0), task("failed", at=7.0, exception="E()"))
    assert bench.counts() == {"started": 1, "failed": 1}
    samples = bench.samples("celery_task_")
    assert samples['celery_task_runtime_seconds_sum{outcome="failed",queue="q",task="t"}'] == 2.0
    assert samples['celery_task_prefetch_wait_seconds_count{queue="q",task="t"}'] == 0
    assert 'celery_task_queue_wait_seconds_count{queue="q",task="t"}' not in samples


def test_a_task_that_a_worker_holds_for_days() -> None:
    """It is known as long as its worker is up, though no event told of its delivery."""
    bench = Recovering()
    bench.feed(worker_event("online"))
    bench.wait(60)
    bench.can_hold()
    bench.gap()
    bench.can_hold()
    bench.ask({"scheduled": [held(eta="2023-11-20T00:00:00+00:00")]})
    for day in range(1, 6):
        bench.time.elapsed = day * 86_400.0
        bench.feed(worker_event("heartbeat", at=bench.time.elapsed))
        bench.wait(61)
    bench.feed(task("started", at=bench.time.elapsed))
    bench.wait(3)
    assert bench.counts() == {"started": 1}


def test_events_that_are_newer_than_the_question() -> None:
    """They win: what ended since is not opened again; a name and a queue that they do not tell are taken."""
    bench = Recovering()
    bench.can_hold()
    questions = bench.pipeline.questions
    for _ in range(2):
        questions.next_question()
        questions.close_question(answered=True)
    questions.next_question()
    bench.feed(task("succeeded", "over", at=2.0, runtime=1.0), task("started", at=2.0))
    questions.take_tasks([held("over", at=1.0), held(at=1.9)])
    questions.close_question(answered=True)
    bench.wait(3)
    assert running(bench) == 1
    assert bench.counts() == {"started": 1, "succeeded": 1}


def test_the_queue_of_an_answer() -> None:
    """Its exchange and routing key are resolved as those of a task-sent; where several queues fit it is unknown."""
    bench = Recovering()
    bindings = (Binding("news", "topics", "topic", "news.#"), Binding("all", "topics", "topic", "*.x"))
    bench.can_hold(queues=("news", "all", "later"), bindings=bindings)
    tasks = [
        held("1", at=1.0, exchange="topics", routing_key="other.x"),
        held("2", at=1.0, exchange="topics", routing_key="news.x"),
        held("3", at=1.0, exchange=None, routing_key=None, name="n"),
        held("4", at=1.0, exchange="celery_delayed_27", routing_key="0." * 28 + "later"),
    ]
    bench.ask({"active": tasks})
    shown = {key: value for key, value in bench.samples("celery_task_in_progress").items() if value}
    name = "celery_task_in_progress"
    assert shown == {
        f'{name}{{queue="all",task="t"}}': 1,
        f'{name}{{queue="unknown",task="t"}}': 1,
        f'{name}{{queue="unknown",task="n"}}': 1,
        f'{name}{{queue="later",task="t"}}': 1,
    }


def test_a_publication_that_is_known() -> None:
    """After a gap the answer is joined with the task-sent from before it, so that the queue wait is known."""
    bench = Recovering()
    bench.feed(sent(at=0.0))
    bench.gap()
    bench.can_hold()
    bench.ask({"reserved": [held()]})
    bench.feed(task("started", at=8.0))
    assert bench.value("celery_task_queue_wait_seconds_sum", task="t", queue="q") == 8.0
    assert bench.counts() == {"sent": 1, "started": 1}


def two_running(bench: Recovering) -> None:
    """Two tasks run on one worker, whose heartbeats tell so, before a gap."""
    bench.feed(worker_event("heartbeat", active=2, processed=2))
    for uuid in ("u", "v"):
        bench.feed(received(uuid), task("started", uuid))
    bench.wait(10)
    bench.gap()


def test_an_end_in_a_gap() -> None:
    """What is absent from two whole rounds has ended; an outcome that comes after all counts too."""
    bench = Recovering()
    two_running(bench)
    bench.can_hold()
    assert bench.ask({"active": [held("v", at=2.0)]}) == list(QUESTIONS)
    assert running(bench, queue="unknown") == running(bench) == 1  # the answer told the queue of one
    assert bench.pipeline.questions.pause() == pytest.approx(5.0)
    bench.wait(5)
    assert bench.ask({"active": [held("v", at=2.0)]}) == list(QUESTIONS)
    labels = {"task": "t", "queue": "unknown"}
    assert running(bench, queue="unknown") == 0
    assert running(bench) == 1
    assert bench.value("celery_task_ended_unseen_total", **labels) == 1
    bench.wait(5)
    assert bench.ask() == []
    bench.feed(task("succeeded", at=30.0, runtime=1.0))
    assert bench.counts(queue="unknown")["succeeded"] == 1
    assert bench.value("celery_task_ended_unseen_total", **labels) == 1


@pytest.mark.parametrize(
    "spoiled",
    [
        "an event",
        "a question without answer",
        "another process",
        "a shared name",
        "a start since",
        "events that lag",
    ],
)
def test_what_is_not_certain_to_have_ended(spoiled: str) -> None:
    """It needs two whole rounds of one process without an event of the task, and events that are as new as answers."""
    bench = Recovering()
    two_running(bench)
    bench.can_hold()
    bench.ask({"active": [held("v", at=2.0)]})
    bench.wait(5)
    answer = [held("v", at=2.0)]
    if spoiled == "another process":
        bench.feed(worker_event("heartbeat", pid=8, active=1, processed=5, at=30.0))
    elif spoiled == "a shared name":
        bench.can_hold(answered_twice=True)
    elif spoiled == "events that lag":  # from a queue that kept them: the end may be among those to come
        bench.feed(worker_event("heartbeat", active=2, processed=2, at=5.0))
    elif spoiled == "a question without answer":
        bench.pipeline.questions.next_question()
        bench.pipeline.questions.close_question(answered=False)
        bench.wait(5)
    elif spoiled == "an event":
        bench.pipeline.questions.next_question()
        bench.feed(task("started", at=25.0))
        bench.pipeline.questions.close_question(answered=True)
    else:
        answer.append(held("u", at=40.0))
    bench.ask({"active": answer})
    unseen = bench.value("celery_task_ended_unseen_total", task="t", queue="unknown")
    assert unseen == (1 if spoiled == "a start since" else 0)


def test_an_idle_worker_after_a_gap() -> None:
    """What ran before the gap has ended in it, also by the heartbeat of a worker that runs nothing."""
    bench = Recovering()
    two_running(bench)
    bench.feed(worker_event("heartbeat", active=0, processed=2, at=20.0))
    bench.feed(worker_event("heartbeat", active=0, processed=2, at=22.0))
    assert running(bench, queue="unknown") == 0
    assert bench.value("celery_task_ended_unseen_total", task="t", queue="unknown") == 2


def test_a_task_without_an_outcome_event() -> None:
    """Without a gap it ended as Celery lets it end (``Ignore``): that is no loss."""
    bench = Recovering()
    bench.feed(worker_event("heartbeat", active=1, processed=1))
    bench.feed(received(), task("started"))
    for at in (20.0, 22.0):
        bench.feed(worker_event("heartbeat", active=0, processed=1, at=at))
    bench.wait(3)
    assert running(bench, queue="unknown") == 0
    assert bench.value("celery_task_ended_unseen_total", task="t", queue="unknown") == 0
