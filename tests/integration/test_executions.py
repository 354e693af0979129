"""One task on several real workers: each execution is counted by itself."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Vhost
from tests.integration.executions_app import APP, VARIABLE, application
from tests.integration.known_counts import wait_until_receiving
from tests.integration.servers import CeleryWorker, ExporterProcess, Valkey
from tests.waiting import wait_for

HOLD = "executions.hold"
STARTED_S = 30.0

StartExporter = Callable[..., ExporterProcess]
StartWorker = Callable[..., CeleryWorker]


class Cluster:
    """An exporter and workers of the application on one broker, and a client for them."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        marks: Path,
        start_exporter: StartExporter,
        start_worker: StartWorker,
    ) -> None:
        marks.mkdir()
        self.marks = marks
        self.app = application(settings)
        self._env = {VARIABLE: json.dumps(settings)}
        self._start_worker = start_worker
        self.exporter = start_exporter("--broker-url", settings["broker_url"])
        wait_until_receiving(self.exporter)

    def start(self, name: str, queue: str = "celery", **settings: Any) -> CeleryWorker:
        """Start a worker."""
        return self._start_worker(
            APP, hostname=name, concurrency=1, queues=(queue,), env=self._env, **settings
        )

    def hold(self, **options: Any) -> None:
        """Publish a task that runs until it is released."""
        self.app.send_task(HOLD, (str(self.marks),), **options)

    def wait_until_it_runs_on(self, name: str) -> None:
        """Wait for the task on this worker."""
        mark = self.marks / f"{name}.runs"
        wait_for(mark.exists, timeout=STARTED_S, what=f"a task on {name}")

    def release(self, name: str, outcome: str) -> None:
        """End the task on this worker, with success (succeed) or failure (fail)."""
        (self.marks / f"{name}.{outcome}").touch()

    def number(self, family: str, **labels: str) -> float:
        """The sum of the samples of a name that have these labels."""
        return sum(
            value
            for (name, found), value in self.exporter.scrape().items()
            if name == f"celery_{family}" and labels.items() <= dict(found).items()
        )

    def wait_for_number(self, wanted: float, family: str, **labels: str) -> None:
        """Wait until the sum is this."""
        wait_for(
            lambda: self.number(family, **labels) == wanted,
            timeout=20,
            what=lambda: f"{family} {labels} {wanted}, not {self.number(family, **labels)}",
        )


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    """Where tasks and the test tell each other what happens."""
    return tmp_path / "marks"


def is_overdue(valkey: Valkey, *, seconds: float) -> bool:
    """Whether a message was delivered this long ago and is not acknowledged."""
    with valkey.client() as client:
        return bool(client.zcount("unacked_index", "-inf", time.time() - seconds))


def test_a_message_that_is_delivered_again_while_it_runs(
    valkey: Valkey, marks: Path, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """After ``visibility_timeout`` a second worker gets it from Redis: both run it, one fails, one succeeds."""
    settings = {"broker_url": valkey.url, "broker_transport_options": {"visibility_timeout": 1}}
    cluster = Cluster(settings, marks, start_exporter, start_worker)
    cluster.start("w0")
    cluster.hold()
    cluster.wait_until_it_runs_on("w0")
    wait_for(lambda: is_overdue(valkey, seconds=2), timeout=20, what="a message to deliver again")
    cluster.start("w1")  # kombu looks for such messages when a worker begins to consume, then every 100 s
    cluster.wait_until_it_runs_on("w1")
    cluster.wait_for_number(2, "task_in_progress", task=HOLD, queue="celery")
    cluster.release("w0", "fail")
    cluster.wait_for_number(1, "task_failed_total", task=HOLD, queue="celery")
    assert cluster.number("task_in_progress") == 1
    cluster.release("w1", "succeed")
    cluster.wait_for_number(1, "task_succeeded_total", task=HOLD, queue="celery")
    cluster.wait_for_number(0, "task_in_progress")
    assert cluster.number("task_sent_total") == 1
    assert cluster.number("task_queue_wait_seconds_count", task=HOLD, queue="celery") == 2
    assert cluster.number("task_runtime_seconds_count", outcome="failed") == 1
    assert cluster.number("worker_tasks_total", worker="w0@localhost", outcome="failed") == 1
    assert cluster.number("worker_tasks_total", worker="w1@localhost", outcome="succeeded") == 1


def test_an_id_that_is_published_again_while_it_runs(
    broker_url: str, marks: Path, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """Two publications of one id to two queues: each has its queue, its wait and its outcome."""
    cluster = Cluster({"broker_url": broker_url}, marks, start_exporter, start_worker)
    for name in ("w0", "w1"):
        cluster.start(name, f"{name}s")
        # A worker's events may come before the task-sent; then the queue that it consumes tells the publication.
        cluster.wait_for_number(1, "worker_queue_info", worker=f"{name}@localhost", queue=f"{name}s")
        cluster.hold(task_id="fixed", queue=f"{name}s")
        cluster.wait_until_it_runs_on(name)
    cluster.wait_for_number(1, "task_in_progress", queue="w0s")
    cluster.wait_for_number(1, "task_in_progress", queue="w1s")
    cluster.release("w0", "succeed")
    cluster.wait_for_number(1, "task_succeeded_total", task=HOLD, queue="w0s")
    cluster.release("w1", "fail")
    cluster.wait_for_number(1, "task_failed_total", task=HOLD, queue="w1s")
    for queue in ("w0s", "w1s"):
        cluster.wait_for_number(0, "task_in_progress", queue=queue)
        for family in ("task_sent_total", "task_started_total", "task_queue_wait_seconds_count"):
            assert cluster.number(family, task=HOLD, queue=queue) == 1


def test_a_worker_that_is_killed(
    rabbitmq_vhost: Vhost, marks: Path, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """Its task runs elsewhere; when a worker of its name comes back, what it ran is in progress no more."""
    cluster = Cluster({"broker_url": rabbitmq_vhost.url}, marks, start_exporter, start_worker)
    killed = cluster.start("w0")
    cluster.hold()
    cluster.wait_until_it_runs_on("w0")
    cluster.wait_for_number(1, "task_in_progress", task=HOLD)
    killed.kill()
    cluster.start("w1")
    cluster.wait_until_it_runs_on("w1")
    cluster.wait_for_number(2, "task_in_progress", task=HOLD)
    cluster.start("w0", "another")
    cluster.wait_for_number(1, "task_in_progress", task=HOLD)
    cluster.release("w1", "succeed")
    cluster.wait_for_number(0, "task_in_progress")
    assert cluster.number("task_succeeded_total", task=HOLD, queue="celery") == 1
    assert cluster.number("task_started_total", task=HOLD, queue="celery") == 2


def test_a_broadcast(
    rabbitmq_vhost: Vhost, marks: Path, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """Every worker runs it, and has an outcome of its own."""
    settings = {"broker_url": rabbitmq_vhost.url, "broadcast": "all"}
    cluster = Cluster(settings, marks, start_exporter, start_worker)
    names = ("w0", "w1", "w2")
    for name in names:
        cluster.start(name, "all")
    cluster.hold(queue="all")
    for name in names:
        cluster.wait_until_it_runs_on(name)
    cluster.wait_for_number(3, "task_in_progress", task=HOLD)
    cluster.release("w1", "fail")
    cluster.wait_for_number(2, "task_in_progress", task=HOLD)
    cluster.wait_for_number(1, "task_failed_total", task=HOLD)
    for name in ("w2", "w0"):
        cluster.release(name, "succeed")
    cluster.wait_for_number(2, "task_succeeded_total", task=HOLD)
    assert cluster.number("task_in_progress") == 0
    assert cluster.number("task_queue_wait_seconds_count", task=HOLD) == 3


def test_a_shadow(
    broker_url: str, marks: Path, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """What workers tell counts under the name of ``shadow`` and the queue of the task-sent, retries too."""
    cluster = Cluster({"broker_url": broker_url}, marks, start_exporter, start_worker)
    cluster.start("w0", "mail", pool="solo")
    cluster.app.tasks["executions.retry"].apply_async(shadow="billing", queue="mail")
    labels = {"task": "billing", "queue": "mail"}
    cluster.wait_for_number(1, "task_succeeded_total", **labels)
    cluster.wait_for_number(1, "task_retried_total", **labels)
    for family in ("task_received_total", "task_started_total", "task_queue_wait_seconds_count"):
        cluster.wait_for_number(2, family, **labels)
        assert cluster.number(family) == 2
