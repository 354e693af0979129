"""The tasks that run now, by task and queue: the part of ``celery_task_*`` that is not counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from prometheus_client import Metric

from celery_metrics_exporter.collectors.family import Family
from celery_metrics_exporter.collectors.task_counts import TASK_LABELS
from celery_metrics_exporter.tasks.attempt import Attempt
from celery_metrics_exporter.tasks.counts import Counts

_IN_PROGRESS: Final = Family(
    "celery_task_in_progress", "gauge", "Tasks between task-started and their outcome.", TASK_LABELS
)
_OLDEST_RUNNING: Final = Family(
    "celery_task_oldest_running_timestamp_seconds",
    "gauge",
    "Time of task-started of the task that has run longest, absent while none runs.",
    TASK_LABELS,
)
RUNNING_FAMILIES: Final = (_IN_PROGRESS, _OLDEST_RUNNING)


def collect_running(
    all_counts: Sequence[Counts], attempts: Iterable[Attempt], now: float
) -> Iterator[Metric]:
    """Yield the families.

    Args:
        all_counts: those of every (task, queue).
        attempts: the running ones.
        now: epoch seconds; no start is later, by whatever clock.
    """
    starts: dict[Counts | None, list[float]] = {}
    for attempt in attempts:
        starts.setdefault(attempt.counts, []).append(attempt.started)
    in_progress, oldest = _IN_PROGRESS.empty(), _OLDEST_RUNNING.empty()
    for counts in all_counts:
        running = starts.get(counts, ())
        in_progress.add_metric(counts.labels, len(running))
        if running:
            oldest.add_metric(counts.labels, min(now, *running))
    yield from (in_progress, oldest)
