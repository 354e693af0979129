"""Rows of the status page, of records with the numbers that a test wants."""

from collections.abc import Mapping
from typing import Any

from celery_metrics_exporter.clock import BatchClock, Clock
from celery_metrics_exporter.collectors.task import _COUNTED, LAST_FAILED
from celery_metrics_exporter.collectors.task_counts import Buckets
from celery_metrics_exporter.config.config import RUNTIME_BUCKETS, WAIT_BUCKETS
from celery_metrics_exporter.labels import SeriesLimit
from celery_metrics_exporter.status_page.snapshot_tables import WorkerRow
from celery_metrics_exporter.tasks.counts import Counts, LabelSets
from celery_metrics_exporter.workers.worker import Worker

_LABEL_SETS = LabelSets(
    _COUNTED.places(Buckets(RUNTIME_BUCKETS, WAIT_BUCKETS)),
    SeriesLimit(1_000),
    BatchClock(Clock()),
    expected={},
)


def task_counts(
    task: str,
    queue: str,
    totals: Mapping[int, int],
    *,
    failures: Mapping[str, int],
    last_failed: float = 0.0,
) -> Counts:
    """What was counted of a task: counters by their place, and failures by class."""
    made = Counts(_LABEL_SETS, (task, queue))
    for place, number in totals.items():
        made.totals[place] = number
    made.exceptions = {(name, "failed"): number for name, number in failures.items()}
    made.note_latest(LAST_FAILED, last_failed)
    return made


def worker_row(state: Any, name: str, last_seen: float, **known: Any) -> WorkerRow:
    """A worker of which this is known."""
    return WorkerRow(state, Worker(name, heard=0.0, last_seen=last_seen, **known))
