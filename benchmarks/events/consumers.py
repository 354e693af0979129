"""What is compared: each consumer as its users run it, and how it tells what it has counted.

Owns: their command lines and metric names. Must not know: how they are measured.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client.samples import Sample

from benchmarks.pages import DROPPED, EVENTS, total
from benchmarks.peers import peer_python, versions
from tests.integration.servers import HOST

_TASK_EVENTS: Final = ("task-sent", "task-received", "task-started", "task-succeeded", "task-failed")
_COUNTERS: Final = "benchmarks.events.counters"
#: Environments of peers live where `make clean` finds them.
_ENVIRONMENTS: Final = Path(sys.prefix) / "peers"

#: Names as they stand in the tables.
OURS: Final = "celery-exporter (ours)"
DANIHODOVIC: Final = "danihodovic/celery-exporter"
RAW: Final = "client library, nothing decoded"

#: Numbers of events by type, by whatever a consumer tells apart.
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

    def command(url: str, port: int) -> list[str]:
        options = [f"--broker-url={url}", f"--web.listen-address={HOST}:{port}", f"--receiver={receiver}"]
        return [sys.executable, "-m", "celery_metrics_exporter", *options]

    def counted(samples: Sequence[Sample]) -> Counts:
        return {**_task_counters(samples), "all": total(samples, EVENTS) + total(samples, DROPPED)}

    return Consumer(
        name=OURS if receiver == "auto" else f"the same, --receiver {receiver}",
        versions=versions(
            sys.executable,
            "celery-metrics-exporter",
            "celery",
            "kombu",
            "redis",
            "hiredis",
            "amqp",
            "msgspec",
            "prometheus-client",
        ),
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
        versions=versions(
            python,
            "prometheus-exporter-celery",
            "celery",
            "kombu",
            "redis",
            "hiredis",
            "amqp",
            "prometheus-client",
        ),
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
        versions=versions(
            python, "flower", "celery", "kombu", "redis", "hiredis", "amqp", "tornado", "prometheus-client"
        ),
        command=command,
        expected=_task_events,
        counted=lambda samples: {
            kind: total(samples, "flower_events_total", type=kind) for kind in _TASK_EVENTS
        },
    )


def bare_receiver() -> Consumer:
    """Celery's EventReceiver with a handler that does nothing."""
    module = f"{_COUNTERS}.event_receiver"
    return Consumer(
        name="Celery EventReceiver, bare",
        versions=versions(sys.executable, "celery", "kombu", "redis", "hiredis", "amqp"),
        command=lambda url, port: [sys.executable, "-m", module, url, str(port)],
        expected=lambda published: {"all": published.total},
        counted=_taken,
    )


def raw_client() -> Consumer:
    """The client library alone, which decodes nothing: redis-py or py-amqp, by the broker."""

    def command(url: str, port: int) -> list[str]:
        module = "py_amqp" if url.startswith("amqp") else "redis_py"
        return [sys.executable, "-m", f"{_COUNTERS}.{module}", url, str(port)]

    return Consumer(
        name=RAW,
        versions=versions(sys.executable, "redis", "hiredis", "amqp"),
        command=command,
        expected=lambda published: {"all": published.messages},
        counted=_taken,
    )


#: Everybody that can be compared, by the name on the command line.
CONSUMERS: Final[Mapping[str, Callable[[], Consumer]]] = {
    "ours": ours,
    "ours-kombu": lambda: ours("kombu"),
    "danihodovic": danihodovic,
    "flower": flower,
    "bare": bare_receiver,
    "raw": raw_client,
}


def _task_events(published: Published) -> Counts:
    return {kind: published.events.get(kind, 0) for kind in _TASK_EVENTS}


def _task_counters(samples: Sequence[Sample]) -> Counts:
    """Both exporters count a type of event under the same name."""
    return {kind: total(samples, f"celery_{kind.replace('-', '_')}_total") for kind in _TASK_EVENTS}


def _taken(samples: Sequence[Sample]) -> Counts:
    return {"all": total(samples, "taken")}
