"""A Celery application with a handful of known tasks, and what an exporter must have counted after them.

A worker imports ``app``, whose settings are the JSON object in the environment variable ``KNOWN_TASKS``; a test makes
its own with :func:`application` and the same settings.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

from celery import Celery
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.servers import ExporterProcess
from tests.waiting import wait_for

APP = "tests.integration.known_tasks"
VARIABLE = "KNOWN_TASKS"

ADDED, BROKEN = 3, 2

_START_S = 20.0


def add(left: int, right: int) -> int:
    """Add two numbers."""
    return left + right


def fail() -> None:
    """Fail."""
    raise ValueError("fails on purpose")


def application(settings: Mapping[str, Any]) -> Any:
    """Make the application with these Celery settings, not made current; task-sent events are on."""
    made = Celery("known", set_as_current=False)
    made.conf.update({"task_send_sent_event": True, "task_ignore_result": True, **settings})
    made.task(name="known.add")(add)
    made.task(name="known.fail")(fail)
    return made


def environment(settings: Mapping[str, Any]) -> dict[str, str]:
    """What a process needs to import the application with these settings."""
    return {VARIABLE: json.dumps(settings)}


app = application(json.loads(os.environ.get(VARIABLE, "{}")))


def submit(settings: Mapping[str, Any], *, added: int = ADDED, broken: int = BROKEN) -> None:
    """Send the known tasks over a connection of their own."""
    client = application(settings)
    with client.connection_for_write() as connection:
        for number in range(added):
            client.send_task("known.add", (number, 1), connection=connection)
        for _ in range(broken):
            client.send_task("known.fail", connection=connection)


def expected(*, added: int = ADDED, broken: int = BROKEN) -> dict[str, float]:
    """What :func:`task_counts` must come to after these many tasks, every one of them executed once."""
    counts: dict[str, float] = {}
    for task, outcome, number in (("known.add", "succeeded", added), ("known.fail", "failed", broken)):
        for kind in ("sent", "received", "started", outcome):
            counts[f"celery_task_{kind}_total {task} celery"] = number
        for name in ("queue_wait_seconds", "prefetch_wait_seconds", f"runtime_seconds {outcome}"):
            family, _, label = name.partition(" ")
            counts[" ".join(filter(None, (f"celery_task_{family}_count", label, task, "celery")))] = number
    counts["celery_task_exceptions_total ValueError failed known.fail celery"] = broken
    return {name: number for name, number in counts.items() if number}


def task_counts(text: str) -> dict[str, float]:
    """Every counter and histogram count of the task families that is not 0, by name and label values."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith("celery_task_") and sample.name.endswith(("_total", "_count")):
                labels = dict(sample.labels)
                last = [labels.pop(name) for name in ("task", "queue")]
                if sample.value:
                    found[" ".join([sample.name, *(labels[name] for name in sorted(labels)), *last])] = sample.value
    return found


def wait_until_receiving(exporter: ExporterProcess, *, times: int = 1, timeout: float = _START_S) -> None:
    """Wait until the exporter has said so often that its subscription stands."""
    exporter.process.wait_until(
        lambda: exporter.stderr.count('msg="receiving events"') >= times,
        timeout=timeout,
        what=f"an exporter that receives events for the {times}. time",
    )


def wait_until_counted(exporter: ExporterProcess, counts: Mapping[str, float], *, timeout: float = 15.0) -> None:
    """Wait until exactly these counts are there."""
    wait_for(
        lambda: task_counts(exporter.text()) == counts,
        timeout=timeout,
        what=lambda: f"{counts}; there are {task_counts(exporter.text())}: {exporter.process.describe()}",
    )
