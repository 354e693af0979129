"""The record of an attempt: what it remembers, and its states."""

import pytest

from celery_metrics_exporter.tasks.attempt import MAX_PAST, NO_OUTCOME, PLAIN, Attempt, parse_eta
from celery_metrics_exporter.tasks.running import Running
from tests.pipeline import T0


def test_what_few_attempts_have_is_kept_apart() -> None:
    """Attempts share their details until one of them differs."""
    one, other = Attempt(0.0, details=PLAIN[0]), Attempt(0.0, details=PLAIN[0])
    one.eta = 0.0
    assert one.details is other.details
    one.eta = 5.0
    assert (one.eta, one.retries, other.eta) == (5.0, 0, 0.0)


def test_a_limited_number_of_events_is_remembered() -> None:
    """The latest ones: a message that comes back for days stays small."""
    attempt, number = Attempt(0.0), 3 * MAX_PAST
    for at in range(1, number + 1):
        assert attempt.stamp("received", float(at))
        attempt.wait_for_sent(float(at))
    assert attempt.received == number
    assert attempt.past == tuple(("received", float(at)) for at in range(number - MAX_PAST, number))
    assert attempt.unpaired == tuple(float(at) for at in range(number - MAX_PAST + 1, number + 1))
    assert not attempt.stamp("received", float(number - 1))
    assert attempt.stamp("started", float(number - 1))


def test_a_delivery_after_a_retry_opens_the_attempt_again() -> None:
    """It may come to a final outcome this time, and the one that it had is remembered."""
    attempt = Attempt(0.0, ended=5.0)
    attempt.will_retry = True
    attempt.reopen()
    assert (attempt.ended, attempt.will_retry, attempt.has_seen("ended", 5.0)) == (0.0, False, True)
    assert attempt.stamp("ended", 9.0)
    assert attempt.is_settled


@pytest.mark.parametrize("ended", [0.0, 5.0])
def test_a_superseded_attempt_runs_no_more(ended: float) -> None:
    """It has no outcome, unless it had one before."""
    attempt, running = Attempt(0.0, started=1.0, ended=ended, open=1), Running()
    running.begin(attempt)
    attempt.supersede()
    assert (attempt.ended, attempt.open) == (ended or NO_OUTCOME, 0)
    assert running.snapshot() == []


def test_every_start_can_end() -> None:
    """An end on a worker takes one of them off, and none that is not there."""
    attempt = Attempt(0.0, worker="w", open=2, reserved=True)
    attempt.release("x")
    assert (attempt.worker, attempt.open, attempt.reserved) == ("x", 1, False)
    attempt.release("x")
    attempt.release("x")
    assert attempt.open == 0


@pytest.mark.parametrize(
    ("eta", "expected"),
    [
        (None, 0.0),
        ("2023-11-14T22:13:30+00:00", T0 + 10),
        ("2023-11-15T03:43:30+05:30", T0 + 10),
        ("2023-11-14T22:13:30", T0 + 10),
        ("tomorrow", 0.0),
    ],
)
def test_an_eta(eta: str | None, expected: float) -> None:
    """A time without an offset is UTC; what is no time says nothing."""
    assert parse_eta(eta) == expected
