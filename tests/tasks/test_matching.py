"""Which attempt of several an event belongs to, rule by rule."""

from typing import Any

import pytest

from celery_metrics_exporter.events.types import TaskReceived, TaskRejected, TaskSent
from celery_metrics_exporter.tasks.attempt import NO_OUTCOME
from celery_metrics_exporter.tasks.matching import (
    MAX_CHAIN,
    MAX_EXECUTIONS,
    delivered,
    endable,
    is_published_twice,
    published,
    repeats,
    returnable,
    siblings,
    startable,
    trim,
)
from celery_metrics_exporter.tasks.running import Running
from tests.tasks.chains import chain, make_attempt


def sent(at: float = 9.0, **fields: Any) -> TaskSent:
    """A task-sent."""
    return TaskSent("u", at, **{"name": "t", "queue": "q", "retries": 0, **fields})


def received(at: float = 9.0, **fields: Any) -> TaskReceived:
    """A task-received of the worker w."""
    return TaskReceived("u", at, "w", **{"name": "t", "retries": 0, **fields})


def rejected(at: float = 9.0) -> TaskRejected:
    """A task-rejected of the worker w."""
    return TaskRejected("u", at, "w")


def test_an_event_is_repeated_if_its_worker_sent_it_before() -> None:
    """Kind, worker and timestamp tell, also those of earlier events of an attempt."""
    head, older = chain(make_attempt(started=5.0, worker="w"), make_attempt(started=1.0, worker="w"))
    older.stamp("started", 2.0)
    assert [repeats(head, "started", "w", at) for at in (5.0, 2.0, 1.0, 3.0)] == [True, True, True, False]
    assert not repeats(head, "received", "w", 5.0)
    assert not repeats(head, "started", "x", 5.0)
    assert [repeats(older, "started", worker, 2.0) for worker in "wx"] == [True, False]


def test_a_task_sent_is_repeated_under_the_same_name() -> None:
    """Of several publications at one moment each counts; the name of one that a worker reported may be another."""
    head = make_attempt(sent=9.0)
    assert is_published_twice(head, sent())
    assert not is_published_twice(head, sent(8.0))
    assert not is_published_twice(head, sent(name="t2"))
    head.received = 10.0
    assert is_published_twice(head, sent(name="t2"))


class TestPublished:
    """Of a task-sent."""

    @pytest.mark.parametrize(
        ("fields", "fits"),
        [
            ({}, True),
            ({"retries": 0}, True),
            ({"retries": 1}, False),
            ({"name": None}, True),
            ({"name": "shadow"}, True),
            ({"name": None, "retries": 1}, False),
            ({"is_republished": True}, True),
            ({"is_republished": True, "received": 1.0}, False),
            ({"sent": 1.0}, False),
        ],
    )
    def test_the_only_attempt(self, fields: dict[str, Any], fits: bool) -> None:
        """One that a worker told of first is it, unless its retry count or its parent say otherwise."""
        head = make_attempt(**fields)
        assert published(head, sent()) is (head if fits else None)

    def test_a_replacement(self) -> None:
        """It has its own uuid as parent."""
        head = make_attempt("t2", received=1.0, retries=0)
        assert published(head, sent(parent_id="u")) is None
        head.is_republished = True
        assert published(head, sent(parent_id="u")) is head

    def test_name_and_retry_count_beat_the_age(self) -> None:
        """Of several without a task-sent the one of this name, else of this retry count, else the newest."""
        head, counted, named = chain(
            make_attempt("x"), make_attempt("x", retries=0), make_attempt("t", retries=0)
        )
        assert published(head, sent()) is named
        named.sent = 1.0
        assert published(head, sent()) is counted
        counted.sent = 2.0
        assert published(head, sent()) is head

    def test_siblings_are_of_one_publication(self) -> None:
        """Of the same retry count, and not known to be sent at another time; a worker told of each."""
        head, same, _, _, _, _ = chain(
            make_attempt(worker="w", retries=0),
            make_attempt(worker="x", retries=0),
            make_attempt(worker="x", retries=1),
            make_attempt(retries=0),
            make_attempt(worker="x", retries=0, sent=1.0),
            make_attempt(worker="x", retries=0, is_republished=True),
        )
        assert siblings(head, head) == [same]

    def test_the_attempt_after_a_retry_is_no_sibling(self) -> None:
        """Though nothing is known of either but what the worker told."""
        head, older = chain(make_attempt(worker="w"), make_attempt(worker="w", will_retry=True))
        assert siblings(head, head) == siblings(head, older) == []


class TestDelivered:
    """Of a task-received."""

    def test_the_only_attempt(self) -> None:
        """One that was only published is it, unless its retry count or its parent say otherwise."""
        head = make_attempt(retries=0, sent=1.0)
        assert delivered(head, received()) is head
        assert delivered(head, received(name="shadow")) is head
        assert delivered(head, received(retries=1)) is None
        assert delivered(head, received(name="t2", parent_id="u")) is None

    def test_one_that_was_delivered_before_is_delivered_again(self) -> None:
        """A redelivery has the same name and retry count, and a worker has it rather than runs it."""
        head, reserved, older = chain(
            make_attempt(received=6.0, retries=0, worker="w", open=True),
            make_attempt(received=5.0, retries=0, worker="w", reserved=True),
            make_attempt(received=1.0, retries=1, worker="w", is_republished=True),
        )
        assert delivered(head, received(retries=0)) is reserved
        assert delivered(head, received(retries=1)) is older
        assert delivered(head, received(name="t2")) is None

    def test_published_attempts_come_first(self) -> None:
        """Before one that would be delivered again, those that waited longest first."""
        head, _, older = chain(
            make_attempt(received=5.0, retries=0, worker="w"),
            make_attempt(sent=4.0),
            make_attempt(sent=3.0),
        )
        assert delivered(head, received()) is older

    def test_an_attempt_of_another_worker(self) -> None:
        """The caller opens a sibling of it."""
        head, running, _ = chain(
            make_attempt("t2", received=5.0, worker="x"),
            make_attempt(received=4.0, worker="x", open=True),
            make_attempt(received=3.0, worker="y"),
        )
        assert delivered(head, received()) is running
        assert delivered(head, received(name="t3")) is None

    def test_an_attempt_that_ended_undelivered(self) -> None:
        """It was not delivered afterwards; its task-received may be told late."""
        head = make_attempt(ended=9.5, worker="w")
        assert delivered(head, received(9.0)) is head
        assert delivered(head, received(9.6)) is None
        head.ended = NO_OUTCOME
        assert delivered(head, received(9.6)) is head


class TestStartable:
    """Of a task-started, which carries neither name nor retry count."""

    def test_the_oldest_that_the_worker_has_reserved(self) -> None:
        """A worker starts what it received first, whichever was heard of first."""
        head, oldest, last = chain(
            *(make_attempt(reserved=True, worker="w", received=at) for at in (2.0, 1.0, 3.0))
        )
        assert startable(head, "w") is oldest
        oldest.reserved = False
        assert startable(head, "w") is head
        head.reserved = False
        assert startable(head, "w") is last

    def test_else_the_newest_that_is_only_published(self) -> None:
        """The delivery to this one was missed."""
        head, newest, _ = chain(
            make_attempt(reserved=True, worker="x"), make_attempt(sent=2.0), make_attempt(sent=1.0)
        )
        assert startable(head, "w") is newest

    def test_else_its_newest(self) -> None:
        """The message is delivered again, rather to an attempt that does not run."""
        _, head, stopped, older = chain(
            make_attempt(worker="x", reserved=True),
            make_attempt(worker="w", received=3.0, open=True),
            make_attempt(worker="w", received=2.0),
            make_attempt(worker="w", received=1.0),
        )
        assert startable(head, "w") is stopped
        stopped.open = older.open = True
        assert startable(head, "w") is head  # the caller opens a sibling

    def test_else_one_of_another_worker(self) -> None:
        """The newest that nothing has replaced; the caller opens a sibling."""
        head, newest, _ = chain(
            make_attempt(worker="x", ended=NO_OUTCOME), make_attempt(worker="y"), make_attempt(worker="x")
        )
        assert startable(head, "w") is newest


class TestReturnable:
    """Of a task-rejected or task-cancelled."""

    def test_what_the_worker_has(self) -> None:
        """What it runs, else holds, else had, else what is only published, else another worker's."""
        head, ended, reserved, running, published = chain(
            make_attempt(worker="x"),
            make_attempt(worker="w", received=3.0),
            make_attempt(worker="w", received=2.0, reserved=True),
            make_attempt(worker="w", received=1.0, open=True),
            make_attempt(sent=1.0),
        )
        for attempt in (running, reserved, ended, published):
            assert returnable(head, rejected()) is attempt
            attempt.worker = "y"
        assert returnable(head, rejected()) is head

    def test_an_execution_of_later(self) -> None:
        """An answer may tell of the next start before this event arrives, and that one runs on."""
        later, running = chain(
            make_attempt(worker="w", started=9.5, open=True, unconfirmed=True),
            make_attempt(worker="w", started=2.0, open=True),
        )
        assert returnable(later, rejected(9.0)) is running
        assert returnable(later, rejected(9.6)) is later


class TestEndable:
    """Of an outcome, which carries neither name nor retry count."""

    def test_a_retry_ends_the_oldest_that_runs_here(self) -> None:
        """The next attempt may have started before the retry is told."""
        head, _, oldest, _ = chain(
            make_attempt(retries=2, open=True, worker="w", received=3.0),
            make_attempt(retries=1, open=True, worker="w", received=2.0),
            make_attempt(retries=0, open=True, worker="w", received=1.0),
            make_attempt(retries=0, open=True, worker="x", received=0.5),
        )
        assert endable(head, "w", final=False) is oldest

    def test_a_final_outcome_ends_the_newest_that_runs_here(self) -> None:
        """None but the last attempt can have one."""
        head, newest, _ = chain(
            make_attempt(retries=0, open=True, worker="w", received=1.0),
            make_attempt(retries=1, open=True, worker="w", received=2.0),
            make_attempt(retries=1, open=True, worker="x", received=3.0),
        )
        assert endable(head, "w", final=True) is newest

    def test_a_retry_of_what_is_not_known_to_run(self) -> None:
        """The oldest of this worker without an outcome, else the newest published one, else none."""
        head, mine, oldest, other = chain(
            make_attempt(sent=3.0),
            make_attempt(worker="w", received=2.0),
            make_attempt(worker="w", received=1.0),
            make_attempt(worker="x", open=True),
        )
        assert endable(head, "w", final=False) is oldest
        oldest.ended = 1.0
        assert endable(head, "w", final=False) is mine
        mine.ended = 2.0
        assert endable(head, "w", final=False) is head
        assert endable(other, "w", final=False) is None

    def test_a_final_outcome_of_what_is_not_known_to_run(self) -> None:
        """The newest of this worker without an outcome, else the newest published one, else none."""
        head, mine, other = chain(
            make_attempt(sent=3.0),
            make_attempt(worker="w", received=2.0),
            make_attempt(worker="x", open=True),
        )
        assert endable(head, "w", final=True) is mine
        mine.ended, mine.will_retry = 2.0, True
        assert endable(head, "w", final=True) is head
        assert endable(other, "w", final=True) is None

    def test_a_repeated_outcome_belongs_to_the_settled_attempt_of_this_worker(self) -> None:
        """A hard time limit is told twice; the second belongs where the first did."""
        head, settled = chain(make_attempt(retries=1, sent=2.0), make_attempt(ended=1.0, worker="w"))
        assert endable(head, "w", final=True) is settled
        assert endable(head, "x", final=True) is head

    def test_what_runs_comes_before_what_ended(self) -> None:
        """A message that the worker has twice ends twice, in either order."""
        for running, settled in ((2.0, 1.0), (1.0, 2.0)):
            head, _ = chain(
                make_attempt(retries=0, open=True, worker="w", received=running),
                make_attempt(retries=0, ended=3.0, worker="w", received=settled),
            )
            assert endable(head, "w", final=True) is head

    def test_nothing_before_a_settled_attempt_can_have_a_final_outcome(self) -> None:
        """A lower retry count has ended in a retry that is told late; a later delivery is a replacement."""
        head, running = chain(
            make_attempt(retries=1, ended=1.0, worker="w", received=2.0),
            make_attempt(retries=0, open=True, worker="w", received=1.0),
        )
        assert endable(head, "w", final=True) is head  # a repetition
        running.received = 3.0
        assert endable(head, "w", final=True) is running

    def test_a_retry_settles_nothing(self) -> None:
        """What runs before it may still come to a final outcome, however that is."""
        head, older = chain(
            make_attempt(retries=1, ended=2.0, will_retry=True, worker="w"),
            make_attempt(retries=0, open=True, worker="w"),
        )
        assert endable(head, "w", final=True) is older

    def test_a_superseded_attempt_has_an_outcome_only_if_it_must(self) -> None:
        """The task that took its place has it, unless that is elsewhere: then another execution was replaced."""
        head, older, _ = chain(
            make_attempt("t2", ended=NO_OUTCOME, worker="w"),
            make_attempt("t", worker="w"),
            make_attempt(sent=1.0),
        )
        assert endable(head, "w", final=True) is older
        older.worker = "x"
        assert endable(head, "w", final=True) is head


def test_a_long_chain_is_trimmed() -> None:
    """The newest attempts stay; what is cut off runs no more."""
    attempts = chain(*(make_attempt(open=True, worker="w") for _ in range(MAX_CHAIN + 3)))
    running = Running()
    for attempt in attempts:
        running.begin(attempt)
    trim(attempts[0])
    assert list(attempts[0].chain()) == running.snapshot() == list(attempts[:MAX_CHAIN])


@pytest.mark.parametrize(
    "state", [{"open": True, "retries": 1}, {"reserved": True, "retries": 1}, {"retries": 0}]
)
def test_what_other_workers_have_is_not_trimmed(state: dict[str, Any]) -> None:
    """Nor executions of the newest publication; all are bounded together."""
    others = (make_attempt(worker=f"x{n}", **state) for n in range(MAX_EXECUTIONS + 20))
    attempts = chain(make_attempt(worker="w", retries=0), *others)
    trim(attempts[0])
    assert list(attempts[0].chain()) == list(attempts[:MAX_EXECUTIONS])


def test_what_no_worker_has_is_trimmed() -> None:
    """From between what is kept."""
    old = [make_attempt(worker=f"x{n}", ended=1.0, retries=n) for n in range(1, 20)]
    kept = make_attempt(worker="y", open=True, retries=99)
    attempts = chain(make_attempt(worker="w", retries=0), *old, kept)
    trim(attempts[0])
    assert list(attempts[0].chain()) == [*attempts[:MAX_CHAIN], kept]


@pytest.mark.parametrize("length", [1, MAX_CHAIN - 1, MAX_CHAIN])
def test_a_short_chain_stays(length: int) -> None:
    """Nothing is cut off."""
    attempts = chain(*(make_attempt() for _ in range(length)))
    trim(attempts[0])
    assert list(attempts[0].chain()) == list(attempts)
