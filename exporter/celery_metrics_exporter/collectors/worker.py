"""Workers as their events show them: ``celery_worker_*``, by nodename.

Source of facts: worker-online, -heartbeat and -offline, and that any event of a worker is a sign of life. Whether one
lives is worked out from the time of receipt by our own clock, never from timestamps of others.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Literal, get_args

from celery_metrics_exporter.collectors.family import Family
from celery_metrics_exporter.events import types as events
from celery_metrics_exporter.labels import clean
from celery_metrics_exporter.workers.capacity import Capacity
from celery_metrics_exporter.workers.worker import Presence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from prometheus_client import Metric

    from celery_metrics_exporter.events.types import Subscribe
    from celery_metrics_exporter.workers.roster import Roster

_OF_TASKS = frozenset(get_args(events.WorkerTaskEvent))
_OUTCOMES = ("succeeded", "failed", "retried")


def _family(kind: Literal["counter", "gauge"], name: str, text: str) -> Family:
    return Family(name, kind, text, ("worker",))


_gauge = partial(_family, "gauge")
_counter = partial(_family, "counter")

_UP = _gauge("celery_worker_up", "1 while events of the worker come, else 0.")
_LAST_SEEN = _gauge(
    "celery_worker_last_seen_timestamp_seconds", "Time at which the latest event of the worker was received."
)
_INFO = Family(
    "celery_worker_info",
    "gauge",
    "Always 1; what the worker runs, from worker-online and worker-heartbeat.",
    ("worker", "version", "software", "system"),
)
_ACTIVE = _gauge("celery_worker_active_tasks", "Tasks that run, from worker-heartbeat.")
_PROCESSED = _counter(
    "celery_worker_processed_tasks_total",
    "Tasks started by the worker, from worker-heartbeat, summed over its restarts.",
)
_TASKS = Family(
    "celery_worker_tasks_total",
    "counter",
    "Outcomes on the worker, one a task-succeeded, task-failed or task-retried event that counts.",
    ("worker", "outcome"),
)
_MISSED = _counter(
    "celery_worker_missed_tasks_total",
    "Tasks started by the worker, by two worker-heartbeat events, whose task-started event never came.",
)
_LOADS = tuple(
    _gauge(f"celery_worker_load{minutes}", f"Load average of {minutes} min, from worker-heartbeat.")
    for minutes in (1, 5, 15)
)
_OFFSET = _gauge(
    "celery_worker_clock_offset_seconds",
    "Timestamp of worker-heartbeat less the time of its receipt, smoothed.",
)
_INTERVAL = _gauge("celery_worker_heartbeat_interval_seconds", "Interval announced by worker-heartbeat.")
_EVENTS_ENABLED = _gauge(
    "celery_worker_task_events_enabled",
    "1 if the worker sends task events, 0 if its worker-heartbeat tells of tasks and no task event does.",
)
_POOL_SIZE = _gauge(
    "celery_worker_pool_size",
    "Tasks that the worker can run at once, by its answer to the remote control command stats.",
)
_PREFETCH_LIMIT = _gauge(
    "celery_worker_prefetch_limit",
    "Messages that the worker holds at most, 0 for no limit, by its answer to the remote control command stats.",
)
_QUEUE_INFO = Family(
    "celery_worker_queue_info",
    "gauge",
    "Always 1; a queue that the worker consumes, by its answer to the remote control command active_queues.",
    ("worker", "queue"),
)
_LOST = Family(
    "celery_worker_lost_total", "counter", "Workers that fell silent without a worker-offline event."
)


class WorkerCollector:
    """Feeds the worker families, and says when tasks of a worker cannot be running any more."""

    name = "worker"
    families = (
        _UP,
        _LAST_SEEN,
        _INFO,
        _ACTIVE,
        _PROCESSED,
        _TASKS,
        _MISSED,
        *_LOADS,
        _OFFSET,
        _INTERVAL,
        _EVENTS_ENABLED,
        _POOL_SIZE,
        _PREFETCH_LIMIT,
        _QUEUE_INFO,
        _LOST,
    )

    def __init__(self, roster: Roster, *, shows_queue: Callable[[str], bool]) -> None:
        """Args:
        roster: written by this collector alone.
        shows_queue: whether a queue of this name is shown.
        """
        self._roster = roster
        self._shows_queue = shows_queue
        self._lost = _LOST.counter()
        self._on_idle: Callable[[str, float], None] = _ignore
        self._on_events_off: Callable[[], None] = _ignore
        self._on_appeared: Callable[[], None] = _ignore

    def notify(
        self,
        *,
        idle: Callable[[str, float], None],
        events_off: Callable[[], None] = lambda: None,
        appeared: Callable[[], None] = lambda: None,
    ) -> None:
        """Name who is told that nothing runs on a worker (nodename, since when), that task events of one seem to be
        off, and that one is new or has started anew.
        """
        self._on_idle = idle
        self._on_events_off = events_off
        self._on_appeared = appeared

    def subscribe(self, on: Subscribe) -> None:
        """Name the handler of each event type."""
        on(events.WorkerOnline, self.on_online)
        on(events.WorkerHeartbeat, self.on_heartbeat)
        on(events.WorkerOffline, self.on_offline)
        on(events.TaskStarted, self.on_started)
        on(events.UnknownEvent, self.on_unknown)
        on(events.Retimed, self.on_retimed)

    def on_online(self, event: events.WorkerOnline) -> None:
        """Note it; in a new process nothing runs that was started in an old one."""
        worker = self._roster.touch(event.hostname)
        if event.pid is not None and event.pid != worker.pid:
            self._on_idle(event.hostname, event.timestamp)
            if worker.pid is not None:
                worker.restart()
        self.on_heartbeat(event)

    def on_heartbeat(self, event: events.WorkerHeartbeat) -> None:
        """Note what it says."""
        worker = self._roster.touch(event.hostname)
        worker.presence = Presence.UP
        if event.pid != worker.pid or not worker.processes:
            self._on_appeared()
            self._on_events_off()
        worker.pid = event.pid
        worker.software = clean(event.sw_ident or "")
        worker.version = clean(event.sw_ver or "")
        worker.system = clean(event.sw_sys or "")
        worker.measure_offset(event.timestamp, worker.last_seen)
        if event.processed is None:  # the answer to a remote command
            return
        worker.interval = event.freq
        worker.load = event.loadavg
        worker.active = event.active
        worker.beat(event.pid, event.processed, event.timestamp)
        if event.active:
            worker.idle_since = None
        elif worker.idle_since is None:
            worker.idle_since = event.timestamp
        else:
            self._on_idle(event.hostname, worker.idle_since)
            worker.idle_since = event.timestamp
        if worker.events_enabled is False:
            self._on_events_off()

    def on_offline(self, event: events.WorkerOffline) -> None:
        """Note that it leaves; its last tasks may still end."""
        worker = self._roster.touch(event.hostname)
        worker.presence = Presence.OFFLINE
        worker.since = worker.heard

    def on_started(self, event: events.TaskStarted) -> None:
        """Count the start against the worker's own count."""
        self._roster.of(event.hostname).start(event.pid, event.timestamp)

    def on_events(self, batch: Sequence[events.Event]) -> None:
        """Of the events that came together each one of a task is a sign of life, and of task events."""
        for name, number in Counter([event.hostname for event in batch if type(event) in _OF_TASKS]).items():
            self._roster.touch(name).task_events += number

    def on_unknown(self, event: events.UnknownEvent) -> None:
        """A sign of life if a worker sent it; clients send custom events too."""
        if event.hostname in self._roster:
            self._roster.touch(event.hostname)

    def on_retimed(self, event: events.Retimed) -> None:
        """The offset of a clock that is far off is not smoothed: its events came with our time instead."""
        if event.hostname in self._roster:
            worker = self._roster.of(event.hostname)
            worker.offset = event.timestamp - worker.last_seen

    def on_outcome(self, worker: str, outcome: str) -> None:
        """Count a task's outcome on a worker (its nodename)."""
        self._roster.of(worker).outcomes[outcome] += 1

    def sweep(self) -> None:
        """Find workers that fell silent, and those that said goodbye and were killed over their last tasks."""
        lost, forgotten = self._roster.expire()
        self._lost.inc(len(lost))
        for name in (*lost, *forgotten):
            self._on_idle(name, math.inf)

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        made = {family: family.empty() for family in self.families if family is not _LOST}
        for worker in self._roster.shown():
            alive = self._roster.is_alive(worker)
            capacity = worker.capacity if alive else Capacity()
            values: dict[Family, float | bool | None] = {
                _UP: alive,
                _LAST_SEEN: worker.last_seen,
                _ACTIVE: worker.active,
                _PROCESSED: worker.processed,
                _MISSED: worker.missed,
                _OFFSET: worker.offset,
                _INTERVAL: worker.interval,
                _EVENTS_ENABLED: worker.events_enabled,
                _POOL_SIZE: capacity.pool_size,
                _PREFETCH_LIMIT: capacity.prefetch_limit,
                **dict(zip(_LOADS, worker.load or (), strict=False)),
            }
            for family, value in values.items():
                if value is not None:
                    made[family].add_metric((worker.name,), float(value))
            for queue in capacity.queues or ():
                if self._shows_queue(queue):
                    made[_QUEUE_INFO].add_metric((worker.name, queue), 1)
            if worker.version:
                made[_INFO].add_metric((worker.name, worker.version, worker.software, worker.system), 1)
            for outcome in _OUTCOMES:
                made[_TASKS].add_metric((worker.name, outcome), worker.outcomes[outcome])
        yield from made.values()
        yield from self._lost.collect()


def _ignore(*_: object) -> None:
    """Nobody asked to be told."""
