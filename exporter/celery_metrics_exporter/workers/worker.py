"""What the events of one worker tell: the record of a worker and the arithmetic on its heartbeats.

Source of facts: ``celery/worker/heartbeat.py`` (freq, active, processed, loadavg) and ``celery/worker/state.py``:
``processed`` grows exactly where task-started is sent and starts at 0 in a new process.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum

from celery_metrics_exporter.workers.capacity import Capacity

#: Weight of the newest heartbeat in the smoothed clock offset.
OFFSET_WEIGHT = 0.2
#: A clock whose offset changes by this much, in seconds, was set: the new offset is taken as it is.
OFFSET_JUMP = 3600.0
#: A second heartbeat of another process within this time, without a worker-online in between, is that of a second
#: worker with this name.
SHARED_SECONDS = 60.0
#: Processes of one nodename whose ``processed`` is followed; older ones are forgotten.
MAX_PROCESSES = 4


class Presence(Enum):
    """The last known state of a worker."""

    UP = "up"
    OFFLINE = "offline"  # it sent worker-offline
    LOST = "lost"  # it fell silent


@dataclass(slots=True)
class Process:
    """The heartbeats of one worker process, compared with its task-started events.

    The deficit of a heartbeat is its ``processed`` minus the number of starts up to its timestamp. It is calculated one
    heartbeat later, because heartbeats overtake the task events that the worker has buffered
    (``celery/events/dispatcher.py``). A deficit of two heartbeats in a row is a loss.
    """

    processed: int | None = None
    beat_at: float = 0.0
    starts: int = 0  # up to beat_at
    newer_starts: int = 0
    settled: int | None = None  # the deficit that was counted already
    last_deficit: int = 0

    def heartbeat(self, processed: int, timestamp: float) -> tuple[int, int]:
        """Take a heartbeat's ``processed``.

        Returns:
            How much it grew (all of it for the first one), and how many more starts are known to be missed.
        """
        grown = max(0, processed - (self.processed or 0))
        missed = 0 if self.processed is None else self._settle(self.processed - self.starts)
        self.starts += self.newer_starts
        self.newer_starts = 0
        self.processed = processed
        self.beat_at = timestamp
        return grown, missed

    def _settle(self, deficit: int) -> int:
        if self.settled is None:  # what was processed before its first heartbeat here is no loss
            self.settled = self.last_deficit = deficit
        missed = max(0, min(deficit, self.last_deficit) - self.settled)
        self.settled += missed  # never lowered: a start in a thread may overtake the heartbeat that counts it
        self.last_deficit = deficit
        return missed


@dataclass(slots=True)
class Worker:
    """One worker by its nodename. ``heard`` is monotonic, ``last_seen`` epoch seconds, both by our own clock."""

    name: str
    heard: float
    last_seen: float
    presence: Presence = Presence.UP
    since: float = 0.0  # monotonic time at which it went offline or was found lost
    software: str = ""
    version: str = ""
    system: str = ""
    active: int | None = None
    interval: float | None = None
    load: tuple[float, float, float] | None = None
    offset: float | None = None
    processed: int = 0
    missed: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    processes: dict[int, Process] = field(default_factory=dict)
    pid: int | None = None
    online_at: float = 0.0  # timestamp of the latest worker-online
    events_enabled: bool | None = None
    task_events: int = 0  # since the last heartbeat
    switched_on: bool = False  # it sent no task events until we asked for them
    beating: int | None = None  # pid of the latest heartbeat
    #: Monotonic time of a heartbeat from another process than the one before.
    pid_changed: float = -math.inf
    #: Monotonic time at which a second worker under this name was last heard.
    name_shared: float = -math.inf
    unreported_work: bool = False  # ``processed`` grew between two heartbeats without any task event
    idle_since: float | None = None  # timestamp of the latest heartbeat, if that told of no active task
    capacity: Capacity = field(default_factory=Capacity)

    def start(self, pid: int | None, timestamp: float) -> None:
        """Take a task-started event."""
        process = self.processes.get(pid or 0) or self.process(pid)
        if timestamp <= process.beat_at:
            process.starts += 1
        else:
            process.newer_starts += 1

    def process(self, pid: int | None) -> Process:
        """The record of its process."""
        key = pid or 0
        process = self.processes.get(key)
        if process is None:
            if len(self.processes) >= MAX_PROCESSES:
                del self.processes[next(iter(self.processes))]
            process = self.processes[key] = Process()
        return process

    def beat(self, pid: int | None, processed: int, timestamp: float) -> None:
        """Take what a heartbeat tells of the work done."""
        self._note_pid(pid)
        process = self.process(pid)
        first = process.processed is None
        grown, missed = process.heartbeat(processed, timestamp)
        self.processed += grown
        self.missed += missed
        if self.task_events:
            self.events_enabled = True
            self.unreported_work = False
        elif self.unreported_work:
            self.events_enabled = False
        elif grown and not first:
            self.unreported_work = True
        self.task_events = 0

    def _note_pid(self, pid: int | None) -> None:
        if self.beating not in (None, pid):
            if self.heard - self.pid_changed < SHARED_SECONDS:
                self.name_shared = self.heard
            self.pid_changed = self.heard
        self.beating = pid

    @property
    def shares_its_name(self) -> bool:
        """Whether another worker has sent heartbeats under the same nodename lately."""
        return self.heard - self.name_shared < SHARED_SECONDS

    def restart(self) -> None:
        """Forget what holds for one process only: that task events are on, and its answers."""
        self.capacity = Capacity()
        self.switched_on = False
        self.beating = None
        self.events_enabled = None
        self.unreported_work = False

    def measure_offset(self, timestamp: float, received: float) -> None:
        """Smooth the offset of its clock: the event's timestamp minus the time of its receipt, in seconds."""
        offset = timestamp - received
        if self.offset is None or abs(offset - self.offset) > OFFSET_JUMP:
            self.offset = offset
        else:
            self.offset += OFFSET_WEIGHT * (offset - self.offset)
