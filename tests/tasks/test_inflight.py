"""Which events belong to one attempt, and which are repetitions."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

from celery_metrics_exporter.tasks.attempt import Attempt
from celery_metrics_exporter.tasks.running import Running
from tests.pipeline import T0, Bench, received, sent
from tests.tasks.table import Table


def test_the_events_of_a_plain_life_are_of_one_attempt() -> None:
    """Each adds what it tells."""
    table, running = Table(), Running()
    found = [table.send(), table.receive(), table.start()]
    [attempt] = table.chain()
    running.begin(attempt)
    found.append(table.end())
    assert running.snapshot() == []
    assert all(each is attempt for each in found)
    assert attempt.kind == ("t", "q")
    times = (attempt.sent, attempt.received, attempt.started, attempt.ended)
    assert times == (T0, T0 + 1, T0 + 2, T0 + 3)
    assert (attempt.retries, attempt.worker, attempt.open, attempt.reserved) == (0, "w", False, False)
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
@pytest.mark.parametrize("first_seen", [False, True])
def test_the_very_same_event_again(step: str, later: bool, first_seen: bool) -> None:
    """It says nothing, at once or after others of its kind, whether or not all events before it came."""
    table = Table()
    if not first_seen:
        for before in ("send", "receive", "start"):
            if before == step:
                break
            getattr(table, before)()
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
    assert attempt.open


def test_the_newest_of_two_running_attempts_has_the_outcome() -> None:
    """The retry count tells which is the newest, not the order in which they were heard of."""
    table = Table()
    newest = table.receive(4.0, retries=1)
    table.start(5.0)
    oldest = table.receive(1.0, retries=0)
    assert table.start(2.0) is oldest
    assert table.chain() == [newest, oldest]
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


@pytest.mark.parametrize("later", [{"retries": 1}, {"name": "t2"}])
def test_after_a_final_outcome_nothing_before_it_runs_there(later: dict[str, Any]) -> None:
    """Of an attempt before it, on the same worker, the end was missed; elsewhere it is another execution."""
    table, running = Table(), Running()
    for worker in ("x", "w"):
        table.receive(0.5, worker=worker)
        first = table.start(worker=worker)
        assert first is not None
        running.begin(first)
    table.receive(3.0, **later)
    table.start(4.0)
    table.end(5.0)
    assert [attempt.worker for attempt in running.snapshot()] == ["x"]


def test_a_replacement_that_is_delivered_before_it_is_published() -> None:
    """Another name is another attempt, however plain the task was until then."""
    table = Table()
    first = table.send()
    second = table.receive(5.0, name="t2", parent_id="u")
    assert table.chain() == [second, first]


def test_a_replacement_that_is_published_before_what_it_replaces() -> None:
    """It names its own uuid as parent, and has no higher retry count."""
    table = Table()
    second = table.send(5.0, name="t2", parent_id="u")
    first = table.send(0.0)
    assert table.chain() == [second, first]


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
    assert (first.open, second.reserved) == (False, True)
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
    published = table.send(uuid="v", eta=eta)
    assert published is not None
    assert published.eta == T0 + 10
    plain = table.send(uuid="w")
    assert table.receive(uuid="w", eta=eta) is plain
    assert plain is not None
    assert plain.eta == T0 + 10


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


def test_attempts_share_the_label_of_queues_of_one_process_each() -> None:
    """What is interned has room for many (task, queue), not for each process that there ever was."""
    table = Table()
    for number in range(20):
        table.send(uuid=str(number), queue=f"bcast.{number:08x}-d9cb-469f-a165-70867728950e")
    assert len({id(table.chain(str(number))[0].kind) for number in range(20)}) == 1
    assert table.chain("7")[0].queue == "bcast.*"
