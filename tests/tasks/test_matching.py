"""Which attempt of several an event belongs to, rule by rule."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest

from celery_metrics_exporter.events.types import TaskReceived, TaskSent
from celery_metrics_exporter.tasks.attempt import NO_OUTCOME, Attempt
from celery_metrics_exporter.tasks.matching import (
    MAX_CHAIN,
    delivered,
    endable,
    published,
    repeats,
    startable,
    supersede,
    trim,
)
from celery_metrics_exporter.tasks.running import Running


def make_attempt(name: str | None = "t", queue: str | None = None, **fields: Any) -> Attempt:
    """An attempt with these fields."""
    attempt = Attempt(0.0, (name, queue))
    for field, value in fields.items():
        setattr(attempt, field, value)
    return attempt


def chain(*attempts: Attempt) -> Sequence[Attempt]:
    """Link these attempts, newest first."""
    for newer, older in pairwise(attempts):
        newer.older = older
    return attempts


def sent(at: float = 9.0, **fields: Any) -> TaskSent:
    """A task-sent."""
    return TaskSent("u", at, name="t", **{"queue": "q", "retries": 0, **fields})


def received(at: float = 9.0, *, retries: int | None = 0, name: str | None = "t") -> TaskReceived:
    """A task-received."""
    return TaskReceived("u", at, "w", name=name, retries=retries)


def test_an_event_is_repeated_whichever_attempt_had_it() -> None:
    """The kind and the timestamp tell, also those of earlier events of an attempt."""
    head, older = chain(make_attempt(started=5.0), make_attempt(started=1.0))
    older.stamp("started", 2.0)
    assert [repeats(head, "started", at) for at in (5.0, 2.0, 1.0, 3.0)] == [True, True, True, False]
    assert not repeats(head, "received", 5.0)


class TestPublished:
    """Of a task-sent."""

    @pytest.mark.parametrize(
        ("fields", "fits"),
        [
            ({}, True),
            ({"retries": 0}, True),
            ({"retries": 1}, False),
            ({"name": None}, True),
            ({"name": "other"}, False),
            ({"name": None, "retries": 1}, False),
        ],
    )
    def test_the_only_attempt(self, fields: dict[str, Any], fits: bool) -> None:
        """One that a worker told of first is it unless name or retry count say otherwise."""
        head = make_attempt(**fields)
        assert published(head, sent()) is (head if fits else None)

    def test_one_that_is_published_already(self) -> None:
        """The same task again is another publication, except to the same queue, where it is told again."""
        head = make_attempt(queue="q", sent=1.0, retries=0)
        assert published(head, sent(queue="q")) is head
        assert published(head, sent(queue="elsewhere")) is None

    def test_the_very_event_again(self) -> None:
        """It belongs where it was before, though another attempt lacks its task-sent."""
        head, older = chain(make_attempt(), make_attempt(queue="q", sent=9.0))
        assert published(head, sent(9.0)) is older

    def test_the_retry_count_beats_the_age(self) -> None:
        """Among those without a task-sent the one of this retry count, else the newest, before any published one."""
        head, first, second = chain(
            make_attempt(), make_attempt(retries=0), make_attempt(queue="q", sent=1.0, retries=0)
        )
        assert published(head, sent()) is first
        first.sent = 2.0
        assert published(head, sent()) is head
        head.sent = 3.0
        assert published(head, sent()) is second


class TestDelivered:
    """Of a task-received."""

    def test_the_only_attempt(self) -> None:
        """It is it unless name or retry count say otherwise."""
        head = make_attempt(retries=0)
        assert delivered(head, received()) is head
        assert delivered(head, received(retries=1)) is None
        assert delivered(head, received(name="other")) is None

    def test_one_that_was_delivered_before_is_delivered_again(self) -> None:
        """A redelivery has the same retry count."""
        head, older = chain(make_attempt(received=5.0, retries=1), make_attempt(received=1.0, retries=0))
        assert delivered(head, received(retries=0)) is older
        assert delivered(head, received(retries=1)) is head

    def test_undelivered_attempts_come_first(self) -> None:
        """Before one that would be delivered again, though that is newer and of the right retry count."""
        head, older = chain(make_attempt(received=5.0, retries=0), make_attempt())
        assert delivered(head, received()) is older

    def test_an_attempt_that_ended_undelivered_was_not_delivered_now(self) -> None:
        """Its task-received was missed; one without an outcome due to a replacement may come late."""
        head = make_attempt(ended=5.0)
        assert delivered(head, received()) is None
        head.ended = NO_OUTCOME
        assert delivered(head, received()) is head

    def test_the_very_event_again(self) -> None:
        """It belongs where it was before."""
        head, older = chain(make_attempt(), make_attempt(received=9.0))
        assert delivered(head, received(9.0)) is older


class TestStartable:
    """Of a task-started, which carries neither name nor retry count."""

    def test_the_oldest_that_the_worker_has_reserved(self) -> None:
        """A worker starts what it received first."""
        head, middle, oldest = chain(
            *(make_attempt(retries=2 - number, reserved=True, worker="w") for number in range(3))
        )
        assert startable(head, "w") is oldest
        oldest.reserved = False
        assert startable(head, "w") is middle

    def test_else_the_newest_that_any_worker_has_reserved(self) -> None:
        """The delivery to this one was missed."""
        head, reserved, _ = chain(
            make_attempt(retries=2),
            make_attempt(retries=1, reserved=True, worker="x"),
            make_attempt(retries=0, reserved=True, worker="x"),
        )
        assert startable(head, "w") is reserved

    def test_else_the_newest(self) -> None:
        """Nothing is known to be reserved."""
        head, _ = chain(make_attempt(), make_attempt(worker="w"))
        assert startable(head, "w") is head

    def test_the_retry_count_tells_the_order(self) -> None:
        """Events of workers may open the attempts in another order; unknown counts are the newest."""
        head, newest, _ = chain(
            make_attempt(retries=0, reserved=True, worker="x"),
            make_attempt(retries=2, reserved=True, worker="x"),
            make_attempt(retries=1, reserved=True, worker="x"),
        )
        assert startable(head, "w") is newest
        newest.details = make_attempt().details
        newest.older = make_attempt(retries=5, reserved=True, worker="x")
        assert startable(head, "w") is newest


class TestEndable:
    """Of an outcome, which carries neither name nor retry count."""

    def test_a_retry_ends_the_oldest_that_runs_here(self) -> None:
        """The next attempt may have started before the retry is told."""
        head, middle, _ = chain(
            make_attempt(retries=2, open=1, worker="w"),
            make_attempt(retries=1, open=1, worker="w"),
            make_attempt(retries=0, open=1, worker="x"),
        )
        assert endable(head, "w", final=False) is middle

    def test_a_final_outcome_ends_the_newest_that_runs_here(self) -> None:
        """None but the last attempt can have one."""
        head, _, _ = chain(
            make_attempt(retries=2, open=1, worker="w"),
            make_attempt(retries=1, open=1, worker="w"),
            make_attempt(retries=0, open=1, worker="w"),
        )
        assert endable(head, "w", final=True) is head

    def test_a_retry_of_what_is_not_known_to_run(self) -> None:
        """The oldest without an outcome that this worker told of, else the newest that no other worker has."""
        head, mine, older = chain(
            make_attempt(retries=2), make_attempt(retries=1, worker="w"), make_attempt(retries=0, worker="w")
        )
        assert endable(head, "w", final=False) is older
        older.ended = 1.0
        assert endable(head, "w", final=False) is mine
        mine.ended = 2.0
        assert endable(head, "w", final=False) is head
        head.worker, head.open = "x", 1
        assert endable(head, "w", final=False) is head  # then none fits; the caller opens another one

    def test_a_final_outcome_of_what_is_not_known_to_run(self) -> None:
        """The newest without an outcome that no other worker has."""
        head, free, _ = chain(
            make_attempt(retries=2, open=1, worker="x"), make_attempt(retries=1), make_attempt(retries=0)
        )
        assert endable(head, "w", final=True) is free

    def test_a_repeated_outcome_belongs_to_the_settled_attempt_of_this_worker(self) -> None:
        """A hard time limit is told twice; the second belongs where the first did."""
        head, settled = chain(make_attempt(retries=1), make_attempt(retries=0, ended=1.0, worker="w"))
        assert endable(head, "w", final=True) is settled
        assert endable(head, "x", final=True) is head

    def test_what_runs_comes_before_what_ended(self) -> None:
        """A repeated outcome comes at once, before the next attempt starts."""
        head, _ = chain(
            make_attempt(retries=1, open=1, worker="w"), make_attempt(retries=0, ended=1.0, worker="w")
        )
        assert endable(head, "w", final=True) is head

    def test_a_retry_settles_nothing(self) -> None:
        """What runs before it may still come to a final outcome, however that is."""
        head, older = chain(
            make_attempt(retries=1, ended=2.0, will_retry=True, worker="w"),
            make_attempt(retries=0, open=1, worker="w"),
        )
        assert endable(head, "w", final=True) is older

    def test_nothing_before_a_settled_attempt_can_have_a_final_outcome(self) -> None:
        """The task came to its end there."""
        head, _, _ = chain(
            make_attempt(retries=2, ended=2.0, will_retry=True, worker="x"),
            make_attempt(retries=1, ended=1.0, worker="x"),
            make_attempt(retries=0, open=1, worker="w"),
        )
        assert endable(head, "w", final=True) is head  # the caller opens another one

    def test_a_superseded_attempt_has_no_outcome(self) -> None:
        """The task that took its place has it."""
        head, older = chain(make_attempt("t2", ended=NO_OUTCOME, worker="w"), make_attempt("t", worker="w"))
        assert endable(head, "w", final=True) is older


def test_the_task_that_was_delivered_later_supersedes() -> None:
    """Whichever was heard of first; attempts of the same name, or never delivered ones, are left alone."""
    latest, before, after, same, undelivered = chain(
        make_attempt("t", received=5.0, open=1),
        make_attempt("before", received=1.0, open=1),
        make_attempt("after", received=9.0, open=1),
        make_attempt("t", received=2.0, open=1),
        make_attempt("undelivered", open=1),
    )
    running = Running()
    for attempt in (latest, before, after, same):
        running.begin(attempt)
    supersede(latest, latest)
    assert [each.is_superseded for each in (latest, before, after, same, undelivered)] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert running.snapshot() == [after, same]


def test_a_long_chain_is_trimmed() -> None:
    """The newest attempts stay; what is cut off runs no more."""
    attempts = chain(*(make_attempt(open=1) for _ in range(MAX_CHAIN + 3)))
    running = Running()
    for attempt in attempts:
        running.begin(attempt)
    trim(attempts[0])
    assert list(attempts[0].chain()) == running.snapshot() == list(attempts[:MAX_CHAIN])


@pytest.mark.parametrize("length", [1, MAX_CHAIN - 1, MAX_CHAIN])
def test_a_short_chain_stays(length: int) -> None:
    """Nothing is cut off."""
    attempts = chain(*(make_attempt() for _ in range(length)))
    trim(attempts[0])
    assert list(attempts[0].chain()) == list(attempts)
