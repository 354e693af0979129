"""What a worker knows of itself, as the facts and events that it would send.

Source of the facts: ``celery/worker/state.py`` (``active_requests``, ``all_total_count``),
``celery/worker/heartbeat.py`` (what a heartbeat tells), ``celery/worker/worker.py`` and ``celery/worker/control.py``
(what a worker answers to ``stats`` and ``active_queues``; the same decoder reads it here).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any, Final

from celery.utils.sysinfo import load_average
from celery.worker.state import SOFTWARE_INFO, active_requests, all_total_count

from celery_metrics_exporter.control.answers import facts_of
from celery_metrics_exporter.control.commands import ACTIVE_QUEUES, STATS
from celery_metrics_exporter.facts import WorkerFacts

#: How often the running tasks are read, if tasks begin or end meanwhile.
_TRIES: Final = 3


def heartbeat(worker: Any, kind: str = "worker-heartbeat") -> dict[str, Any]:
    """The fields of a ``worker-heartbeat``, ``worker-online`` or ``worker-offline``."""
    timestamp = time.time()  # first: what starts in between is later than what is told here
    return {
        "type": kind,
        "hostname": worker.hostname,
        "timestamp": timestamp,
        "pid": os.getpid(),
        "active": len(active_requests),
        "processed": all_total_count[0],
        "loadavg": load_average(),
        **SOFTWARE_INFO,
    }


def running() -> list[object] | None:
    """The ids of the tasks that run now; None if they change all the time."""
    for _ in range(_TRIES):
        try:
            return [request.id for request in tuple(active_requests)]
        except RuntimeError:  # a task has begun or ended in another thread
            continue
    return None


def facts(worker: Any, consumer: Any) -> Iterator[WorkerFacts]:
    """What the worker can do, and which queues it consumes."""
    pool = {} if worker.pool is None else worker.pool.info
    told = {"pool": pool, "prefetch_count": consumer.qos.value if consumer.qos else None}
    yield facts_of(STATS, {worker.hostname: told})
    if consumer.task_consumer is not None:
        queues = [queue.as_dict(recurse=True) for queue in tuple(consumer.task_consumer.queues)]
        yield facts_of(ACTIVE_QUEUES, {worker.hostname: queues})
    yield WorkerFacts(worker.hostname, events_enabled=True)
