"""What was heard while listening: the facts about workers, publishers and tasks that events tell.

Owns: these facts, bounded in number. Must not know: brokers, what follows from the facts.

A sink for bodies, fed by the thread that receives; read by another one when that has ended, or for what only grows.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from celery_metrics_exporter.events import types as events
from celery_metrics_exporter.events.decode import decode
from celery_metrics_exporter.facts import PROBE
from celery_metrics_exporter.workers.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Tasks, workers and publishers that are remembered, of each kind.
MOST: Final = 100_000
#: What one message takes on its way from Redis besides its body in base64, in bytes: for an event of Celery 5.7 that is
#: 320 to 330 of kombu's envelope and properties, 40 of channel and pattern, 35 of the protocol.
_ENVELOPE_BYTES: Final = 400
_UNREGISTERED: Final = "NotRegistered("


@dataclass(slots=True)
class Received:
    """A task that a worker took; ``child``: another task published it."""

    name: str
    child: bool


@dataclass(slots=True)
class Pids:
    """The processes that speak under one nodename; ``mixed``: an older one spoke again."""

    seen: list[int] = field(default_factory=list)
    mixed: bool = False

    def hear(self, pid: int) -> None:
        """One of them spoke."""
        if pid not in self.seen:
            self.seen.append(pid)
        elif self.seen[-1] != pid:
            self.mixed = True


class Hearing:
    """Everything that came.

    Attributes:
        events: how many, of any kind.
        own: events of exporters that try their subscriptions out.
        stream_bytes: what Redis had to send for them, about.
        drops: messages that could not be read, by reason, with the last detail of each.
        workers: by nodename, as heartbeats tell.
        pids: of these, their processes.
        publishers: task-sent events by the hostname of who published.
        sent: queue of each published task, by id.
        received: tasks that workers took for the first time, by id.
        unregistered: tasks that failed because their worker does not know them, by worker.
        task_events: events of tasks by worker.
    """

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self.events = 0
        self.own = 0
        self.stream_bytes = 0
        self.drops: dict[str, tuple[int, str]] = {}
        self.workers: dict[str, Worker] = {}
        self.pids: dict[str, Pids] = {}
        self.publishers: Counter[str] = Counter()
        self.sent: dict[str, str | None] = {}
        self.received: dict[str, Received] = {}
        self.unregistered: Counter[str] = Counter()
        self.task_events: Counter[str] = Counter()

    def feed(self, body: bytes, /) -> None:
        """Take one message."""
        self.feed_all([body])

    def feed_all(self, bodies: list[bytes], /) -> None:
        """Take several."""
        now = self._wall()
        for body in bodies:
            self.stream_bytes += len(body) * 4 // 3 + _ENVELOPE_BYTES
            self._take(decode(body), now)

    def drop(self, reason: str, detail: str, /) -> None:
        """Take note of one that could not be read."""
        number, _ = self.drops.get(reason, (0, ""))
        self.drops[reason] = (number + 1, detail)

    def _take(self, came: Sequence[object], now: float) -> None:
        for event in came:
            if isinstance(event, events.Undecodable):
                self.drop(event.reason, event.detail)
                continue
            self.events += 1
            match event:
                case events.WorkerHeartbeat():
                    self._beat(event, now)
                case events.TaskSent():
                    if len(self.publishers) < MOST:
                        self.publishers[event.hostname] += 1
                    if len(self.sent) < MOST:
                        self.sent[event.uuid] = event.queue
                case events.UnknownEvent(type=kind) if kind == PROBE:
                    self.own += 1
                case events.WorkerOffline() | events.UnknownEvent():
                    pass
                case _:
                    self._of_task(event)

    def _beat(self, event: events.WorkerHeartbeat, now: float) -> None:
        worker = self.workers.get(event.hostname)
        if worker is None:
            if len(self.workers) >= MOST:
                return
            worker = self.workers[event.hostname] = Worker(event.hostname, time.monotonic(), now)
            self.pids[event.hostname] = Pids()
        worker.last_seen = now
        worker.software, worker.version = event.sw_ident or "", event.sw_ver or ""
        worker.measure_offset(event.timestamp, now)
        if event.pid is not None:
            self.pids[event.hostname].hear(event.pid)
        if event.processed is not None:
            worker.beat(event.pid, event.processed, event.timestamp)

    def _of_task(self, event: object) -> None:
        worker = str(getattr(event, "hostname", ""))
        self.task_events[worker] += 1
        if worker in self.workers:
            self.workers[worker].task_events += 1
        if isinstance(event, events.TaskReceived) and not event.retries and event.eta is None:
            if len(self.received) < MOST:
                self.received[event.uuid] = Received(event.name or "unknown", event.parent_id is not None)
        elif isinstance(event, events.TaskFailed) and (event.exception or "").startswith(_UNREGISTERED):
            self.unregistered[worker] += 1
