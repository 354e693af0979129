"""Workers as their events show them: ``celery_worker_*``, by nodename.

Source of facts: worker-online, worker-heartbeat and worker-offline; every other event of a worker shows that it is up.
Whether it is up follows from receipt times by our own clock, never from the sender's timestamps.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Literal, Protocol, get_args

from prometheus_client import Metric

from celery_metrics_exporter.collectors.family import Family
from celery_metrics_exporter.events import types as events
from celery_metrics_exporter.events.handlers import HandlerTable
from celery_metrics_exporter.labels import clean
from celery_metrics_exporter.workers.capacity import Capacity
from celery_metrics_exporter.workers.roster import Roster
from celery_metrics_exporter.workers.worker import Presence

_OF_TASKS = frozenset(get_args(events.WorkerTaskEvent))
_OUTCOMES = ("succeeded", "failed", "retried")


def _family(kind: Literal["counter", "gauge"], name: str, text: str) -> Family:
    return Family(name, kind, text, ("worker",))


_gauge = partial(_family, "gauge")
_counter = partial(_family, "counter")

_UP = _gauge("celery_worker_up", "1 while the worker sends events, else 0.")
_LAST_SEEN = _gauge("celery_worker_last_seen_timestamp_seconds", "Receipt time of the worker's latest event.")
_INFO = Family(
    "celery_worker_info",
    "gauge",
    "Always 1; the worker's software, its version and operating system, from worker-online and worker-heartbeat.",
    ("worker", "version", "software", "system"),
)
_ACTIVE = _gauge("celery_worker_active_tasks", "Tasks that the worker is running, from worker-heartbeat.")
_PROCESSED = _counter(
    "celery_worker_processed_tasks_total",
    "Tasks started by the worker, from worker-heartbeat, summed over its restarts.",
)
_TASKS = Family(
    "celery_worker_tasks_total",
    "counter",
    "Task outcomes on the worker: one per task-succeeded, task-failed or task-retried event that ended an attempt.",
    ("worker", "outcome"),
)
_MISSED = _counter(
    "celery_worker_missed_tasks_total",
    "Tasks started by the worker, from two worker-heartbeat events, whose task-started event did not arrive.",
)
_LOADS = tuple(
    _gauge(f"celery_worker_load{minutes}", f"Load average over {minutes} min, from worker-heartbeat.")
    for minutes in (1, 5, 15)
)
_OFFSET = _gauge(
    "celery_worker_clock_offset_seconds",
    "Timestamp of worker-heartbeat minus its receipt time, smoothed.",
)
_INTERVAL = _gauge("celery_worker_heartbeat_interval_seconds", "Heartbeat interval, from worker-heartbeat.")
_EVENTS_ENABLED = _gauge(
    "celery_worker_task_events_enabled",
    "1 if the worker sends task events, 0 if its worker-heartbeat reports tasks but no task event arrives.",
)
_NAME_SHARED = _gauge(
    "celery_worker_name_shared",
    "1 if several workers send worker-heartbeat, or answer, under this nodename, so that their metrics mix, else 0.",
)
_POOL_SIZE = _gauge(
    "celery_worker_pool_size",
    "Tasks that the worker can run at once, from its answer to the remote control command stats.",
)
_PREFETCH_LIMIT = _gauge(
    "celery_worker_prefetch_limit",
    "Messages that the worker may hold at once, 0 for no limit, from its answer to the remote control command stats.",
)
_QUEUE_INFO = Family(
    "celery_worker_queue_info",
    "gauge",
    "Always 1; a queue that the worker consumes, from its answer to the remote control command active_queues.",
    ("worker", "queue"),
)
_LOST = Family(
    "celery_worker_lost_total",
    "counter",
    "Workers that stopped sending events without a worker-offline event.",
)


class Requests(Protocol):
    """Takes requests to ask all workers soon."""

    def request_events(self) -> None:
        """Ask for task events: some worker is not known to send them."""

    def request_inspection(self) -> None:
        """Ask about pools and queues: some worker is new, or was restarted."""


class WorkerCollector:
    """Feeds the worker families, and reports when a worker's tasks can no longer be running."""

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
        _NAME_SHARED,
        _POOL_SIZE,
        _PREFETCH_LIMIT,
        _QUEUE_INFO,
        _LOST,
    )

    def __init__(
        self,
        roster: Roster,
        requests: Requests,
        *,
        shows_queue: Callable[[str], bool],
        on_idle: Callable[[str, float], None],
    ) -> None:
        """Args:
        roster: the workers.
        requests: takes what is to be asked of workers.
        shows_queue: whether a queue of this name is shown.
        on_idle: called with (nodename, epoch seconds): no task runs on the worker that was started before this time.
        """
        self._roster = roster
        self._requests = requests
        self._shows_queue = shows_queue
        self._lost = 0
        self._on_idle = on_idle

    def subscribe(self, table: HandlerTable) -> None:
        """Register the handlers."""
        table.on(events.WorkerOnline, self.on_online)
        table.on(events.WorkerHeartbeat, self.on_heartbeat)
        table.on(events.WorkerOffline, self.on_offline)
        table.on(events.TaskStarted, self.on_started)
        table.on(events.UnknownEvent, self.on_unknown)
        table.on(events.Retimed, self.on_retimed)
        table.on_batch(self.on_events)
        table.on_sweep(self.sweep)

    def on_online(self, event: events.WorkerOnline) -> None:
        """Note that the worker is up; nothing runs in a new process that was started in an old one."""
        self._take(event, online=True)

    def on_heartbeat(self, event: events.WorkerHeartbeat) -> None:
        """Note what the worker reports."""
        self._take(event, online=False)

    def _take(self, event: events.WorkerHeartbeat, *, online: bool) -> None:
        worker = self._roster.touch(event.hostname)
        worker.presence = Presence.UP
        is_new = (event.pid or 0) not in worker.pids
        if online:
            worker.online_at = event.timestamp
        worker.software = clean(event.sw_ident or "")
        worker.version = clean(event.sw_ver or "")
        worker.system = clean(event.sw_sys or "")
        worker.measure_offset(event.timestamp, worker.last_seen)
        if event.processed is None:  # the answer to the remote control command heartbeat
            is_new = is_new and worker.meet(event.pid) is not None
        else:
            worker.interval = event.freq
            worker.load = event.loadavg
            worker.active = event.active
            seen = worker.beat(
                event.pid, event.processed, event.timestamp, active=event.active, online=online
            )
            is_new = seen.began
            if seen.over is not None:
                self._on_idle(event.hostname, seen.over)
        if is_new:
            self._requests.request_inspection()

    def on_offline(self, event: events.WorkerOffline) -> None:
        """Note that the worker stops; its last tasks may still end."""
        worker = self._roster.touch(event.hostname)
        worker.end(event.pid, event.processed, event.timestamp)
        worker.presence = Presence.OFFLINE
        worker.since = worker.heard

    def on_started(self, event: events.TaskStarted) -> None:
        """Count the start, to compare it with the worker's own count."""
        self._roster.of(event.hostname).start(event.pid, event.timestamp)

    def on_events(self, batch: Sequence[events.Event]) -> None:
        """Note which workers have sent task events: they are up."""
        for name, number in Counter([event.hostname for event in batch if type(event) in _OF_TASKS]).items():
            self._roster.touch(name).task_events += number

    def on_unknown(self, event: events.UnknownEvent) -> None:
        """Note that the sender is up, if it is a known worker; clients send custom events too."""
        if event.hostname in self._roster:
            self._roster.touch(event.hostname)

    def on_retimed(self, event: events.Retimed) -> None:
        """Set the clock offset without smoothing: the events themselves now carry our time."""
        if event.hostname in self._roster:
            worker = self._roster.of(event.hostname)
            worker.offset = event.timestamp - worker.last_seen

    def sweep(self) -> None:
        """Count lost workers, end the tasks of lost and of forgotten ones, and ask for the task events of others."""
        lost, forgotten = self._roster.expire()
        self._lost += len(lost)
        for name in (*lost, *forgotten):
            self._on_idle(name, math.inf)
        if self._roster.takes_question():
            self._requests.request_events()

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
                _NAME_SHARED: alive and worker.shares_its_name,
                _POOL_SIZE: capacity.pool_size,
                _PREFETCH_LIMIT: capacity.prefetch_limit,
                **dict(zip(_LOADS, worker.load or (), strict=False)),
            }
            for family, value in values.items():
                if value is not None:
                    made[family].add_metric((worker.name,), float(value), worker.created)
            for queue in dict.fromkeys(map(clean, (capacity.queues or ())[: capacity.shown])):
                if self._shows_queue(queue):
                    made[_QUEUE_INFO].add_metric((worker.name, queue), 1)
            if worker.version:
                made[_INFO].add_metric((worker.name, worker.version, worker.software, worker.system), 1)
            for outcome in _OUTCOMES:
                made[_TASKS].add_metric((worker.name, outcome), worker.outcomes[outcome], worker.created)
        yield from made.values()
        lost = _LOST.empty()
        lost.add_metric((), self._lost)
        yield lost
