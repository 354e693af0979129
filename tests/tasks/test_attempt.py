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
        attempt.stamp("received", float(at))
        attempt.wait_for_sent(float(at))
    assert attempt.received == number
    assert attempt.past == tuple(("received", float(at)) for at in range(number - MAX_PAST, number))
    assert attempt.unpaired == tuple(float(at) for at in range(number - MAX_PAST + 1, number + 1))
    assert attempt.has_seen("received", float(number - 1))
    assert not attempt.has_seen("started", float(number - 1))


def test_a_delivery_after_a_retry_opens_the_attempt_again() -> None:
    """It may come to a final outcome this time, and the one that it had is remembered."""
    attempt = Attempt(0.0, ended=5.0)
    attempt.will_retry = True
    attempt.reopen()
    assert (attempt.ended, attempt.will_retry, attempt.has_seen("ended", 5.0)) == (0.0, False, True)
    attempt.stamp("ended", 9.0)
    assert attempt.is_settled


@pytest.mark.parametrize("ended", [0.0, 5.0])
def test_a_superseded_attempt_runs_no_more(ended: float) -> None:
    """It has no outcome, unless it had one before."""
    attempt, running = Attempt(0.0, started=1.0, ended=ended, open=True), Running()
    running.begin(attempt)
    attempt.supersede()
    assert (attempt.ended, attempt.open) == (ended or NO_OUTCOME, 0)
    assert running.snapshot() == []


def test_a_sibling_knows_what_its_publication_tells() -> None:
    """Another execution has the name, queue, times and labels of the publication, and nothing of a worker."""
    attempt = Attempt(0.0, ("t", "q"), worker="w", sent=1.0, received=2.0, started=3.0, details=PLAIN[0])
    attempt.eta = 1.5
    sibling = attempt.make_sibling(9.0, "w")
    assert (sibling.seen, sibling.kind, sibling.sent, sibling.due) == (9.0, ("t", "q"), 1.0, 1.5)
    assert (sibling.retries, sibling.worker, sibling.received, sibling.started) == (0, None, 0.0, 0.0)


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
