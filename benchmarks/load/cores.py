"""Which processes run on which core: the exporter has one for itself, all others share another."""

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def pin(pid: int, core: int) -> None:
    """Keep a process with all threads that it has, and so those that they will start, on one core."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread.name), {core})


@contextmanager
def two_cores() -> Iterator[tuple[int, int]]:
    """The exporter's core and that of all others, this process among them until the context ends."""
    mine = os.sched_getaffinity(0)
    others, exporters, *_ = [*sorted(mine), *sorted(mine)]  # twice the same one, where there is but one
    pin(os.getpid(), others)
    try:
        yield exporters, others
    finally:
        for thread in Path("/proc/self/task").iterdir():
            os.sched_setaffinity(int(thread.name), mine)
