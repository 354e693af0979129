"""A durable event queue on RabbitMQ keeps events while the exporter is away."""

from collections.abc import Callable
from typing import Any

import pytest

from celery_metrics_exporter.config.config import RECEIVERS
from tests.integration.conftest import Vhost
from tests.integration.durable import DURABLE, QUEUE, delete_queue
from tests.integration.event_sender import EventSender
from tests.integration.known_counts import expected, submit, wait_until_counted, wait_until_receiving
from tests.integration.known_tasks import APP, environment
from tests.integration.servers import CeleryWorker, ExporterProcess, RabbitMQ
from tests.serving import fetch
from tests.waiting import wait_for

StartExporter = Callable[..., ExporterProcess]
StartWorker = Callable[..., CeleryWorker]


@pytest.mark.parametrize("receiver", RECEIVERS)
def test_events_wait_for_the_exporter(
    rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """Tasks that ran while no exporter did are all counted by the next one, and every event only once."""
    settings = {"broker_url": rabbitmq_vhost.url}
    arguments = ("--broker-url", rabbitmq_vhost.url, *DURABLE)
    first = start_exporter(*arguments)
    worker = start_worker(APP, pool="solo", env=environment(settings))
    wait_until_receiving(first)
    submit(settings)
    wait_until_counted(first, expected())
    first.stop()
    submit(settings, added=5, broken=4)
    wait_for(
        lambda: worker.output.count("ValueError: fails on purpose") >= 6,
        timeout=10,
        what=lambda: f"the end of all tasks: {worker.process.describe()}",
    )
    second = start_exporter(*arguments)
    wait_until_counted(second, expected(added=5, broken=4))
    submit(settings)
    wait_until_counted(second, expected(added=8, broken=6))
    queues: Any = rabbitmq.api("GET", f"queues/{rabbitmq_vhost.name}")
    names = [queue["name"] for queue in queues]
    assert [name for name in names if name.startswith("celeryev.")] == [QUEUE]
    worker.kill()


def test_events_wait_for_an_exporter_that_was_killed(
    rabbitmq_vhost: Vhost, start_exporter: StartExporter
) -> None:
    """An exporter that ends without a farewell leaves its durable queue behind as well."""
    settings = {"broker_url": rabbitmq_vhost.url}
    arguments = ("--broker-url", rabbitmq_vhost.url, *DURABLE)
    first = start_exporter(*arguments)
    wait_until_receiving(first)
    first.kill()
    with EventSender(settings) as sender:
        for number in range(20):
            sender.send("task-sent", uuid=str(number), name="sent.task", queue="letters")
    second = start_exporter(*arguments)
    wait_for(
        lambda: second.value("celery_task_sent_total", task="sent.task", queue="letters") == 20,
        timeout=10,
        what=lambda: f"20 events: {second.process.describe()}",
    )


def test_a_queue_that_was_declared_otherwise_is_named(
    rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, start_exporter: StartExporter
) -> None:
    """A durable queue keeps its times; an exporter with others says what hinders it, until the queue is gone."""
    arguments = ("--broker-url", rabbitmq_vhost.url, *DURABLE)
    first = start_exporter(*arguments)
    wait_until_receiving(first)
    first.stop()
    second = start_exporter(*arguments, "--event-queue-ttl=20m")
    second.process.wait_until(
        lambda: "exists with another" in second.stderr, timeout=10, what="a warning that names the reason"
    )
    ready = fetch(second.url, "/-/ready")
    assert ready.status == 503
    for word in (
        f"queue {QUEUE} exists with another x-message-ttl (406",
        "1200000",
        "600000",
        " delete_queue -p ",
    ):
        assert word in ready.text
        assert word in second.stderr
    assert second.stderr.count("level=warning") == 1
    delete_queue(rabbitmq, rabbitmq_vhost)
    wait_until_receiving(second)


def test_a_quorum_queue_of_that_name_is_named(
    rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, start_exporter: StartExporter
) -> None:
    """A queue of another kind under our name is told like any other argument."""
    rabbitmq.api(
        "PUT",
        f"queues/{rabbitmq_vhost.name}/{QUEUE}",
        {"durable": True, "arguments": {"x-queue-type": "quorum"}},
    )
    exporter = start_exporter("--broker-url", rabbitmq_vhost.url, *DURABLE)
    exporter.process.wait_until(
        lambda: f"queue {QUEUE} exists with another x-" in exporter.stderr, timeout=10, what="a warning"
    )
    assert f"rabbitmqctl delete_queue -p {rabbitmq_vhost.name} {QUEUE}" in exporter.stderr
    delete_queue(rabbitmq, rabbitmq_vhost)
    wait_until_receiving(exporter)
