"""One measurement: a consumer is started, the stream is published, the CPU time in between is read."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.brokers import Broker
from benchmarks.child import ChildProcess
from benchmarks.events.consumers import Consumer, Counts, Published
from benchmarks.metrics import samples
from benchmarks.usage import cpu_seconds, peak_memory, wait_until_idle
from tests.integration.servers import HOST, ServerProcess, free_port
from tests.integration.servers.exporter import clean_environment
from tests.waiting import wait_for

_START_SECONDS: Final = 30.0
#: How long after the last message a consumer may still be busy with the stream.
_CATCH_UP_SECONDS: Final = 90.0
#: How long its metrics may need, once it is idle, to show all of it.
_SHOW_SECONDS: Final = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What is published, see :class:`benchmarks.stream.Workload`; without a ``rate`` as fast as it is read."""

    tasks: int
    list_size: int
    sent: bool = True
    rate: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One consumer and one stream.

    Attributes:
        cpu: seconds of user and system time, from before the first event until after the last.
        events: that were published, and all counted by the consumer unless it failed.
        seconds: that the publisher took.
        memory: bytes at the most, of all processes of the consumer.
        failure: why this run does not count; empty if it does.
    """

    cpu: float
    events: int
    seconds: float
    memory: int
    failure: str

    @property
    def microseconds(self) -> float:
        """CPU time of an event."""
        return self.cpu / self.events * 1e6


def run_once(consumer: Consumer, broker: Broker, shape: Shape, folder: Path) -> Run:
    """Measure one consumer with one stream."""
    with _publishing(broker, shape) as publisher, _consuming(consumer, broker, folder) as running:
        published = Published(**publisher.read_reply())
        before = cpu_seconds(running.process.pid)
        seconds: float = publisher.request("publish")
        idle = running.wait_until_idle(_CATCH_UP_SECONDS)
        cpu = cpu_seconds(running.process.pid) - before
        memory = peak_memory(running.process.pid)
        if idle:
            failure = running.missing(consumer.expected(published))
        else:
            failure = f"it never became idle: {running.process.describe()}"
        return Run(cpu=cpu, events=published.total, seconds=seconds, memory=memory, failure=failure)


def idle_cpu(consumers: Sequence[Consumer], broker: Broker, seconds: float, folder: Path) -> list[float]:
    """Measure the CPU seconds that each of several subscribed consumers uses while no event comes."""
    with ExitStack() as stack:
        groups = [
            stack.enter_context(_consuming(consumer, broker, folder)).process.pid for consumer in consumers
        ]
        before = [cpu_seconds(group) for group in groups]
        time.sleep(seconds)
        return [cpu_seconds(group) - used for group, used in zip(groups, before, strict=True)]


@dataclass(frozen=True, slots=True)
class _Running:
    """A consumer that runs."""

    consumer: Consumer
    process: ServerProcess
    port: int

    def wait_until_idle(self, timeout: float) -> bool:
        """Wait until it has nothing more to do."""
        return wait_until_idle(self.process.pid, timeout=timeout, alive=lambda: self.process.running)

    def missing(self, expected: Counts) -> str:
        """Say which events its metrics lack; empty if none."""
        deadline = time.monotonic() + _SHOW_SECONDS
        while True:
            counted = self.consumer.counted(samples(f"http://{HOST}:{self.port}/metrics"))
            wrong = [
                f"{kind}: {counted[kind]} of {number}"
                for kind, number in expected.items()
                if counted[kind] != number
            ]
            if not wrong or time.monotonic() > deadline:
                return ", ".join(wrong)
            time.sleep(0.5)


@contextmanager
def _consuming(consumer: Consumer, broker: Broker, folder: Path) -> Iterator[_Running]:
    """Run a consumer; it is subscribed and idle when the context begins."""
    others = broker.subscribers()
    port = free_port()
    process = ServerProcess(
        consumer.command(broker.url, port),
        log=folder / f"{port}.log",
        env=clean_environment({"PYTHONPATH": ""}),
        cwd=folder,
    )
    running = _Running(consumer, process, port)
    try:
        process.start()
        process.wait_until(
            lambda: broker.subscribers() > others, timeout=_START_SECONDS, what=f"events for {consumer.name}"
        )
        running.wait_until_idle(_START_SECONDS)
        yield running
    finally:
        process.stop()
        wait_for(
            lambda: broker.subscribers() <= others, timeout=_START_SECONDS, what=f"{consumer.name} to be gone"
        )


@contextmanager
def _publishing(broker: Broker, shape: Shape) -> Iterator[ChildProcess]:
    """Let a publisher prepare the stream, see :mod:`benchmarks.publisher`."""
    options = [f"--tasks={shape.tasks}", f"--list-size={shape.list_size}"]
    if shape.rate:
        options.append(f"--rate={shape.rate}")
    if not shape.sent:
        options.append("--unsent")
    with ChildProcess.started("benchmarks.publisher", broker.url, *options) as publisher:
        yield publisher
