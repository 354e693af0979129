"""CPU time and memory of a process with all its children, from /proc."""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.integration.servers import group_members

_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
#: A process is idle when it used no more than this share of a core ...
_IDLE_SHARE: Final = 0.05
#: ... in each of this many looks in a row, this many seconds apart.
_LOOKS: Final = 3
_LOOK_SECONDS: Final = 0.4


def cpu_seconds(group: int) -> float:
    """User and system time of the processes of a group, and of children that they have waited for."""
    total = 0.0
    for pid in group_members(group):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
            # proc(5): fields 16 and 17 are cutime and cstime; the third is the first after the command.
            children = sum(int(field) for field in stat.rpartition(")")[2].split()[13:15])
            total += time.clock_gettime(_clock_of(pid)) + children / _TICKS_PER_SECOND
    return total


def cpu_of(pid: int) -> float:
    """User and system seconds of one process alone, all its threads."""
    return time.clock_gettime(_clock_of(pid))


def _clock_of(pid: int) -> int:
    """The clock of a process' CPU time, to the nanosecond where /proc has ticks; see clock_getcpuclockid(3).

    Linux makes it of the process' id (``include/linux/posix-timers.h``, ``make_process_cpuclock``, CPUCLOCK_SCHED).
    """
    return ~pid << 3 | 2


def peak_memory(group: int) -> int:
    """Bytes: the most that each process of a group has ever held in memory, added; what they share counts for each."""
    return sum(_status(pid, "VmHWM") for pid in group_members(group))


def held_memory(pid: int) -> int:
    """Bytes that a process holds in memory now."""
    return _status(pid, "VmRSS")


def _status(pid: int, name: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def wait_until_idle(group: int, *, timeout: float, alive: Callable[[], bool]) -> bool:
    """Wait until a group of processes has nothing more to do; False if it never becomes idle, or ends."""
    deadline = time.monotonic() + timeout
    looks, before = 0, cpu_seconds(group)
    while looks < _LOOKS:
        if time.monotonic() > deadline or not alive():
            return False
        time.sleep(_LOOK_SECONDS)
        now = cpu_seconds(group)
        looks = looks + 1 if now - before <= _IDLE_SHARE * _LOOK_SECONDS else 0
        before = now
    return True
