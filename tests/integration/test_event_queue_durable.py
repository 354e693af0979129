"""A durable event queue on RabbitMQ keeps events while the exporter is away."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import celery
import pytest

from celery_metrics_exporter.config.config import RECEIVERS
from celery_metrics_exporter.facts import PROBE
from celery_metrics_exporter.receivers.durable_queue import PREFETCH
from tests.integration.conftest import Vhost
from tests.integration.durable import (
    DURABLE,
    QUEUE,
    delete_queue,
    events_at_stop,
    queue_facts,
    wait_until_acknowledged,
)
from tests.integration.event_sender import EventSender
from tests.integration.known_counts import expected, submit, wait_until_counted, wait_until_receiving
from tests.integration.known_tasks import APP, environment
from tests.integration.receiving import Received, receiving
from tests.integration.servers import CeleryWorker, ExporterProcess, RabbitMQ
from tests.serving import fetch
from tests.waiting import wait_for

#: Up to Celery 5.6 a worker with threads loses events, see ``truth/test_truth.py``.
POOLS = ["prefork", "threads"] if celery.VERSION[:2] >= (5, 7) else ["prefork", "solo"]

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


@pytest.mark.parametrize("pool", POOLS)
def test_a_stop_under_load_loses_nothing(
    rabbitmq_vhost: Vhost, start_exporter: StartExporter, start_worker: StartWorker, pool: str
) -> None:
    """Two exporters, of which one stops while workers are busy, handle together what an undisturbed receiver does."""
    settings = {"broker_url": rabbitmq_vhost.url}
    arguments = ("--broker-url", rabbitmq_vhost.url, *DURABLE)
    with receiving(rabbitmq_vhost.url) as witness:
        first = start_exporter(*arguments)
        wait_until_receiving(first)
        worker = start_worker(APP, pool=pool, env=environment(settings))
        with ThreadPoolExecutor(1) as clients:
            submitting = clients.submit(submit, settings, added=600, broken=100)
            wait_for(
                lambda: first.total("celery_task_succeeded_total") > 50,
                timeout=30,
                what=lambda: f"tasks that succeed: {first.process.describe()}",
            )
            first.stop()
            second = start_exporter(*arguments)
            submitting.result(60)
        wait_for(
            lambda: _number(witness, "task-succeeded") == 600 and _number(witness, "task-failed") == 100,
            timeout=60,
            what=lambda: f"the end of all tasks: {worker.process.describe()}",
        )
        worker.stop()
        wait_for(lambda: _number(witness, "worker-offline") == 1, timeout=10, what="a worker that has gone")
    handled = events_at_stop(first)
    assert 50 < handled < len(witness.events) - 50
    wait_for(
        lambda: handled + _handled(second) >= _number(witness),
        timeout=10,
        what=lambda: f"{_number(witness)} events, there are {handled} + {_handled(second)}",
    )
    assert handled + _handled(second) == _number(witness)


def _number(witness: Received, *types: str) -> int:
    """Number of events of these types, or of all but probes."""
    found = [event["type"] for event in witness.events]
    return sum(kind in types if types else kind != PROBE for kind in found)


def _handled(exporter: ExporterProcess) -> float:
    """Number of events that it counts, without probes."""
    return exporter.total("celery_exporter_events_total") - exporter.total(
        "celery_exporter_events_total", event=PROBE
    )


@pytest.mark.parametrize("pool", POOLS)
def test_a_kill_loses_nothing_that_was_fetched(
    rabbitmq: RabbitMQ,
    rabbitmq_vhost: Vhost,
    start_exporter: StartExporter,
    start_worker: StartWorker,
    pool: str,
) -> None:
    """What workers told a process that did not run any more, and was killed, is all counted by the next one."""
    settings = {"broker_url": rabbitmq_vhost.url}
    arguments = ("--broker-url", rabbitmq_vhost.url, *DURABLE)
    first = start_exporter(*arguments)
    wait_until_receiving(first)
    worker = start_worker(APP, pool=pool, env=environment(settings))
    submit(settings)
    wait_until_counted(first, expected())
    wait_until_acknowledged(rabbitmq, rabbitmq_vhost)  # what is not yet would be counted by both
    with receiving(rabbitmq_vhost.url) as witness:
        first.pause()
        submit(settings, added=50, broken=10)
        wait_for(
            lambda: _number(witness, "task-succeeded") == 50 and _number(witness, "task-failed") == 10,
            timeout=30,
            what=lambda: f"the end of all tasks: {worker.process.describe()}",
        )
    wait_for(
        lambda: queue_facts(rabbitmq, rabbitmq_vhost).get("messages_unacknowledged", 0) > 50,
        timeout=10,
        what="messages on their way to the first",
    )
    first.kill()
    second = start_exporter(*arguments)
    wait_until_counted(second, expected(added=50, broken=10))
    worker.kill()


@pytest.mark.parametrize("pool", POOLS)
def test_a_kill_under_load_counts_little_twice(
    rabbitmq_vhost: Vhost, start_exporter: StartExporter, start_worker: StartWorker, pool: str
) -> None:
    """Whatever a killed exporter had handled, the next one handles the rest, and no more than a batch of it again."""
    settings = {"broker_url": rabbitmq_vhost.url}
    arguments = ("--broker-url", rabbitmq_vhost.url, *DURABLE)
    with receiving(rabbitmq_vhost.url) as witness:
        first = start_exporter(*arguments)
        wait_until_receiving(first)
        worker = start_worker(APP, pool=pool, env=environment(settings))
        submit(settings, added=600, broken=100)
        wait_for(
            lambda: first.total("celery_task_succeeded_total") > 50,
            timeout=30,
            what=lambda: f"tasks that succeed: {first.process.describe()}",
        )
        worker.pause()  # so that what the first has handled when it is killed can be told
        wait_for(lambda: _handled(first) == _number(witness), timeout=10, what="every event until then")
        handled, before = _number(witness), _by_type(first)
        first.kill()
        worker.resume()
        second = start_exporter(*arguments)
        wait_for(
            lambda: _number(witness, "task-succeeded") == 600 and _number(witness, "task-failed") == 100,
            timeout=60,
            what=lambda: f"the end of all tasks: {worker.process.describe()}",
        )
        worker.stop()
        wait_for(lambda: _number(witness, "worker-offline") == 1, timeout=10, what="a worker that has gone")
        wait_for(
            lambda: handled + _handled(second) >= _number(witness),
            timeout=10,
            what=lambda: f"{_number(witness)} events, there are {handled} + {_handled(second)}",
        )
    assert handled + _handled(second) <= _number(witness) + PREFETCH
    truth = {"sent": 700, "received": 700, "started": 700, "succeeded": 600, "failed": 100}
    both = {kind: before[kind] + _by_type(second)[kind] for kind in truth}
    assert all(truth[kind] <= number <= truth[kind] + PREFETCH for kind, number in both.items())
    # Who had told the name of a task, and then that it ended, before the second asked it: only the first knows it.
    assert all(
        second.total(f"celery_task_{kind}_total", task="unknown") == 0 for kind in ("sent", "received")
    )


def _by_type(exporter: ExporterProcess) -> dict[str, float]:
    """How many events of tasks it has handled, by what tasks did."""
    return {
        dict(labels)["event"].removeprefix("task-"): number
        for (name, labels), number in exporter.scrape().items()
        if name == "celery_exporter_events_total"
    }


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
        lambda: f"queue {QUEUE} has x-" in second.stderr, timeout=10, what="a warning that names the reason"
    )
    ready = fetch(second.url, "/-/ready")
    assert ready.status == 503
    for text in (ready.text, second.stderr):
        assert f"queue {QUEUE} has x-message-ttl 600000, not 1200000: delete it (" in text
        assert f"rabbitmqctl delete_queue -p {rabbitmq_vhost.name} {QUEUE})" in text
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
        lambda: f"queue {QUEUE} has x-" in exporter.stderr, timeout=10, what="a warning"
    )
    assert f"rabbitmqctl delete_queue -p {rabbitmq_vhost.name} {QUEUE}" in exporter.stderr
    delete_queue(rabbitmq, rabbitmq_vhost)
    wait_until_receiving(exporter)
