"""The table of attempts: which events belong together, which are repetitions, and how long they are remembered."""

from celery_metrics_exporter.clock import Moment
from celery_metrics_exporter.events.types import TaskRetried, TaskRevoked
from celery_metrics_exporter.tasks.inflight import Inflight
from tests.pipeline import T0, FakeTime


def make_table(time: FakeTime | None = None, *, max_tasks: int = 100) -> Inflight:
    """A table, on a clock that stands still unless one is given."""
    return Inflight(Moment((time or FakeTime()).clock()), max_tasks=max_tasks)


def test_a_late_retry_forgets_no_older_attempt() -> None:
    """A retry that is put before a known outcome keeps the attempts behind it, whose events may be repeated."""
    table = make_table()
    first = table.ended(TaskRetried("u", T0 + 4, "w@h"), final=False)
    outcome = table.ended(TaskRevoked("u", T0 + 10, "x@h"), final=True)
    late = table.ended(TaskRetried("u", T0 + 8, "w@h"), final=False)
    assert outcome is not None
    assert list(outcome.chain()) == [outcome, late, first]
    assert table.ended(TaskRetried("u", T0 + 4, "w@h"), final=False) is None
