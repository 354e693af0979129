"""CPU time of a process with all its children, from /proc."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.integration.servers import group_members

_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
#: A process rests when it used no more than this share of a core ...
_RESTING_SHARE: Final = 0.05
#: ... in each of this many looks in a row, this many seconds apart.
_LOOKS: Final = 3
_LOOK_SECONDS: Final = 0.4


def cpu_seconds(group: int) -> float:
    """User and system time of the processes of a group, and of children that they have waited for."""
    total = 0
    for pid in group_members(group):
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
        except OSError:
            continue
        # proc(5): fields 14 to 17 are utime, stime, cutime and cstime; the third is the first after the command.
        total += sum(int(field) for field in stat.rpartition(")")[2].split()[11:15])
    return total / _TICKS_PER_SECOND


def wait_for_rest(group: int, *, timeout: float, alive: Callable[[], bool]) -> bool:
    """Wait until a group of processes has nothing more to do; False if it never rests, or ends."""
    deadline = time.monotonic() + timeout
    looks, before = 0, cpu_seconds(group)
    while looks < _LOOKS:
        if time.monotonic() > deadline or not alive():
            return False
        time.sleep(_LOOK_SECONDS)
        now = cpu_seconds(group)
        looks = looks + 1 if now - before <= _RESTING_SHARE * _LOOK_SECONDS else 0
        before = now
    return True
