"""Which attempts end without an event, rule by rule."""

import pytest

from celery_metrics_exporter.tasks.attempt import Attempt
from celery_metrics_exporter.tasks.replacing import end_before, supersede, supersede_instead
from celery_metrics_exporter.tasks.running import Running
from tests.tasks.chains import chain, make_attempt


def superseded(*attempts: Attempt) -> list[bool]:
    """Which of them are."""
    return [attempt.is_superseded for attempt in attempts]


def test_a_replacement_supersedes() -> None:
    """The last retry that was delivered before it, under the same name or another."""
    for name in ("t", "t2"):
        latest, retry, first, undelivered = chain(
            make_attempt(name, received=5.0, is_republished=True, retries=0),
            make_attempt(received=4.0, retries=1, is_republished=True, open=True),
            make_attempt(received=1.0, retries=0, open=True),
            make_attempt("undelivered", open=True),
        )
        running = Running()
        running.begin(retry)
        supersede(latest, latest, may_replace=True)
        assert superseded(latest, retry, first, undelivered) == [False, True, False, False]
        assert running.snapshot() == []


def test_one_of_several_executions_is_superseded() -> None:
    """The one that runs longest, or another if that has an outcome after all."""
    latest, one, other = chain(
        make_attempt("t2", received=5.0, is_republished=True, retries=0),
        make_attempt(received=2.0, started=3.0, open=True, retries=0, worker="w"),
        make_attempt(received=1.0, started=4.0, open=True, retries=0, worker="x"),
    )
    supersede(latest, latest, may_replace=True)
    assert superseded(one, other) == [True, False]
    supersede_instead(one, latest)
    assert superseded(one, other) == [False, True]
    assert one.ended == 0.0


def test_what_was_replaced_before_it_was_heard_of() -> None:
    """It is superseded when its delivery is told, once."""
    latest, second, replacement = chain(
        make_attempt(received=2.0, retries=0),
        make_attempt(received=3.0, retries=0),
        make_attempt("t2", received=9.0, is_republished=True, retries=0),
    )
    supersede(latest, latest, may_replace=False)
    supersede(second, latest, may_replace=False)
    assert superseded(latest, second, replacement) == [True, False, False]


@pytest.mark.parametrize("name", ["t", "t2"])
def test_another_publication_supersedes_nothing(name: str) -> None:
    """A client that uses an id again names no parent."""
    latest, before = chain(make_attempt(name, received=5.0, sent=4.0), make_attempt(received=1.0, open=True))
    supersede(latest, latest, may_replace=False)
    assert superseded(latest, before) == [False, False]


def test_what_came_before_an_outcome_runs_no_more() -> None:
    """On the same worker, with a lower retry count or another name, and without an outcome of its own."""
    latest, *others = chain(
        make_attempt("t", worker="w", retries=1),
        make_attempt("t", worker="w", retries=0, open=True),
        make_attempt("s", worker="w", retries=1, open=True),
        make_attempt("t", worker="w", retries=1, open=True),
        make_attempt("t", worker="x", retries=0, open=True),
    )
    end_before(latest, latest)
    assert [other.open for other in others] == [False, False, True, True]
