"""The metric families and the handlers that feed them: one module for each subject.

``CATALOGUE`` lists every family that the exporter can serve; docs/metrics.md is made from it.
"""

from __future__ import annotations

from celery_metrics_exporter.collectors.exporter import ExporterCollector
from celery_metrics_exporter.collectors.family import Family
from celery_metrics_exporter.collectors.guard import Guard
from celery_metrics_exporter.collectors.queue import QueueCollector
from celery_metrics_exporter.collectors.serving import ServingCollector
from celery_metrics_exporter.collectors.task import TaskCollector
from celery_metrics_exporter.collectors.worker import WorkerCollector

__all__ = (
    "CATALOGUE",
    "ExporterCollector",
    "Family",
    "Guard",
    "QueueCollector",
    "ServingCollector",
    "TaskCollector",
    "WorkerCollector",
)

CATALOGUE: tuple[Family, ...] = (
    *TaskCollector.families,
    *WorkerCollector.families,
    *QueueCollector.families,
    *ExporterCollector.families,
    *ServingCollector.families,
    *Guard.families,
)
