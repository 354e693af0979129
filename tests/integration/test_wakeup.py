"""What the exporter asks of workers, and what it does while no event comes: on Redis and on RabbitMQ."""

import json
import time
from collections.abc import Callable

import pytest

from tests.integration.event_sender import EventSender
from tests.integration.known_counts import (
    expected,
    submit,
    task_counts,
    wait_until_counted,
    wait_until_receiving,
)
from tests.integration.known_tasks import APP, environment
from tests.integration.servers import CeleryWorker, ExporterProcess, Valkey
from tests.waiting import wait_for

StartExporter = Callable[..., ExporterProcess]
StartWorker = Callable[..., CeleryWorker]

#: No heartbeat comes by itself within a test.
SILENT = ("--without-gossip", "--without-mingle", "--heartbeat-interval", "3600")
LIVELY = ("--without-gossip", "--without-mingle", "--heartbeat-interval", "1")


@pytest.mark.parametrize("option", ["--enable-events", "--no-enable-events"])
def test_a_worker_that_keeps_silent_introduces_itself(
    broker_url: str, start_exporter: StartExporter, start_worker: StartWorker, option: str
) -> None:
    """Workers that were there before the exporter are up at once: they answer its broadcast with a heartbeat."""
    settings = {"broker_url": broker_url}
    worker = start_worker(APP, pool="solo", events=False, env=environment(settings), arguments=SILENT)
    exporter = start_exporter("--broker-url", broker_url, option)
    wait_until_receiving(exporter)
    wait_for(
        lambda: exporter.value("celery_worker_up", worker=worker.nodename) == 1,
        timeout=5,
        what=lambda: f"the worker's answer: {exporter.process.describe()}",
    )
    worker.kill()
    exporter.kill()


def test_a_worker_without_task_events_is_asked_for_them(
    broker_url: str, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """A worker without -E that started before the exporter sends the events of all tasks from then on."""
    settings = {"broker_url": broker_url}
    worker = start_worker(APP, pool="solo", events=False, env=environment(settings), arguments=SILENT)
    exporter = start_exporter("--broker-url", broker_url)
    _wait_for_enabled(worker)
    submit(settings)
    wait_until_counted(exporter, expected())
    worker.kill()
    exporter.kill()


def test_a_worker_that_comes_later_is_asked_for_task_events(
    broker_url: str, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """A worker without -E that starts after the exporter, as after a deployment, is asked as well."""
    settings = {"broker_url": broker_url}
    exporter = start_exporter("--broker-url", broker_url)
    wait_until_receiving(exporter)
    worker = start_worker(APP, pool="solo", events=False, env=environment(settings), arguments=LIVELY)
    _wait_for_enabled(worker)
    submit(settings)
    wait_until_counted(exporter, expected())
    wait_for(
        lambda: exporter.value("celery_worker_task_events_enabled", worker=worker.nodename) == 1,
        timeout=5,
        what=lambda: f"task events that are on: {exporter.process.describe()}",
    )
    worker.kill()
    exporter.kill()


def test_idle_workers_that_come_later_are_all_asked(
    broker_url: str, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """A worker says that it is up before it listens to questions; it sends task events soon nevertheless."""
    settings = {"broker_url": broker_url}
    exporter = start_exporter("--broker-url", broker_url)
    wait_until_receiving(exporter)
    workers = []
    for number in range(4):  # gossip and mingle make the moment longer
        worker = start_worker(
            APP,
            hostname=f"worker{number}",
            concurrency=1,
            events=False,
            env=environment(settings),
            arguments=(),
        )
        wait_for(
            lambda: exporter.value("celery_worker_task_events_enabled", worker=worker.nodename) == 1,  # noqa: B023
            timeout=5,
            what=lambda: f"task events that are on: {worker.process.describe()}",  # noqa: B023
        )
        assert "enabled by remote" in worker.output
        workers.append(worker)
    submit(settings, added=20, broken=0)
    wait_until_counted(exporter, expected(added=20, broken=0))
    for worker in workers:
        worker.kill()
    exporter.kill()


def test_task_events_stay_off_when_nobody_may_ask_for_them(
    broker_url: str, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """With --no-enable-events a worker without -E is let alone, and shown as one that keeps its tasks to itself."""
    settings = {"broker_url": broker_url, "task_send_sent_event": False}
    worker = start_worker(APP, pool="solo", events=False, env=environment(settings), arguments=LIVELY)
    exporter = start_exporter("--broker-url", broker_url, "--no-enable-events")
    wait_until_receiving(exporter)
    wait_for(
        lambda: exporter.value("celery_worker_active_tasks", worker=worker.nodename) == 0,
        timeout=5,
        what=lambda: f"the worker's own heartbeat: {exporter.process.describe()}",
    )
    submit(settings)
    wait_for(
        lambda: exporter.value("celery_worker_processed_tasks_total", worker=worker.nodename) == 5,
        timeout=8,
        what=lambda: f"a heartbeat that tells of all tasks:\n{exporter.text()}",
    )
    wait_for(
        lambda: exporter.value("celery_worker_task_events_enabled", worker=worker.nodename) == 0,
        timeout=8,
        what=lambda: f"task events that are off:\n{exporter.text()}",
    )
    assert task_counts(exporter.text()) == {}
    assert "enabled by remote" not in worker.output
    worker.kill()
    exporter.kill()


def test_an_attempt_does_not_wait_for_further_events(broker_url: str, start_exporter: StartExporter) -> None:
    """A task whose task-sent never comes is shown after its wait, though nothing else arrives."""
    exporter = start_exporter("--broker-url", broker_url)
    wait_until_receiving(exporter)
    with EventSender({"broker_url": broker_url}, hostname="worker@localhost") as sender:
        sender.send("task-sent", uuid="1", name="sent.task", queue="letters", retries=0)
        wait_for(
            lambda: exporter.total("celery_task_sent_total") == 1,
            timeout=5,
            what=lambda: f"a task-sent: {exporter.process.describe()}",
        )
        moment = {"uuid": "2", "hostname": "worker@localhost", "timestamp": time.time()}
        received = {"type": "task-received", "name": "sent.task", "retries": 0, **moment}
        sender.message(json.dumps([received, {"type": "task-started", **moment}]).encode())
    wait_for(
        lambda: exporter.total("celery_exporter_events_total", event="task-started") == 1,
        timeout=5,
        what=lambda: f"a task-started: {exporter.process.describe()}",
    )
    events = exporter.total("celery_exporter_events_total")
    wait_for(
        lambda: exporter.total("celery_task_started_total", task="sent.task") == 1,
        timeout=5,
        what=lambda: f"the held increments: {exporter.process.describe()}",
    )
    assert exporter.total("celery_task_received_total", task="sent.task") == 1
    assert exporter.total("celery_exporter_events_total") == events
    exporter.kill()


def test_a_killed_worker_is_lost_while_nothing_happens(
    broker_url: str, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """The only worker dies without a farewell: after --worker-timeout it is down and counted as lost, once."""
    settings = {"broker_url": broker_url}
    exporter = start_exporter("--broker-url", broker_url, "--worker-timeout", "3s")
    worker = start_worker(APP, pool="solo", env=environment(settings), arguments=LIVELY)
    wait_for(
        lambda: exporter.value("celery_worker_up", worker=worker.nodename) == 1,
        timeout=10,
        what=lambda: f"a worker that is up: {exporter.process.describe()}",
    )
    assert exporter.value("celery_worker_lost_total") == 0
    worker.kill()
    wait_for(
        lambda: exporter.value("celery_worker_lost_total") == 1,
        timeout=8,
        what=lambda: f"a lost worker:\n{exporter.text()}",
    )
    assert exporter.value("celery_worker_up", worker=worker.nodename) == 0
    assert exporter.value("celery_exporter_receiver_connected") == 1
    exporter.kill()


def test_a_worker_that_says_goodbye_is_not_lost(
    valkey: Valkey, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """A warm shutdown turns the worker down at once, and nobody is counted as lost."""
    settings = {"broker_url": valkey.url}
    exporter = start_exporter("--broker-url", valkey.url, "--worker-timeout", "3s")
    worker = start_worker(APP, pool="solo", env=environment(settings), arguments=LIVELY)
    wait_for(
        lambda: exporter.value("celery_worker_up", worker=worker.nodename) == 1,
        timeout=10,
        what=lambda: f"a worker that is up: {exporter.process.describe()}",
    )
    worker.stop()
    wait_for(
        lambda: exporter.value("celery_worker_up", worker=worker.nodename) == 0,
        timeout=5,
        what=lambda: f"a worker that is down:\n{exporter.text()}",
    )
    assert exporter.value("celery_worker_lost_total") == 0


def _wait_for_enabled(worker: CeleryWorker) -> None:
    # celery/worker/control.py, enable_events
    worker.process.wait_until(
        lambda: "Events of group {task} enabled by remote." in worker.output,
        timeout=10,
        what="a worker that was asked for task events",
    )
