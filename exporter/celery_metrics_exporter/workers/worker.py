"""What the events of one worker tell: the record of a worker, and of the processes behind its name.

Source of facts: ``celery/worker/heartbeat.py`` (freq, active, processed, loadavg) and ``celery/worker/state.py``:
``processed`` grows exactly where task-started is sent and starts at 0 in a new process.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from itertools import chain
from typing import Final

from celery_metrics_exporter.labels import OTHER
from celery_metrics_exporter.workers.capacity import Capacity
from celery_metrics_exporter.workers.process import SILENCE_SECONDS, Heartbeat, Pid, Process

#: Weight of the newest heartbeat in the smoothed clock offset.
OFFSET_WEIGHT: Final = 0.2
#: A clock whose offset changes by this much, in seconds, was set: the new offset is taken as it is.
OFFSET_JUMP: Final = 3600.0
#: Processes of one nodename that are followed. Of more that live at once, the work is not counted.
MAX_PROCESSES: Final = 32
#: A new worker is asked for task events after this time: it sends worker-online some 20 ms before it listens ...
FIRST_ASK_SECONDS: Final = 0.1
#: ... and again after the first of these, then after twice as long each time, up to the last.
ASK_SECONDS: Final = (1.0, 60.0)


class Presence(Enum):
    """The last known state of a worker."""

    UP = "up"
    OFFLINE = "offline"  # it sent worker-offline
    LOST = "lost"  # it fell silent


@dataclass(slots=True)
class Worker:
    """One worker by its nodename. ``heard`` is monotonic, ``last_seen`` epoch seconds, both by our own clock.

    ``silence`` gives the seconds since a monotonic time in which events could have come.
    """

    name: str
    heard: float
    last_seen: float
    silence: Callable[[float], float] = lambda _since: 0.0
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
    pids: dict[int, Pid] = field(default_factory=dict)
    newest: Process | None = None
    online_at: float = 0.0  # timestamp of the latest worker-online
    name_shared: float = -math.inf  # monotonic time up to which several processes were heard
    told_shared: bool = False  # the log has told of that
    events_enabled: bool | None = None
    task_events: int = 0  # since the last heartbeat
    switched_on: bool = False  # it sent no task events until we asked for them
    unreported_work: bool = False  # ``processed`` grew between two heartbeats without any task event
    ask_at: float = -math.inf  # monotonic time at which it is to be asked for task events; inf: it sends them
    ask_pause: float = ASK_SECONDS[0]
    capacity: Capacity = field(default_factory=Capacity)
    asked_tasks_at: float = (
        -math.inf
    )  # monotonic time at which the latest questions about its tasks were planned
    never_ask: set[str] = field(
        default_factory=set
    )  # of these questions those that its process did not answer
    json_only: bool | None = None  # it accepts messages in JSON alone
    created: float = field(
        init=False
    )  # epoch seconds of its first sign of life, since when its counters count

    def __post_init__(self) -> None:
        """Plan to ask for task events."""
        self.created = self.last_seen
        self.want_events()

    def start(self, pid: int | None, timestamp: float) -> None:
        """Take a task-started event."""
        record = self.pids.get(pid or 0) or self.meet(pid)
        if record is None:
            return
        if timestamp <= record.beat_at:
            record.starts += 1
        else:
            record.newer_starts += 1

    def meet(self, pid: int | None) -> Pid | None:
        """The record of a pid, a new one where there is none; None if there are too many."""
        record = self.pids.get(pid or 0)
        if record is None and self._has_room():
            record = self.pids[pid or 0] = Pid(self.heard)
        return record

    def _has_room(self) -> bool:
        """Whether one more process can be followed; forgets the pid that was silent longest, if that is long."""
        if sum(len(record.processes) or 1 for record in self.pids.values()) < MAX_PROCESSES:
            return True
        oldest = min(self.pids, key=lambda pid: self.pids[pid].heard)
        if self.silence(self.pids[oldest].heard) <= SILENCE_SECONDS:
            return False
        del self.pids[oldest]
        return True

    def beat(
        self,
        pid: int | None,
        processed: int,
        timestamp: float,
        *,
        active: int | None = None,
        online: bool = False,
    ) -> Heartbeat:
        """Take what a heartbeat, or a worker-online, tells of the work done.

        Returns:
            What it shows; ``over`` is set too where the worker is idle.
        """
        record = self.meet(pid)
        if record is None:
            return Heartbeat(None)
        seen = record.heartbeat(
            processed,
            timestamp,
            self.heard,
            self.silence,
            online=online,
            interval=self.interval or 0.0,
            room=self._has_room,
        )
        process = seen.process
        if process is None:
            return seen
        is_other_pid = self.newest not in record.processes
        if online and is_other_pid:
            seen = seen._replace(began=True, over=seen.over if processed else timestamp)
            process.began = self.heard if processed == 0 else process.began
        if seen.began:
            seen = self._begin(process, seen)
        elif seen.shared or is_other_pid or (self.newest is not None and self.newest.ended):
            self._note_older(process)
        elif online:  # it has connected again; or an idle one was replaced by another of its pid
            self.want_events()
            self.events_enabled = self.events_enabled if processed else None
        self._judge_events(grew=seen.grown > 0 and not seen.began)
        self.processed += seen.grown
        self.missed += seen.missed
        idle_before = None if active else self._idle_before()
        process.idle_since = None if active else timestamp
        return seen if seen.over is not None else seen._replace(over=idle_before)

    def end(self, pid: int | None, processed: int | None, timestamp: float) -> None:
        """Take a worker-offline."""
        record = self.pids.get(pid or 0)
        if processed is not None and record is not None and record.processes:
            process = self.beat(pid, processed, timestamp, active=1).process
            if process is not None:
                process.ended = True
                if sum(map(self._is_alive, self._processes())) <= 1:
                    self.name_shared = -math.inf

    def _begin(self, process: Process, seen: Heartbeat) -> Heartbeat:
        """Forget what holds for one process only: that task events are on, and its answers."""
        if self.newest is not None:
            if self.shares_its_name:
                seen = seen._replace(over=None)
            self.capacity = Capacity()
            self.asked_tasks_at = -math.inf
            self.never_ask = set()
            self.json_only = None
            self.switched_on = False
            self.events_enabled = None
            self.unreported_work = False
            self.task_events = 0
            self.want_events()
        self.newest = process
        return seen

    def _note_older(self, process: Process) -> None:
        """Note that an older process than the newest lives: beside it, unless the newest has ended or fallen silent."""
        if self.newest is None or not self._is_alive(self.newest):
            self.newest = process
        else:
            self.share_name(self.newest.heard)

    def share_name(self, until: float) -> None:
        """Note that several workers with this name lived at this monotonic time; each of them is to be asked."""
        if not self.shares_its_name:
            self.want_events()
        self.name_shared = max(self.name_shared, until)

    @property
    def _patience(self) -> float:
        return max(SILENCE_SECONDS, 3.0 * (self.interval or 0.0))

    @property
    def shares_its_name(self) -> bool:
        """Whether another worker has sent heartbeats, or an answer, under the same nodename lately."""
        return self.heard - self.name_shared < self._patience and self.name != OTHER

    def _processes(self) -> Iterator[Process]:
        return chain.from_iterable(record.processes for record in self.pids.values())

    def _is_alive(self, process: Process) -> bool:
        """Whether it has neither said that it stops nor fallen silent."""
        return not process.ended and self.silence(process.heard) <= self._patience

    def _living(self) -> Iterator[Process]:
        """The newest process, and those that were heard since it began."""
        newest = self.newest
        for record in self.pids.values():
            latest = record.processes[-1] if record.processes else None
            for each in record.processes:
                is_other_pid = each is latest and newest is not None and record.heard > newest.began
                if each is newest or (self._is_alive(each) and (each.lives_on or is_other_pid)):
                    yield each

    def _idle_before(self) -> float | None:
        """The timestamp before which nothing was started that still runs; None if something may."""
        idle = [process.idle_since for process in self._living()]
        return None if None in idle else min((since for since in idle if since is not None), default=None)

    def _judge_events(self, *, grew: bool) -> None:
        if self.task_events:
            self.note_events(enabled=True)
        elif self.unreported_work:
            self.note_events(enabled=False)
            self.unreported_work = True
        elif grew:
            self.unreported_work = True
        self.task_events = 0

    def note_events(self, *, enabled: bool) -> None:
        """Note whether it sends task events, by its answer or by its events."""
        self.events_enabled = enabled
        self.unreported_work = False
        if not enabled and self.ask_at == math.inf:
            self.want_events()
        elif enabled and not self.shares_its_name:  # there is no telling which of them it is
            self.ask_at = math.inf

    def want_events(self) -> None:
        """Plan to ask for task events until they are known to be on."""
        self.ask_at = self.heard + FIRST_ASK_SECONDS
        self.ask_pause = ASK_SECONDS[0]

    def asked(self, now: float) -> None:
        """Note that it is asked for task events now, and plan when to ask again."""
        self.ask_at = now + self.ask_pause
        self.ask_pause = min(2 * self.ask_pause, ASK_SECONDS[1])

    def measure_offset(self, timestamp: float, received: float) -> None:
        """Smooth the offset of its clock: the event's timestamp minus the time of its receipt, in seconds."""
        offset = timestamp - received
        if self.offset is None or abs(offset - self.offset) > OFFSET_JUMP:
            self.offset = offset
        else:
            self.offset += OFFSET_WEIGHT * (offset - self.offset)
