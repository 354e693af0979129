"""What a worker knows of itself, as the facts and events that it would send.

Source of the facts: ``celery/worker/state.py`` (``active_requests``, ``all_total_count``),
``celery/worker/heartbeat.py`` (what a heartbeat tells), ``celery/worker/worker.py`` and ``celery/worker/control.py``
(what a worker answers to ``stats`` and ``active_queues``; the same decoder reads it here).
"""

from __future__ import annotations

import os
import time
from typing import Any, Final

from celery.utils.sysinfo import load_average
from celery.worker.state import SOFTWARE_INFO, active_requests, all_total_count

from celery_metrics_exporter.control.answers import facts_of
from celery_metrics_exporter.control.commands import ACTIVE_QUEUES, STATS
from celery_metrics_exporter.facts import WorkerFacts

#: How often the running tasks are read, if tasks begin or end meanwhile.
_TRIES: Final = 3
#: What is told stays valid for ten minutes.
TELL_SECONDS: Final = 60.0
#: What matters of all that a pool tells.
_OF_POOL: Final = ("max-concurrency", "processes")


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


class Facts:
    """What the worker can do, and which queues it consumes: told when it changes, and now and then."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._told: tuple[object, ...] = ()
        self._tell_again = 0.0

    def news(self, consumer: Any) -> list[WorkerFacts]:
        """The facts, if they are new or were told long ago; else nothing."""
        worker = self._worker
        pool = {} if worker.pool is None else worker.pool.info
        pool = {name: pool.get(name) for name in _OF_POOL}
        prefetch = consumer.qos.value if consumer.qos else None
        queues = () if consumer.task_consumer is None else tuple(consumer.task_consumer.queues)
        now = time.monotonic()
        state = (pool, prefetch, queues)
        if state == self._told and now < self._tell_again:
            return []
        self._told, self._tell_again = state, now + TELL_SECONDS
        found = [facts_of(STATS, {worker.hostname: {"pool": pool, "prefetch_count": prefetch}})]
        if queues:
            answer = [queue.as_dict(recurse=True) for queue in queues]
            found.append(facts_of(ACTIVE_QUEUES, {worker.hostname: answer}))
        return [*found, WorkerFacts(worker.hostname, events_enabled=True)]
