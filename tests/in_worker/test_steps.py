"""Where our steps stand in a worker, whatever order Celery gives the others in this process."""

import subprocess
import sys

import pytest

from tests.integration.servers.exporter import REPOSITORY, clean_environment

_SHOW = """
import sys
from celery import Celery
from celery_metrics_exporter.in_worker import install
options = dict(argument.split("=") for argument in sys.argv[1:])
app = Celery("steps", broker="memory://")
install(app)
worker = app.WorkController(pool_cls="solo", **{name: value == "True" for name, value in options.items()})
print(" ".join(step.name.rpartition(".")[2] for step in worker.consumer.steps))
print(" ".join(step.name.rpartition(".")[2] for step in worker.steps))
"""


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize(
    ("options", "before"),
    [
        ({}, "Events"),
        ({"without_gossip": True, "without_heartbeat": True, "task_events": False}, "Connection"),
        ({"without_gossip": True, "without_heartbeat": True, "task_events": True}, "Events"),
        ({"without_mingle": True}, "Events"),
    ],
    ids=["plain", "no dispatcher", "-E alone", "no mingle"],
)
def test_events_are_seen_from_the_first_step_on(options: dict[str, bool], before: str, number: int) -> None:
    """Ours comes directly behind the step that makes the dispatcher, so before any that keeps it."""
    shown = subprocess.run(
        [sys.executable, "-c", _SHOW, *(f"{name}={value}" for name, value in options.items())],
        env=clean_environment({"PYTHONHASHSEED": str(number)}),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    consumer, worker = (line.split() for line in shown)
    assert consumer[consumer.index("MetricsEvents") - 1] == before
    assert consumer.index("MetricsEvents") < consumer.index("Tasks")
    assert worker[-1] == "Consumer"
    assert worker.index("Pool") < worker.index("MetricsServer")
