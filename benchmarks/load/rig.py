"""Valkey with its limits at their defaults, a generator and our exporter, each on its core."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.child import ChildProcess
from benchmarks.load.cores import pin, two_cores
from benchmarks.metrics import DROPPED, EVENTS, samples, total
from benchmarks.usage import wait_until_idle
from tests.integration.servers import ExporterProcess, Valkey
from tests.waiting import wait_for

_START_SECONDS: Final = 30.0
_IDLE_SECONDS: Final = 10.0
#: How long the count of events may stand still before no more are waited for.
_STILL_SECONDS: Final = 3.0
_LOOK_SECONDS: Final = 0.2
_RECONNECTS: Final = "celery_exporter_receiver_reconnects_total"


@dataclass(frozen=True, slots=True)
class Rig:
    """A broker and a generator on one core, room for an exporter on another.

    Attributes:
        version: of the broker.
        generator: takes requests, see :mod:`benchmarks.load.generator`.
    """

    folder: Path
    core: int
    server: Valkey
    client: Any
    version: str
    generator: ChildProcess

    @contextmanager
    def exporter(self, *options: str) -> Iterator[ExporterProcess]:
        """Run one; it is subscribed and idle when the context begins."""
        folder = self.folder / f"exporter-{time.monotonic_ns()}"
        with ExporterProcess(folder, ["--broker-url", self.server.url, *options]) as exporter:
            pin(exporter.pid, self.core)
            wait_for(self.subscribers, timeout=_START_SECONDS, what="a subscription")
            wait_until_idle(exporter.pid, timeout=_IDLE_SECONDS, alive=lambda: exporter.process.running)
            yield exporter
        wait_for(lambda: not self.subscribers(), timeout=_START_SECONDS, what="an exporter to be gone")

    def subscribers(self) -> list[dict[str, str]]:
        """Clients with a pattern, as the server lists them."""
        return [each for each in self.client.client_list() if int(each["psub"])]

    def waiting_bytes(self) -> int:
        """What the server holds for subscribers that have not read it yet."""
        return sum(int(each["omem"]) for each in self.subscribers())

    def cut_off(self) -> int:
        """How many clients the server has cut off for being slow."""
        return int(self.client.info("stats")["client_output_buffer_limit_disconnections"])

    def lost(self, exporter: ExporterProcess, cut_off: int) -> int:
        """How many connections of an exporter have ended; so many clients had been cut off when it was started."""
        return max(self.cut_off() - cut_off, total(samples(exporter.url, _RECONNECTS), _RECONNECTS))


@contextmanager
def start_rig(folder: Path, *options: object) -> Iterator[Rig]:
    """Start broker and generator, which takes these options."""
    with ExitStack() as stack:
        exporters, others = stack.enter_context(two_cores())
        server = stack.enter_context(Valkey(folder / "broker"))
        client = stack.enter_context(server.client())
        generator = stack.enter_context(
            ChildProcess.started("benchmarks.load.generator", server.url, *options)
        )
        generator.read_reply()
        for pid in (server.pid, generator.pid):
            pin(pid, others)
        version = f"Valkey {client.info('server')['valkey_version']}"
        yield Rig(folder, exporters, server, client, version, generator)


def counted(exporter: ExporterProcess, expected: int) -> int:
    """How many events it has counted in the end, none of them dropped."""
    known, changed = -1, time.monotonic()
    while known < expected and time.monotonic() - changed < _STILL_SECONDS:
        time.sleep(_LOOK_SECONDS)
        found = total(samples(exporter.url, EVENTS), EVENTS)
        if found != known:
            known, changed = found, time.monotonic()
    return known - total(samples(exporter.url, DROPPED), DROPPED)
