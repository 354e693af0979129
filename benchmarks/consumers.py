"""What is compared: each consumer as its users run it, and how it tells what it has counted.

Owns: their command lines and metric names. Must not know: how they are measured.
"""

import sys
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.peers import peer_python, versions

_HOST: Final = "127.0.0.1"
_SCRAPE_SECONDS: Final = 30.0
_TASK_EVENTS: Final = ("task-sent", "task-received", "task-started", "task-succeeded", "task-failed")
_BARE_RECEIVER: Final = Path(__file__).with_name("bare_receiver.py")

#: Numbers of events by type, by whatever a consumer tells apart.
Counts = Mapping[str, int]
#: Samples of a metrics page, summed over their labels.
Totals = Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """One program that consumes the event stream and serves metrics on 127.0.0.1.

    Attributes:
        name: as it stands in the tables.
        versions: of what it runs on.
        command: its command line for a broker URL and a port.
        expected: what it should have counted, of the numbers of published events by type.
        counted: what it did count, of the totals of its metrics page.
    """

    name: str
    versions: Mapping[str, str]
    command: Callable[[str, int], list[str]]
    expected: Callable[[Counts], Counts]
    counted: Callable[[Totals], Counts]


def scrape(port: int) -> Totals:
    """Read a consumer's metrics page."""
    with urllib.request.urlopen(f"http://{_HOST}:{port}/metrics", timeout=_SCRAPE_SECONDS) as response:
        text = str(response.read(), "utf-8")
    totals: defaultdict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            totals[sample.name] += sample.value
    return totals


def ours() -> Consumer:
    """This project, with the receiver that it chooses for the broker."""

    def command(url: str, port: int) -> list[str]:
        return [
            sys.executable,
            "-m",
            "exporter",
            f"--broker-url={url}",
            f"--web.listen-address={_HOST}:{port}",
        ]

    def counted(totals: Totals) -> Counts:
        dropped = int(totals.get("celery_exporter_events_dropped_total", 0))
        return {**_task_counters(totals), "all": int(totals.get("celery_exporter_events_total", 0)) + dropped}

    return Consumer(
        name="celery-exporter (ours)",
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
        expected=lambda events: {**_task_events(events), "all": sum(events.values())},
        counted=counted,
    )


def danihodovic(environments: Path) -> Consumer:
    """danihodovic/celery-exporter; it has no console script."""
    python = peer_python(environments, "danihodovic")

    def command(url: str, port: int) -> list[str]:
        start = "from src.cli import cli; cli()"
        return [str(python), "-c", start, f"--broker-url={url}", f"--host={_HOST}", f"--port={port}"]

    return Consumer(
        name="danihodovic/celery-exporter",
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


def bare_receiver() -> Consumer:
    """Celery's EventReceiver with a handler that does nothing."""
    return Consumer(
        name="Celery EventReceiver, bare",
        versions=versions(sys.executable, "celery", "kombu", "redis", "hiredis", "amqp"),
        command=lambda url, port: [sys.executable, str(_BARE_RECEIVER), url, str(port)],
        expected=lambda events: {"all": sum(events.values())},
        counted=lambda totals: {"all": int(totals["events"])},
    )


def _task_events(events: Counts) -> Counts:
    return {kind: events[kind] for kind in _TASK_EVENTS}


def _task_counters(totals: Totals) -> Counts:
    """Both exporters count a type of event under the same name."""
    return {kind: int(totals.get(f"celery_{kind.replace('-', '_')}_total", 0)) for kind in _TASK_EVENTS}
