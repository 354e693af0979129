"""The table of attempts: which events belong together, which are repetitions, and how long they are remembered."""

import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from celery_metrics_exporter.clock import BatchClock
from celery_metrics_exporter.events import types as events
from celery_metrics_exporter.tasks import finished
from celery_metrics_exporter.tasks.attempt import Attempt
from celery_metrics_exporter.tasks.finished import FINISHED_TTL_SECONDS
from celery_metrics_exporter.tasks.inflight import ATTEMPT_TTL_SECONDS, Inflight
from celery_metrics_exporter.tasks.matching import MAX_CHAIN
from celery_metrics_exporter.tasks.running import Running
from tests.pipeline import T0, Bench, FakeTime, received, sent


class Table(Inflight):
    """A table on a clock that tests turn, with events made on the way: times are seconds after T0."""

    def __init__(self, *, max_tasks: int = 100) -> None:
        self.time = FakeTime()
        super().__init__(BatchClock(self.time.clock()), max_tasks=max_tasks)

    def wait(self, seconds: float) -> None:
        """Let time pass, and sweep."""
        self.time.elapsed += seconds
        self._now.read()
        self.sweep()

    def send(self, at: float = 0.0, uuid: str = "u", **more: Any) -> Attempt | None:
        """A task-sent."""
        fields = {"name": "t", "queue": "q", "retries": 0, **more}
        return self.sent(events.TaskSent(uuid, T0 + at, "client", **fields))

    def receive(self, at: float = 1.0, uuid: str = "u", worker: str = "w", **more: Any) -> Attempt | None:
        """A task-received."""
        fields = {"name": "t", "retries": 0, **more}
        return self.received(events.TaskReceived(uuid, T0 + at, worker, **fields))

    def start(self, at: float = 2.0, uuid: str = "u", worker: str = "w") -> Attempt | None:
        """A task-started."""
        return self.started(events.TaskStarted(uuid, T0 + at, worker))

    def end(
        self, at: float = 3.0, uuid: str = "u", worker: str = "w", *, final: bool = True
    ) -> Attempt | None:
        """A task-succeeded, or a task-retried unless it is final."""
        kind = events.TaskSucceeded if final else events.TaskRetried
        return self.ended(kind(uuid, T0 + at, worker), final=final)

    def give_back(
        self, at: float = 3.0, uuid: str = "u", worker: str = "w", *, final: bool = False
    ) -> Attempt | None:
        """A task-rejected."""
        return self.returned(events.TaskRejected(uuid, T0 + at, worker), final=final)

    def chain(self, uuid: str = "u") -> list[Attempt]:
        """The attempts of a task, newest first."""
        return list(self._heads[uuid].chain())


def test_the_events_of_a_plain_life_are_of_one_attempt() -> None:
    """Each adds what it tells."""
    table = Table()
    found = [table.send(), table.receive(), table.start(), table.end()]
    [attempt] = table.chain()
    assert all(each is attempt for each in found)
    assert attempt.kind == ("t", "q")
    times = (attempt.sent, attempt.received, attempt.started, attempt.ended)
    assert times == (T0, T0 + 1, T0 + 2, T0 + 3)
    assert (attempt.retries, attempt.worker, attempt.open, attempt.reserved) == (0, "w", 0, False)
    assert attempt.is_settled


@pytest.mark.parametrize(
    "order", [(3, 2, 1, 0), (1, 0, 2, 3), (1, 2, 0, 3), (2, 1, 0, 3), (0, 2, 1, 3), (1, 2, 3, 0)]
)
def test_the_order_of_events_does_not_matter(order: tuple[int, ...]) -> None:
    """In whatever order they come, the first attempt has them all, and none is left open for ever."""
    table = Table()
    steps: tuple[Callable[[], Attempt | None], ...] = (table.send, table.receive, table.start, table.end)
    for step in order:
        assert steps[step]() is not None
    [attempt] = table.chain()
    times = (attempt.sent, attempt.received, attempt.started, attempt.ended)
    assert times[:3] == (T0, T0 + 1, T0 + 2)
    assert attempt.kind == ("t", "q")


@pytest.mark.parametrize("step", ["send", "receive", "start", "end", "give_back"])
@pytest.mark.parametrize("later", [False, True])
def test_the_very_same_event_again(step: str, later: bool) -> None:
    """It says nothing, at once or after others of its kind."""
    table = Table()
    assert getattr(table, step)(5.0) is not None
    if later:
        table.receive(6.0)
        table.start(6.5)
        getattr(table, step)(7.0)
    assert getattr(table, step)(5.0) is None


@pytest.mark.parametrize("missed", [False, True])
def test_a_second_outcome_of_an_attempt(missed: bool) -> None:
    """A hard time limit is told twice, a little later; of a start that was missed too."""
    table = Table()
    if not missed:
        table.send()
        table.receive()
        table.start()
    assert table.end(3.0) is not None
    assert table.end(3.1) is None


def test_an_outcome_that_is_repeated_while_the_task_runs_again() -> None:
    """The outcome of the delivery before does not end this one."""
    table = Table()
    attempt = table.send()
    table.receive()
    table.start()
    table.end(3.0)
    table.receive(4.0)
    table.start(5.0)
    assert table.end(3.0) is None
    assert attempt is not None
    assert attempt.open == 1


def test_the_newest_of_two_running_attempts_has_the_outcome() -> None:
    """The retry count tells which is the newest, not the order in which they were heard of."""
    table = Table()
    newest = table.receive(4.0, retries=1)
    table.start(5.0)
    oldest = table.receive(1.0, retries=0)
    assert table.start(2.0) is oldest
    assert table.chain() == [oldest, newest]
    assert table.end(6.0) is newest


def test_a_message_that_is_delivered_again_has_another_outcome() -> None:
    """The attempt is open again, whether the delivery or the start is told first."""
    for step in ("receive", "start"):
        table = Table()
        attempt = table.send()
        table.receive()
        table.start()
        table.end()
        assert getattr(table, step)(4.0) is attempt
        assert attempt is not None
        assert not attempt.has_outcome
        assert table.end(6.0) is attempt


def test_a_message_that_runs_twice_has_two_outcomes() -> None:
    """Two workers hold it at the same time: each start can end."""
    table = Table()
    attempt = table.send()
    table.receive(1.0, worker="w")
    table.start(2.0, worker="w")
    table.receive(3.0, worker="x")
    table.start(4.0, worker="x")
    assert attempt is not None
    assert attempt.open == 2
    assert table.end(5.0, worker="x") is attempt
    assert not attempt.has_outcome
    assert table.end(6.0, worker="x") is attempt
    assert attempt.is_settled


def test_a_retry_is_an_attempt_of_its_own() -> None:
    """Under the same uuid, with a higher retry count, before or after the worker tells of the retry."""
    for retried_first in (True, False):
        table = Table()
        first = table.send()
        table.receive()
        table.start()
        if retried_first:
            assert table.end(3.0, final=False) is first
        second = table.send(2.5, retries=1, parent_id="u")
        if not retried_first:
            assert table.end(3.0, final=False) is first
        assert first is not None
        assert first.will_retry
        assert table.receive(4.0, retries=1, parent_id="u") is second
        assert table.start(5.0) is second
        assert table.end(6.0) is second
        assert table.chain() == [second, first]


def test_a_start_after_a_retry_opens_the_next_attempt() -> None:
    """Its publication and delivery were missed; it has the same name."""
    table = Table()
    first = table.send()
    table.receive()
    table.start()
    table.end(final=False)
    second = table.start(5.0)
    assert second is not first
    assert second is not None
    assert second.kind == ("t", None)


@pytest.mark.parametrize("step", ["start", "end"])
def test_an_event_of_a_worker_that_does_not_have_it(step: str) -> None:
    """What another worker holds is another attempt."""
    table = Table()
    first = table.receive(worker="x")
    second = getattr(table, step)(5.0, worker="w")
    assert second is not first
    assert table.chain() == [second, first]


def test_an_outcome_after_a_retry_is_of_the_next_attempt() -> None:
    """All else of that one was missed."""
    table = Table()
    table.receive()
    table.start()
    first = table.end(final=False)
    second = table.end(5.0, worker="x")
    assert table.chain() == [second, first]


def test_a_retry_that_is_told_after_the_outcome() -> None:
    """It was of an attempt before, of which nothing else came."""
    table = Table()
    outcome = table.end(5.0)
    retried = table.end(3.0, final=False)
    assert table.chain() == [outcome, retried]


def test_a_late_retry_forgets_no_older_attempt() -> None:
    """A retry that is put before a known outcome keeps the attempts behind it, whose events may be repeated."""
    table = Table()
    first = table.end(4.0, final=False)
    outcome = table.end(10.0, worker="x")
    late = table.end(8.0, final=False)
    assert table.chain() == [outcome, late, first]
    assert table.end(4.0, final=False) is None


def test_a_first_publication_that_is_told_last() -> None:
    """Retries name their own uuid as parent, so that one without is the oldest, however late it comes."""
    table = Table()
    second = table.send(5.0, retries=1, parent_id="u")
    first = table.send(0.0)
    assert table.chain() == [second, first]
    third = table.send(9.0, retries=2, parent_id="u")
    assert table.chain() == [third, second, first]


def test_after_a_final_outcome_nothing_of_the_task_runs() -> None:
    """Of an attempt that still seems to run elsewhere, the end was missed."""
    table, running = Table(), Running()
    first = table.start(worker="x")
    assert first is not None
    running.begin(first)
    second = table.end(5.0)
    assert table.chain() == [second, first]
    assert running.snapshot() == []


def test_a_replacement_ends_what_it_replaces() -> None:
    """Without an outcome, and the task that runs later is the replacement."""
    table = Table()
    first = table.receive()
    table.start()
    second = table.receive(5.0, name="t2", parent_id="u")
    assert first is not None
    assert first.is_superseded
    assert table.start(6.0) is second
    assert table.end(7.0) is second


def test_a_message_that_was_given_back() -> None:
    """Its worker has it no more; the attempt of another worker is left alone."""
    table = Table()
    first = table.receive(worker="x")
    table.start(worker="x")
    second = table.receive(4.0, retries=1)
    assert table.give_back(5.0, worker="x") is first
    assert first is not None
    assert second is not None
    assert (first.open, second.reserved) == (0, True)
    assert table.give_back(6.0) is second
    assert not second.reserved


def test_when_a_task_was_sent() -> None:
    """The latest task-sent of a uuid, wherever in its chain."""
    table = Table()
    assert table.sent_at("u") is None
    table.receive()
    assert table.sent_at("u") is None
    table.send()
    table.start(5.0)
    table.end(final=False)
    table.start(6.0)
    assert table.sent_at("u") == T0
    table.send(7.0, retries=1)
    assert table.sent_at("u") == T0 + 7


def test_what_an_event_does_not_tell_stays_known() -> None:
    """A task-received without a name, as of a broken client, takes away neither name nor queue."""
    table = Table()
    attempt = table.send()
    assert table.receive(name=None, retries=None) is attempt
    assert attempt is not None
    assert (attempt.kind, attempt.retries) == (("t", "q"), 0)


def test_an_eta_is_taken_from_either_event() -> None:
    """That of the task-sent is the better one."""
    table, eta, other = Table(), "2023-11-14T22:13:30+00:00", "2023-11-14T22:13:40+00:00"
    delivered = table.receive(eta=eta)
    assert delivered is not None
    assert delivered.eta == T0 + 10
    table.send(eta=other)
    assert delivered.eta == T0 + 20
    table.receive(5.0, eta=eta)
    assert delivered.eta == T0 + 20


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


def test_tasks_share_what_they_have_in_common() -> None:
    """An ordinary task keeps its id and its times; names, workers and what only odd tasks have are kept once."""
    bench = Bench()
    for n in range(100):
        bench.feed(sent(f"u{n}"), received(f"u{n}"))
    table = list(bench.pipeline._tasks._inflight._heads.values())
    assert len(table) == 100
    for field in ("kind", "worker", "details", "counts"):
        assert len({id(getattr(attempt, field)) for attempt in table}) == 1
    assert sys.getsizeof(table[0]) <= 112
