"""Real workers: tasks that are published in other ways than to a queue, and under other ids than strings."""

import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import celery
import pytest
from celery import Celery
from celery.utils.nodenames import worker_direct

from tests.integration.conftest import Vhost
from tests.integration.known_counts import wait_until_receiving
from tests.integration.published_app import APP, NEWS, POSTED, SHOP, TASK, application, delaying
from tests.integration.servers import CeleryWorker, ExporterProcess, Valkey
from tests.waiting import wait_for

StartExporter = Callable[..., ExporterProcess]
StartWorker = Callable[..., CeleryWorker]

#: Queues of one process each: neither their names nor a queue "unknown" may be a label.
OWN = re.compile(r'queue="(unknown|bcast\.[0-9a-f]|letters\.[0-9a-f]|[^"]*@[^"]*\.dq2)')


@contextmanager
def client(made: Celery, broker_url: str) -> Iterator[Any]:
    """The task of an application of a client; its connections are closed at the end."""
    made.conf.broker_url = broker_url
    try:
        yield made.tasks[TASK]
    finally:
        made.close()


def started(exporter: ExporterProcess, broker_url: str, worker: CeleryWorker, queues: int) -> None:
    """Wait until a worker has told the exporter its queues."""
    wait_until_receiving(exporter)
    wait_for(
        lambda: exporter.total("celery_worker_queue_info", worker=worker.nodename) == queues,
        timeout=20,
        what=lambda: f"{queues} queues of {worker.nodename}: {exporter.process.describe()}",
    )


def wait_for_queues(exporter: ExporterProcess, kind: str, wanted: dict[str, float]) -> None:
    """Wait until the counter of the task has exactly these values by queue, zeros aside."""

    def found() -> dict[str, float]:
        return {
            dict(labels)["queue"]: value
            for (name, labels), value in exporter.scrape().items()
            if value and name == f"celery_task_{kind}_total"
        }

    wait_for(
        lambda: found() == wanted,
        timeout=20,
        what=lambda: f"{kind} {wanted}, not {found()}: {exporter.process.describe()}",
    )


def test_a_topic_exchange(broker_url: str, start_exporter: StartExporter, start_worker: StartWorker) -> None:
    """The queue behind the exchange counts, not the default queue that task-sent names, and the wait is known."""
    exporter = start_exporter("--broker-url", broker_url)
    env = {"CELERY_BROKER_URL": broker_url}
    one = start_worker(APP, pool="solo", queues=("video",), hostname="one", env=env)
    both = start_worker(APP, pool="solo", queues=("celery", "image"), hostname="both", env=env)
    started(exporter, broker_url, one, 2)
    started(exporter, broker_url, both, 3)
    with client(application(), broker_url) as note:
        for key in ("video.x", "video.a.b", "image.x"):
            note.apply_async(exchange=SHOP, routing_key=key, declare=[SHOP])
        note.apply_async()
    for kind in ("sent", "received", "succeeded"):
        wait_for_queues(exporter, kind, {"video": 2, "image": 1, "celery": 1})
    assert exporter.total("celery_task_queue_wait_seconds_count", queue="video") == 2
    assert not OWN.search(exporter.text())


def test_queues_of_one_process_each(
    broker_url: str, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """Those of Broadcast and worker_direct have one label each, however many workers and clients there are."""
    exporter = start_exporter("--broker-url", broker_url, "--sample-interval", "1")
    env = {"CELERY_BROKER_URL": broker_url}
    queues = ("celery", "news", "posted")
    workers = [start_worker(APP, pool="solo", queues=queues, hostname=name, env=env) for name in ("a", "b")]
    for worker in workers:
        started(exporter, broker_url, worker, 4)
    for _ in range(3):
        with client(application(), broker_url) as note:
            note.apply_async(queue="news", declare=[NEWS])
            note.apply_async(queue="posted", declare=[POSTED])
            note.apply_async(queue=worker_direct(workers[1].nodename))
            note.apply_async()
    wait_for_queues(exporter, "sent", {"bcast.*": 3, "letters.*": 3, "*.dq2": 3, "celery": 3})
    wait_for_queues(exporter, "received", {"bcast.*": 6, "letters.*": 6, "*.dq2": 3, "celery": 3})
    for queue in ("bcast.*", "letters.*", "*.dq2"):
        assert exporter.value("celery_queue_workers", queue=queue) == 2
        wait_for(
            lambda queue=queue: exporter.value("celery_queue_length", queue=queue) == 0,  # type: ignore[misc]
            timeout=20,
            what=lambda queue=queue: f"a length of {queue}: {exporter.process.describe()}",  # type: ignore[misc]
        )
    if broker_url.startswith("amqp"):
        assert exporter.value("celery_queue_consumers", queue="bcast.*") == 2
        assert exporter.value("celery_queue_consumers", queue="*.dq2") == 2
    assert not OWN.search(exporter.text())


@pytest.mark.skipif(celery.VERSION[:2] < (5, 5), reason="Celery 5.5 brought delays for quorum queues")
def test_delays_of_quorum_queues(
    rabbitmq_vhost: Vhost, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """What RabbitMQ holds back until its countdown has the queue whose key follows the levels; its wait begins then."""
    exporter = start_exporter("--broker-url", rabbitmq_vhost.url)
    env = {"CELERY_BROKER_URL": rabbitmq_vhost.url}
    worker = start_worker(f"{APP}:app_of_delays", pool="solo", queues=("late", "later"), env=env)
    started(exporter, rabbitmq_vhost.url, worker, 3)
    with client(delaying(), rabbitmq_vhost.url) as note:
        note.apply_async(queue="late", countdown=3)
        note.apply_async(queue="later", countdown=3)
        note.apply_async(queue="later")
    for kind in ("sent", "received", "succeeded"):
        wait_for_queues(exporter, kind, {"late": 1, "later": 2})
    assert exporter.total("celery_task_queue_wait_seconds_sum") < 2.5
    assert not OWN.search(exporter.text())


@pytest.mark.parametrize("make", [uuid.uuid4, lambda: 42, lambda: 1.5], ids=["uuid", "int", "float"])
def test_ids_that_are_no_strings(
    valkey: Valkey, start_exporter: StartExporter, start_worker: StartWorker, make: Callable[[], object]
) -> None:
    """Celery runs such tasks over Redis: all of their events are read, and are those of one task."""
    exporter = start_exporter("--broker-url", valkey.url, "--sample-interval", "1")
    wait_until_receiving(exporter)
    with client(application(), valkey.url) as note:
        note.apply_async(task_id=make())
    wait_for_queues(exporter, "sent", {"celery": 1})
    oldest = "celery_queue_oldest_message_timestamp_seconds"
    wait_for(
        lambda: (
            exporter.value("celery_queue_length", queue="celery") == 1
            and exporter.value(oldest, queue="celery") is not None
        ),
        timeout=20,
        what=lambda: f"a message: {exporter.process.describe()}",
    )
    env = {"CELERY_BROKER_URL": valkey.url}
    start_worker(APP, pool="solo", queues=("celery",), env=env)
    for kind in ("received", "started", "succeeded"):
        wait_for_queues(exporter, kind, {"celery": 1})
    assert exporter.total("celery_task_queue_wait_seconds_count", queue="celery") == 1
    assert exporter.total("celery_exporter_events_dropped_total") == 0
