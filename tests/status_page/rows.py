"""Rows of the status page, of records with the numbers that a test wants."""

from typing import Any

from celery_metrics_exporter.collectors.task_ledger import Buckets, LedgerSettings, TaskLedger
from celery_metrics_exporter.config.config import RUNTIME_BUCKETS, WAIT_BUCKETS
from celery_metrics_exporter.status_page.snapshot_tables import WorkerRow
from celery_metrics_exporter.workers.worker import Worker

_SETTINGS = LedgerSettings(Buckets(RUNTIME_BUCKETS, WAIT_BUCKETS), lambda _labels: True)


def ledger(task: str, queue: str, **counts: Any) -> TaskLedger:
    """What was counted of a task, by the names of the slots."""
    made = TaskLedger(_SETTINGS, (task, queue))
    for slot, value in counts.items():
        setattr(made, slot, value)
    return made


def worker_row(state: Any, name: str, last_seen: float, **known: Any) -> WorkerRow:
    """A worker of which this is known."""
    return WorkerRow(state, Worker(name, heard=0.0, last_seen=last_seen, **known))
