"""What the benchmarks read of processes: this one, and one that is started."""

import gc
import os
import subprocess
import sys
import time

import pytest

from benchmarks.child import ChildProcess
from benchmarks.load.cores import pin, two_cores
from benchmarks.usage import cpu_seconds, held_memory, peak_memory

_BUSY = "import time\nwhile time.process_time() < 0.3: pass\nprint(time.process_time(), flush=True)\ninput()"


def test_cpu_time_is_the_processes_own() -> None:
    """What a process says of its own CPU time is what is read from outside."""
    with subprocess.Popen(
        [sys.executable, "-c", _BUSY],
        start_new_session=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        told = float(process.stdout.readline())
        assert cpu_seconds(process.pid) == pytest.approx(told, abs=0.05)
        assert held_memory(process.pid) <= peak_memory(process.pid)
        process.kill()
    assert cpu_seconds(process.pid) == peak_memory(process.pid) == 0


def test_held_memory_grows_with_what_is_held() -> None:
    """A large block of bytes shows."""
    gc.collect()
    before = held_memory(os.getpid())
    block = b"x" * 50_000_000
    assert held_memory(os.getpid()) - before == pytest.approx(len(block), rel=0.2)


def test_cores_are_given_and_taken_back() -> None:
    """While cores are shared out this process has one, and a child can have the other; then all is as it was."""
    before = os.sched_getaffinity(0)
    with (
        two_cores() as (exporters, others),
        ChildProcess.started("benchmarks.scrapes.server", "--series=0") as child,
    ):
        assert os.sched_getaffinity(0) == {others}
        pin(child.pid, exporters)
        assert os.sched_getaffinity(child.pid) == {exporters}
    assert os.sched_getaffinity(0) == before


def test_dialogue_gives_orders_and_takes_answers() -> None:
    """A process of ours answers in order; one that has ended is told by its name."""
    with ChildProcess.started("benchmarks.scrapes.server", "--series=0") as server:
        greeting = server.read_reply()
        assert greeting["series"] > 0
        began = time.monotonic()
        ours, theirs = server.request("encode", "text")
        assert 0 < ours + theirs <= time.monotonic() - began
        with pytest.raises(RuntimeError, match=r"benchmarks\.scrapes\.server ended"):
            server.request("encode", "no such format")
