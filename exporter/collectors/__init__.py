"""One subject a module: the families and the handlers that feed them stand together.

``CATALOGUE`` is the explicit table of every family that the exporter can serve; the metrics reference is made from it.
"""

from __future__ import annotations

from exporter.collectors.exporter import ExporterCollector
from exporter.collectors.family import Family
from exporter.collectors.guard import Guard
from exporter.collectors.queue import QueueCollector
from exporter.collectors.serving import ServingCollector
from exporter.collectors.task import TaskCollector
from exporter.collectors.worker import WorkerCollector

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
