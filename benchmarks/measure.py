"""One measurement: a consumer is started, the stream is published, the CPU time in between is read.

Owns: what a run is and when it counts. Must not know: how runs are compared.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.brokers import Broker
from benchmarks.consumers import Consumer, Counts, scrape
from benchmarks.cpu import cpu_seconds, wait_for_rest
from benchmarks.stream import Workload
from tests.integration.servers import ServerProcess, free_port
from tests.integration.servers.exporter import REPOSITORY, clean_environment
from tests.waiting import wait_for

_START_SECONDS: Final = 30.0
#: How long after the last message a consumer may still be busy with the stream.
_CATCH_UP_SECONDS: Final = 90.0
#: How long its metrics may need, after it came to rest, to show all of it.
_SHOW_SECONDS: Final = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One consumer and one stream.

    Attributes:
        cpu: seconds of user and system time, from before the first event until after the last.
        events: that were published, and counted by the consumer unless it failed.
        late: seconds by which the publisher was behind its schedule at worst.
        failure: why this run does not count; empty if it does.
    """

    cpu: float
    events: int
    late: float
    failure: str

    @property
    def microseconds(self) -> float:
        """CPU time of an event."""
        return self.cpu / self.events * 1e6


def run_once(consumer: Consumer, broker: Broker, workload: Workload, folder: Path) -> Run:
    """Measure one consumer with one stream."""
    with _consuming(consumer, broker, folder) as (process, port), _publishing(broker, workload) as publisher:
        events: dict[str, int] = _answer(publisher)
        before = cpu_seconds(process.pid)
        late: float = _answer(publisher)
        rested = wait_for_rest(process.pid, timeout=_CATCH_UP_SECONDS, alive=lambda: process.running)
        cpu = cpu_seconds(process.pid) - before
        failure = _compare(consumer.expected(events), consumer, port) if rested else "it never came to rest"
        if not process.running:
            failure = f"it ended: {process.describe()}"
        return Run(cpu=cpu, events=sum(events.values()), late=late, failure=failure)


def idle_cpu(consumer: Consumer, broker: Broker, seconds: float, folder: Path) -> float:
    """Measure the CPU seconds that a subscribed consumer uses while no event comes."""
    with _consuming(consumer, broker, folder) as (process, _port):
        before = cpu_seconds(process.pid)
        time.sleep(seconds)
        return cpu_seconds(process.pid) - before


@contextmanager
def _consuming(consumer: Consumer, broker: Broker, folder: Path) -> Iterator[tuple[ServerProcess, int]]:
    """Run a consumer; it is subscribed and rests when this is entered."""
    others = broker.subscribers()
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    process = ServerProcess(
        consumer.command(broker.url, port),
        log=folder / f"{port}.log",
        env=clean_environment({"PYTHONPATH": ""}),
        cwd=folder,
    )
    try:
        process.start()
        process.wait_until(
            lambda: broker.subscribers() > others, timeout=_START_SECONDS, what=f"events for {consumer.name}"
        )
        wait_for_rest(process.pid, timeout=_START_SECONDS, alive=lambda: process.running)
        yield process, port
    finally:
        process.stop()
        wait_for(
            lambda: broker.subscribers() <= others, timeout=_START_SECONDS, what=f"{consumer.name} to be gone"
        )


@contextmanager
def _publishing(broker: Broker, workload: Workload) -> Iterator["subprocess.Popen[str]"]:
    arguments = {
        "--tasks": workload.tasks,
        "--list-size": workload.list_size,
        "--rate": workload.rate,
    }
    command = [sys.executable, "-m", "benchmarks.publisher", broker.url]
    command += [str(word) for pair in arguments.items() for word in pair]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as publisher:
        try:
            yield publisher
        finally:
            publisher.kill()


def _answer(publisher: "subprocess.Popen[str]") -> Any:
    """Wait for the publisher's next line."""
    assert publisher.stdout is not None
    line = publisher.stdout.readline()
    assert line, f"the publisher ended with {publisher.wait()}"
    return json.loads(line)


def _compare(expected: Counts, consumer: Consumer, port: int) -> str:
    """Say what the consumer's metrics lack; empty if nothing."""
    deadline = time.monotonic() + _SHOW_SECONDS
    while True:
        counted = consumer.counted(scrape(port))
        wrong = [
            f"{kind}: {counted.get(kind, 0)} of {number}"
            for kind, number in expected.items()
            if counted.get(kind, 0) != number
        ]
        if not wrong or time.monotonic() > deadline:
            return ", ".join(wrong)
        time.sleep(0.5)
