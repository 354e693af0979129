"""The processes behind one pid of a worker, told apart by what their heartbeats count.

In containers every worker has pid 1, and replicas may share a node name. So the heartbeats of one name and pid may come
from one process, from one after another, or from several at once. ``processed`` tells: in one process it never falls,
and it starts at 0 (``celery/worker/state.py``, ``all_total_count``). What cannot be told is decided so that no work is
invented: a heartbeat continues the process whose count is nearest below.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

#: A process that is silent for this long, or for three heartbeats, has ended if another one of its pid is heard.
SILENCE_SECONDS: Final = 60.0
#: So many heartbeats in a row show that there is no second process.
_ALONE: Final = 3


@dataclass(slots=True, eq=False)
class Process:
    """One process. ``began`` and ``heard`` are monotonic; the first is -inf for one that we met while it ran."""

    processed: int
    began: float
    heard: float
    starts: int = 0  # task-started events of its pid up to its latest heartbeat
    idle_since: float | None = None  # timestamp of its latest heartbeat, if that told of no active task
    ended: bool = False  # it sent worker-offline
    lives_on: bool = False  # it was heard for certain since a newer one began
    alone_since: float = (
        math.inf
    )  # monotonic time of its first heartbeat since another one of its pid was heard


class Heartbeat(NamedTuple):
    """What a heartbeat tells.

    Attributes:
        process: the one that sent it, None if it is one too many.
        grown: by how much ``processed`` grew, all of it for the first heartbeat of a process.
        missed: how many more starts are known to be missed.
        began: the process is new.
        shared: it shows that an older process of the pid lives as well.
        over: tasks started before this timestamp were those of a process that has ended.
    """

    process: Process | None
    grown: int = 0
    missed: int = 0
    began: bool = False
    shared: bool = False
    over: float | None = None


@dataclass(slots=True, eq=False)
class Pid:
    """The heartbeats of one pid, compared with its task-started events.

    The deficit of a heartbeat is what was processed up to it minus the number of starts up to its timestamp. It is
    calculated one heartbeat later, because heartbeats overtake the task events that the worker has buffered
    (``celery/events/dispatcher.py``). A deficit of two heartbeats in a row is a loss. Starts do not tell which process
    they are of: while several live, no loss is counted.
    """

    heard: float
    processes: list[Process] = field(default_factory=list)  # the newest is the last
    recent: tuple[tuple[int, float], ...] = ()  # ``processed`` and timestamp of the latest heartbeats
    beat_at: float = -math.inf
    total: int = 0  # processed by all of them
    starts: int = 0  # up to beat_at
    newer_starts: int = 0
    settled: int | None = None  # the deficit that was counted already
    settled_at: float = -math.inf
    last_deficit: int = 0
    #: An older process that may have sent the latest heartbeats, unless it was the newest; its count before them.
    doubted: Process | None = None
    undoubted: int = 0
    doubts: int = 0  # how many they are
    doubtful: int = 0  # by how much they grew, if it was the older one

    def heartbeat(
        self,
        processed: int,
        timestamp: float,
        now: float,
        silence: Callable[[float], float],
        *,
        online: bool = False,
        interval: float = 0.0,
        room: Callable[[], bool] = lambda: True,
    ) -> Heartbeat:
        """Take ``processed`` of a heartbeat, a worker-online or a worker-offline.

        Args:
            silence: the seconds since a monotonic time in which events could have come.
            online: it is a worker-online.
            interval: seconds between two heartbeats of one process.
            room: whether one more process may be followed.
        """
        self.heard = now
        starting = online and processed == 0 and self._has_worked()
        fitting = [] if starting else [each for each in self.processes if each.processed <= processed]
        if not online:
            fitting = [each for each in fitting if not each.ended] or fitting
        if self.processes and not fitting and not room():
            return Heartbeat(None)
        before, self.recent = self.recent, (*self.recent[1 - _ALONE :], (processed, timestamp))
        if fitting:
            seen = self._continue(fitting, processed, now)
            self._forget_silent(seen, silence, max(SILENCE_SECONDS, _ALONE * interval))
            in_doubt = any(each.lives_on for each in self.processes) or (
                self.doubted is not None and self._has_several_older
            )
        else:
            is_new = starting or _were_of_one(
                before, above=processed, before=timestamp - (_ALONE - 1) * interval
            )
            newest = self.processes[-1] if self.processes else None
            if starting and newest and newest.heard - newest.alone_since >= (_ALONE - 1) * interval:
                self.processes = [newest]  # those before it had ended
            seen = self._begin(processed, now, over=timestamp if starting else self.beat_at, is_new=is_new)
            in_doubt = bool(before) and not is_new
        # Heartbeats of several at the exporter's start look like work that nobody saw, until one falls.
        missed = self._settle(seen, timestamp, quickest=interval / 2, in_doubt=in_doubt)
        if starting and self.settled is not None:
            # No heartbeat counts what an old process started after its last one.
            self.starts = min(self.starts, self.total - self.settled)
        if seen.process is not None:
            seen.process.starts = self.starts
        return seen._replace(missed=missed)

    def _has_worked(self) -> bool:
        """Whether it has processed something, by its latest heartbeat or the events since; true without a heartbeat."""
        starts = self.starts + self.newer_starts
        return not self.recent or self.recent[-1][0] > 0 or starts > self.processes[-1].starts

    def _begin(self, processed: int, now: float, *, over: float, is_new: bool) -> Heartbeat:
        process = Process(processed, began=now if is_new else -math.inf, heard=now)
        self.processes = [*(each for each in self.processes if not each.ended), process]
        for each in self.processes:
            each.lives_on = False
        self._end_doubt()
        return Heartbeat(process, processed, began=True, over=over if is_new else None)

    def _continue(self, fitting: list[Process], processed: int, now: float) -> Heartbeat:
        newest = self.processes[-1]
        process = max(reversed(fitting), key=lambda each: each.processed)
        if process is not newest and newest in fitting and not process.lives_on:
            return self._doubt(process, newest, processed, now)
        process.lives_on = process is not newest
        shared = process.lives_on and not newest.ended
        if process is newest and self.doubted is not None:  # the heartbeats in doubt were not its own
            shared = self.doubted.lives_on = True
        if process in (newest, self.doubted):
            self._end_doubt()
        return self._advance(process, processed, now)._replace(shared=shared)

    def _doubt(self, older: Process, newest: Process, processed: int, now: float) -> Heartbeat:
        """Take a heartbeat that the newest has sent, or an older process that was not heard since the newest began.

        It is taken for the older one's, as less work follows from that, until as many starts as the newest would have
        counted were seen, or until so many came that the newest would have sent one of them.
        """
        if older is not self.doubted:
            self.doubted, self.doubts, self.undoubted = older, 0, older.processed
        self.doubts += 1
        self.doubtful += processed - older.processed
        missing = processed - newest.processed - self.doubtful
        starts = self.starts + self.newer_starts - newest.starts
        are_of_older = 0 < starts < self.doubtful + missing / 2
        is_too_early = starts < self.doubtful + missing and (self.doubts < _ALONE or are_of_older)
        if is_too_early or newest.began == -math.inf or self._has_several_older:
            return self._advance(older, processed, now)
        grown = processed - older.processed + missing
        older.processed = self.undoubted
        self._end_doubt()
        newest.alone_since = -math.inf
        return self._advance(newest, processed, now)._replace(grown=grown)

    def _advance(self, process: Process, processed: int, now: float) -> Heartbeat:
        grown = processed - process.processed
        process.processed, process.heard, process.ended = processed, now, False
        process.alone_since = min(process.alone_since, now)
        for each in self.processes:
            if each is not process:
                each.alone_since = math.inf
        return Heartbeat(process, grown)

    @property
    def _has_several_older(self) -> bool:
        return sum(each is not self.processes[-1] for each in self.processes) > 1

    def _end_doubt(self) -> None:
        self.doubted, self.doubts, self.doubtful = None, 0, 0

    def _forget_silent(self, seen: Heartbeat, silence: Callable[[float], float], patience: float) -> None:
        if len(self.processes) > 1:
            newest = self.processes[-1]
            self.processes = [
                each for each in self.processes if each is seen.process or silence(each.heard) <= patience
            ]
            if self.processes[-1] is not newest:
                self._end_doubt()

    def _settle(self, seen: Heartbeat, timestamp: float, *, quickest: float, in_doubt: bool) -> int:
        """Count the starts that were missed up to the heartbeat before, and take this one."""
        missed = 0
        if self.beat_at > -math.inf and not in_doubt and not 0 <= timestamp - self.settled_at < quickest:
            deficit = self.total - self.starts
            if self.settled is None:  # what was processed before its first heartbeat here is no loss
                self.settled = self.last_deficit = deficit
            missed = max(0, min(deficit, self.last_deficit) - self.settled)
            # Never lowered: a start in a thread may overtake the heartbeat that counts it.
            self.settled += missed
            self.last_deficit = deficit
            self.settled_at = timestamp
        self.total += seen.grown
        self.starts += self.newer_starts
        self.newer_starts = 0
        self.beat_at = timestamp
        if in_doubt:  # several live, or we met one that was not new: who has missed what is not known
            deficit = self.total - self.starts
            self.settled = self.last_deficit = deficit if self.settled is None else max(self.settled, deficit)
        return missed


def _were_of_one(recent: Sequence[tuple[int, float]], *, above: int, before: float) -> bool:
    """Whether these heartbeats can be those of one process, which has counted more than another that is heard now."""
    return (
        len(recent) == _ALONE and recent[0][1] <= before and all(processed > above for processed, _ in recent)
    )
