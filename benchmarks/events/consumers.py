"""What is compared: each consumer as its users run it, and where its metrics show what it has counted."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client.samples import Sample

from benchmarks.metrics import DROPPED, EVENTS, total
from benchmarks.peers import peer_python, versions
from tests.integration.servers import HOST
from tests.integration.servers.exporter import REPOSITORY

_TASK_EVENTS: Final = ("task-sent", "task-received", "task-started", "task-succeeded", "task-failed")
LIBRARIES: Final = ("celery", "kombu", "redis", "hiredis", "amqp")
#: Environments of peers live where `make clean` finds them.
_ENVIRONMENTS: Final = Path(sys.prefix) / "peers"

#: Names as they stand in the tables.
OURS: Final = "celery-exporter (ours)"
DANIHODOVIC: Final = "danihodovic/celery-exporter"
#: The name on the command line of what RabbitMQ alone can be compared with.
DURABLE: Final = "ours-durable"
RAW: Final = "client library, nothing decoded"

#: Numbers of events by type, or by what a consumer distinguishes.
Counts = Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What went over the broker: events by type, and the messages that held them."""

    events: Counts
    messages: int

    @property
    def total(self) -> int:
        """All events."""
        return sum(self.events.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """One program that consumes the event stream and serves metrics on 127.0.0.1.

    Attributes:
        name: as it stands in the tables.
        versions: of what it runs on.
        command: its command line for a broker URL and a port.
        expected: what it should have counted.
        counted: what it did count, by its metrics page.
    """

    name: str
    versions: Mapping[str, str]
    command: Callable[[str, int], list[str]]
    expected: Callable[[Published], Counts]
    counted: Callable[[Sequence[Sample]], Counts]


def ours(receiver: str = "auto") -> Consumer:
    """This project, with the receiver that it chooses for the broker, or with the one that works with every broker."""
    name = OURS if receiver == "auto" else f"the same, --receiver {receiver}"
    return _exporter(name, sys.executable, "celery_metrics_exporter", f"--receiver={receiver}")


def ours_durable() -> Consumer:
    """This project with a durable event queue on RabbitMQ, whose messages it acknowledges."""
    options = ("--event-queue-durable", "--no-event-queue-exclusive", "--event-queue-expires=1s")
    return _exporter("the same, --event-queue-durable", sys.executable, "celery_metrics_exporter", *options)


def checkout(folder: Path) -> Consumer:
    """The exporter of another checkout of this project, of this or an older layout, in its own environment."""
    package = "celery_metrics_exporter"
    module = package if (folder / "exporter" / package).is_dir() else "exporter"
    return _exporter(f"the checkout in {folder}", folder / ".venv" / "bin" / "python", module)


def _exporter(name: str, python: Path | str, module: str, *options: str) -> Consumer:
    def command(url: str, port: int) -> list[str]:
        where = [f"--broker-url={url}", f"--web.listen-address={HOST}:{port}"]
        return [str(python), "-m", module, *where, *options]

    def counted(samples: Sequence[Sample]) -> Counts:
        return {**_task_counters(samples), "all": total(samples, EVENTS) + total(samples, DROPPED)}

    return Consumer(
        name=name,
        versions=versions(python, "celery-metrics-exporter", *LIBRARIES, "msgspec", "prometheus-client"),
        command=command,
        expected=lambda published: {**_task_events(published), "all": published.total},
        counted=counted,
    )


def danihodovic() -> Consumer:
    """danihodovic/celery-exporter; it has no console script."""
    python = peer_python(_ENVIRONMENTS, "danihodovic")

    def command(url: str, port: int) -> list[str]:
        start = "from src.cli import cli; cli()"
        return [str(python), "-c", start, f"--broker-url={url}", f"--host={HOST}", f"--port={port}"]

    return Consumer(
        name=DANIHODOVIC,
        versions=versions(python, "prometheus-exporter-celery", *LIBRARIES, "prometheus-client"),
        command=command,
        expected=_task_events,
        counted=_task_counters,
    )


def flower() -> Consumer:
    """Flower with its defaults: pages, API, and its request to all workers to send events, every five seconds."""
    python = peer_python(_ENVIRONMENTS, "flower")

    def command(url: str, port: int) -> list[str]:
        where = [f"--address={HOST}", f"--port={port}"]
        return [str(python), "-m", "celery", f"--broker={url}", "flower", *where]

    return Consumer(
        name="Flower",
        versions=versions(python, "flower", *LIBRARIES, "tornado", "prometheus-client"),
        command=command,
        expected=_task_events,
        counted=lambda samples: {
            kind: total(samples, "flower_events_total", type=kind) for kind in _TASK_EVENTS
        },
    )


def bare_receiver() -> Consumer:
    """Celery's EventReceiver with a handler that does nothing."""
    return Consumer(
        name="Celery EventReceiver, bare",
        versions=versions(sys.executable, *LIBRARIES),
        command=lambda url, port: _count_with("event_receiver", url, port),
        expected=lambda published: {"all": published.total},
        counted=_taken,
    )


def raw_client() -> Consumer:
    """The client library alone, which decodes nothing: redis-py or py-amqp, by the broker."""
    return Consumer(
        name=RAW,
        versions=versions(sys.executable, "redis", "hiredis", "amqp"),
        command=lambda url, port: _count_with("py_amqp" if url.startswith("amqp") else "redis_py", url, port),
        expected=lambda published: {"all": published.messages},
        counted=_taken,
    )


#: All consumers that can be compared, by the name on the command line.
CONSUMERS: Final[Mapping[str, Callable[[], Consumer]]] = {
    "ours": ours,
    "ours-kombu": lambda: ours("kombu"),
    DURABLE: ours_durable,
    "danihodovic": danihodovic,
    "flower": flower,
    "bare": bare_receiver,
    "raw": raw_client,
}


def _count_with(module: str, url: str, port: int) -> list[str]:
    """The command line of one of :mod:`benchmarks.events.counters`, which is found in this checkout."""
    python = ["env", f"PYTHONPATH={REPOSITORY}", sys.executable]
    return [*python, "-m", f"benchmarks.events.counters.{module}", url, str(port)]


def _task_events(published: Published) -> Counts:
    return {kind: published.events.get(kind, 0) for kind in _TASK_EVENTS}


def _task_counters(samples: Sequence[Sample]) -> Counts:
    """Both exporters count a type of event under the same name."""
    return {kind: total(samples, f"celery_{kind.replace('-', '_')}_total") for kind in _TASK_EVENTS}


def _taken(samples: Sequence[Sample]) -> Counts:
    return {"all": total(samples, "taken")}
