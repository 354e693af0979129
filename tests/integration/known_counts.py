"""What an exporter must have counted after the tasks of ``known_tasks``, over any way to a broker."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.integration.known_tasks import APP, application, environment
from tests.integration.servers import CeleryWorker, ExporterProcess
from tests.waiting import wait_for

ADDED, BROKEN = 3, 2

_START_S = 20.0
_COUNTED_S = 15.0


@dataclass(frozen=True, slots=True)
class Route:
    """A way to a broker: its URL, Celery's further settings for it and the exporter's further arguments."""

    url: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()

    @property
    def celery(self) -> dict[str, Any]:
        """What workers and clients are told."""
        return {"broker_url": self.url, **self.settings}


def submit(settings: Mapping[str, Any], *, added: int = ADDED, broken: int = BROKEN) -> None:
    """Send known tasks over a connection of their own."""
    client = application(settings)
    with client.connection_for_write() as connection:
        for number in range(added):
            client.send_task("known.add", (number, 1), connection=connection)
        for _ in range(broken):
            client.send_task("known.fail", connection=connection)


def expected(*, added: int = ADDED, broken: int = BROKEN) -> dict[str, float]:
    """What :func:`task_counts` must come to after these many tasks, every one of them executed once."""
    counts: dict[str, float] = {"celery_task_exceptions_total ValueError failed known.fail celery": broken}
    for task, outcome, number in (("known.add", "succeeded", added), ("known.fail", "failed", broken)):
        for kind in ("sent", "received", "started", outcome):
            counts[f"celery_task_{kind}_total {task} celery"] = number
        for wait in ("queue", "prefetch"):
            counts[f"celery_task_{wait}_wait_seconds_count {task} celery"] = number
        counts[f"celery_task_runtime_seconds_count {outcome} {task} celery"] = number
    return {name: number for name, number in counts.items() if number}


def task_counts(text: str) -> dict[str, float]:
    """Every counter and histogram count of the task families that is not 0, by name and label values."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if (
                sample.value
                and sample.name.startswith("celery_task_")
                and sample.name.endswith(("_total", "_count"))
            ):
                labels = dict(sample.labels)
                task = [labels.pop(name) for name in ("task", "queue")]
                found[" ".join([sample.name, *(labels[name] for name in sorted(labels)), *task])] = (
                    sample.value
                )
    return found


def wait_until_receiving(exporter: ExporterProcess, *, times: int = 1, timeout: float = _START_S) -> None:
    """Wait until the exporter has said so often that its subscription stands."""
    exporter.process.wait_until(
        lambda: exporter.stderr.count('msg="receiving events"') >= times,
        timeout=timeout,
        what=f"an exporter that receives events for the {times}. time",
    )


def wait_until_counted(
    exporter: ExporterProcess, counts: Mapping[str, float], *, timeout: float = _COUNTED_S
) -> None:
    """Wait until exactly these counts are there."""
    wait_for(
        lambda: task_counts(exporter.text()) == counts,
        timeout=timeout,
        what=lambda: f"{counts}; there are {task_counts(exporter.text())}: {exporter.process.describe()}",
    )


def check_route(
    route: Route, start_exporter: Callable[..., ExporterProcess], start_worker: Callable[..., CeleryWorker]
) -> ExporterProcess:
    """Run the known tasks over this route; every count must be right and nothing dropped. Returns the exporter."""
    exporter = start_exporter("--broker-url", route.url, *route.arguments)
    worker = start_worker(APP, pool="solo", env=environment(route.celery))
    wait_until_receiving(exporter)
    submit(route.celery)
    wait_until_counted(exporter, expected())
    worker.kill()  # a warm shutdown tells nothing here, and takes its time over sentinels
    assert exporter.total("celery_exporter_events_dropped_total") == 0
    assert exporter.value("celery_exporter_receiver_reconnects_total") == 0
    assert exporter.value("celery_worker_up", worker=worker.nodename) == 1
    return exporter
