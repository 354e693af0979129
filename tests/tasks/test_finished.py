"""How long attempts are remembered: finished ones, those that never end, and those of a full table."""

import time

import pytest

from celery_metrics_exporter.events import types as events
from celery_metrics_exporter.tasks import finished
from celery_metrics_exporter.tasks.finished import FINISHED_TTL_SECONDS
from celery_metrics_exporter.tasks.inflight import ATTEMPT_TTL_SECONDS
from celery_metrics_exporter.tasks.matching import MAX_CHAIN
from celery_metrics_exporter.tasks.running import Running
from tests.pipeline import T0
from tests.tasks.table import Table


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


def test_a_task_that_still_runs_elsewhere_is_not_forgotten() -> None:
    """A message that was delivered twice has ended once."""
    table = Table()
    for worker, at in (("w", 1.0), ("x", 3.0)):
        table.receive(at, worker=worker)
        table.start(at + 1, worker=worker)
    table.end(5.0, worker="x")
    table.wait(1)
    table.wait(FINISHED_TTL_SECONDS)
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
    table.send(uuid="waits")
    table.start(uuid="runs")
    table.wait(ATTEMPT_TTL_SECONDS)
    assert list(table._heads) == ["runs"]
    assert table.evicted == {"capacity": 0, "expired": 1}
    table.end(uuid="runs", final=False)
    table.wait(ATTEMPT_TTL_SECONDS - 1)
    assert list(table._heads) == ["runs"]
    table.wait(61)
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
