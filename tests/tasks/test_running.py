"""Which attempts run, and on which worker."""

from celery_metrics_exporter.tasks.attempt import Attempt
from celery_metrics_exporter.tasks.running import Running


def make_attempt(worker: str = "w@h", started: float = 1.0) -> Attempt:
    """An attempt that was started."""
    return Attempt(0.0, worker=worker, started=started, open=True)


def test_an_attempt_runs_until_it_stops() -> None:
    """It is shown from its begin until it removes itself, once however often it began."""
    running, attempt = Running(), make_attempt()
    running.begin(attempt)
    running.begin(attempt)
    assert running.snapshot() == [attempt]
    attempt.stop_running()
    assert running.snapshot() == []
    attempt.stop_running()


def test_what_was_started_later_goes_on() -> None:
    """An idle worker ends what it started before it was idle, on itself alone."""
    running = Running()
    old, new, elsewhere = make_attempt(started=1.0), make_attempt(started=5.0), make_attempt("x@h", 1.0)
    for attempt in (old, new, elsewhere):
        running.begin(attempt)
    running.end_all("w@h", 5.0)
    assert running.snapshot() == [new, elsewhere]
    assert (old.open, new.open) == (False, True)


def test_workers_that_run_nothing_are_forgotten() -> None:
    """Names of workers do not pile up, and a worker that is used again is there again."""
    running = Running()
    for number in range(3):
        attempt = make_attempt(f"w{number}@h")
        running.begin(attempt)
        attempt.stop_running()
    running.sweep()
    assert running._on_worker == {}
    again = make_attempt("w0@h")
    running.begin(again)
    running.sweep()
    assert running.snapshot() == [again]
