"""How long attempts are remembered: finished ones, those that never end, and those of a full table."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from celery_metrics_exporter.events import types as events
from celery_metrics_exporter.tasks import finished
from celery_metrics_exporter.tasks.finished import FINISHED_TTL_SECONDS
from celery_metrics_exporter.tasks.matching import MAX_CHAIN
from celery_metrics_exporter.tasks.running import Running
from celery_metrics_exporter.tasks.table import ATTEMPT_TTL_SECONDS
from tests.pipeline import T0
from tests.tasks.table import Table

DAY = 24 * 3600.0


def test_a_finished_task_is_remembered_for_a_while() -> None:
    """Its late task-sent finds it; then it is forgotten, and no attempt stays that nobody would ever remove."""
    table = Table()
    attempt = table.end()
    table.wait(FINISHED_TTL_SECONDS - 1)
    assert table.send() is attempt
    table.wait(FINISHED_TTL_SECONDS)
    assert len(table) == 0
    assert table.evicted == {"capacity": 0, "expired": 0}


@pytest.mark.parametrize("final", [True, False])
def test_a_rejected_task_is_finished_unless_it_is_requeued(final: bool) -> None:
    """A message that will be delivered again goes on."""
    table = Table()
    table.receive()
    table.give_back(final=final)
    table.wait(0)
    table.wait(FINISHED_TTL_SECONDS)
    assert len(table) == (0 if final else 1)


def test_a_task_that_was_opened_again_is_not_forgotten() -> None:
    """What was finished once runs again."""
    table = Table()
    table.send()
    table.receive()
    table.start()
    table.end()
    table.wait(1)
    table.receive(9.0)
    table.wait(FINISHED_TTL_SECONDS)
    assert len(table) == 1


@pytest.mark.parametrize("state", ["runs", "is held"])
def test_a_task_that_another_worker_has_is_not_forgotten(state: str) -> None:
    """A message that was delivered twice has ended once; the other worker may yet tell, or be lost."""
    table = Table()
    table.send()
    for worker in ("w", "x"):
        table.receive(1.0, worker=worker)
    table.start(2.0, worker="x")
    if state == "runs":
        table.start(3.0, worker="w")
    table.end(4.0, worker="x")
    for _ in range(3):
        table.wait(FINISHED_TTL_SECONDS + 1)
    assert len(table) == 1
    if state == "runs":
        table.end(9.0, worker="w")
    else:
        table.alive = {"x"}
    table.wait(1)
    table.wait(FINISHED_TTL_SECONDS + 1)
    assert len(table) == 0


def test_a_task_that_is_published_again_is_not_forgotten() -> None:
    """Somebody used its id again, and the second message still waits in the queue."""
    table = Table()
    table.end(4.0)
    table.send()
    table.send(5.0)
    table.wait(1)
    table.wait(FINISHED_TTL_SECONDS + 1)
    assert len(table) == 1


def test_a_rejected_task_that_is_delivered_all_the_same_is_not_forgotten() -> None:
    """Somebody may put the message back from a dead-letter queue."""
    table = Table()
    table.receive()
    table.give_back(final=True)
    table.wait(1)
    table.receive(9.0)
    table.wait(FINISHED_TTL_SECONDS)
    assert len(table) == 1


def test_a_retried_task_is_not_finished() -> None:
    """Its next attempt may come in hours."""
    table = Table()
    table.end(final=False)
    table.wait(1)
    table.wait(FINISHED_TTL_SECONDS)
    assert len(table) == 1


def test_finished_tasks_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit those that ended first are forgotten at the next sweep, of one sweep or of several."""
    monkeypatch.setattr(finished, "MAX_FINISHED", 10)
    table = Table()
    for first, number in ((0, 7), (7, 7), (14, 25)):
        for uuid in range(first, first + number):
            table.end(uuid=f"u{uuid}")
        table.wait(1)
        assert list(table._heads) == [
            f"u{uuid}" for uuid in range(max(0, first + number - 10), first + number)
        ]


def test_few_finished_tasks_are_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not so many that each sweep would look at them; the daily check finds the others."""
    monkeypatch.setattr(finished, "MAX_FINISHED", 10)
    table = Table()
    for uuid in range(20):
        table.receive(uuid=f"u{uuid}", worker="x")
        table.end(uuid=f"u{uuid}")
    table.wait(1)
    assert len(table._finished.latest) < 10
    assert len(table) == 20


def test_a_full_table_evicts_the_oldest() -> None:
    """It counts those that were not over, and what it evicts does not run for ever."""
    table, running = Table(max_tasks=3), Running()
    for uuid in ("a", "b"):
        attempt = table.start(uuid=uuid)
        assert attempt is not None
        running.begin(attempt)
    table.end(uuid="a")
    for uuid in ("c", "d", "e"):
        table.send(uuid=uuid)
    assert list(table._heads) == ["c", "d", "e"]
    assert table.evicted == {"capacity": 1, "expired": 0}
    assert running.snapshot() == []


def test_a_full_table_makes_room_quickly() -> None:
    """Each task beyond the limit costs about what one below it does, however many have left already."""
    limit = 40_000
    table = Table(max_tasks=limit)
    seconds = []
    for turn in range(4):
        starts = [events.TaskStarted(f"{turn}-{n}", T0, "w@h") for n in range(limit // 2)]
        began = time.process_time()
        for event in starts:
            table.started(event)
        seconds.append(time.process_time() - began)
    assert len(table) == pytest.approx(limit, rel=0.01)
    assert table.evicted["capacity"] == pytest.approx(limit, rel=0.01)
    assert seconds[3] < 5 * seconds[1]


def test_a_task_that_never_ends_expires() -> None:
    """After a day, unless it runs: then after another day."""
    table = Table()
    table.start(uuid="retried")
    table.end(uuid="retried", final=False)
    table.start(uuid="runs")
    table.wait(ATTEMPT_TTL_SECONDS)
    assert list(table._heads) == ["runs"]
    assert table.evicted == {"capacity": 0, "expired": 1}
    table.end(uuid="runs", final=False)
    table.wait(ATTEMPT_TTL_SECONDS - 1)
    assert list(table._heads) == ["runs"]
    table.wait(61)
    assert len(table) == 0


def in_days(days: float) -> str:
    """An ISO time so many days after T0."""
    return datetime.fromtimestamp(T0 + days * DAY, tz=UTC).isoformat()


@pytest.mark.parametrize("event", ["sent", "received", "retry sent", "retry received", "returned"])
def test_a_task_that_waits_for_its_eta_does_not_expire(event: str) -> None:
    """However far that is, and whoever told of it; a week later it is forgotten if nobody has it."""
    table = Table()
    if event.startswith("retry"):
        table.start()
        table.end(final=False)
    retry: dict[str, Any] = {"retries": 1, "parent_id": "u"} if event.startswith("retry") else {}
    if event.endswith("sent"):
        table.send(2.5, eta=in_days(30), **retry)
    else:
        table.receive(9.0, eta=in_days(30), **retry)
    if event == "returned":
        table.give_back(9.5)
    table.alive = set()
    for _ in range(36):
        table.wait(DAY)
    [attempt, *_] = table.chain()
    assert attempt.name == "t"
    for _ in range(2):
        table.wait(DAY)
    assert len(table) == 0
    assert table.evicted == {"capacity": 0, "expired": 1}


def test_a_task_that_a_worker_holds_does_not_expire() -> None:
    """As long as the worker lives: then its message returns to the queue."""
    table = Table()
    table.send()
    table.receive()
    for _ in range(20):
        table.wait(DAY)
    [attempt] = table.chain()
    assert table.start(20 * DAY) is attempt
    assert attempt is not None
    assert attempt.kind == ("t", "q")
    table.receive(uuid="v")
    table.alive = set()
    for _ in range(9):
        table.wait(DAY)
    assert list(table._heads) == ["u"]


@pytest.mark.parametrize("state", ["sent", "returned"])
def test_a_task_waits_in_its_queue_for_a_week(state: str) -> None:
    """A backlog of days is a backlog; longer, and the message is lost or its worker sends no events."""
    table = Table()
    table.send()
    if state == "returned":
        table.receive()
        table.start()
        table.give_back()
    for _ in range(6):
        table.wait(DAY)
    assert len(table) == 1
    for _ in range(2):
        table.wait(DAY)
    assert len(table) == 0


def test_an_attempt_that_is_renewed_is_young() -> None:
    """The table stays in the order of age, by which the old ones are found."""
    table = Table()
    for uuid in ("a", "b"):
        table.start(uuid=uuid)
        table.end(uuid=uuid, final=False)
    table.wait(ATTEMPT_TTL_SECONDS - 1)
    table.start(5.0, uuid="a")
    table.end(6.0, uuid="a", final=False)
    table.wait(61)
    assert list(table._heads) == ["a"]


def test_a_uuid_has_a_limited_number_of_attempts() -> None:
    """A task that is retried for days stays small."""
    table = Table()
    for turn in range(3 * MAX_CHAIN):
        table.send(turn, retries=turn, parent_id="u")
    assert [attempt.retries for attempt in table.chain()] == list(range(3 * MAX_CHAIN))[: -MAX_CHAIN - 1 : -1]
