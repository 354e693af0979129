"""Queues, capacity and waiting, through the whole exporter, on Redis and on RabbitMQ."""

import time
from collections.abc import Callable

from tests.integration.conftest import Vhost
from tests.integration.known_counts import wait_until_receiving
from tests.integration.known_tasks import APP, application, environment
from tests.integration.servers import CeleryWorker, ExporterProcess, RabbitMQ
from tests.waiting import wait_for

StartExporter = Callable[..., ExporterProcess]
StartWorker = Callable[..., CeleryWorker]

OLDEST = "celery_queue_oldest_message_timestamp_seconds"
LIVELY = ("--without-gossip", "--without-mingle", "--heartbeat-interval", "1")


def submit(url: str, queue: str, number: int) -> tuple[float, float]:
    """Send so many tasks to a queue; returns when the first was sent, at the earliest and at the latest."""
    client = application({"broker_url": url})
    with client.connection_for_write() as connection:
        before = time.time()
        client.send_task("known.add", (1, 1), connection=connection, queue=queue)
        after = time.time()
        for _ in range(number - 1):
            client.send_task("known.add", (1, 1), connection=connection, queue=queue)
    return before, after


def abandoned(url: str, queue: str) -> bool:
    """Whether nobody consumes a queue; it is empty then: an ack may be lost with the worker that sent it."""
    with application({"broker_url": url}).connection_for_write() as connection:
        channel = connection.default_channel
        try:
            if channel.queue_declare(queue, passive=True).consumer_count:
                return False
        except connection.channel_errors:  # on Redis an empty queue is none
            return True
        channel.queue_purge(queue)
        return True


def expect(exporter: ExporterProcess, name: str, value: float | None, **labels: str) -> None:
    """Wait until a sample has this value, None: until there is none."""
    wait_for(
        lambda: exporter.value(name, **labels) == value,
        timeout=15,
        what=lambda: f"{name} {labels} {value}: {exporter.process.describe()}\n{exporter.text()}",
    )


def test_who_waits_and_who_works(
    broker_url: str, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """Lengths, consumers and pools are those of the cluster, queues without workers included."""
    worker = start_worker(
        APP,
        concurrency=3,
        queues=("mail", "images"),
        env=environment({"broker_url": broker_url}),
        arguments=LIVELY,
    )
    exporter = start_exporter("--broker-url", broker_url, "--sample-interval", "500ms", "--queue", "spare")
    wait_until_receiving(exporter)
    submit(broker_url, "stuck", 4)
    name = worker.nodename
    expect(exporter, "celery_queue_length", 4, queue="stuck")
    expect(exporter, "celery_queue_workers", 1, queue="mail")
    expect(exporter, "celery_queue_pool_size", 3, queue="images")
    expect(exporter, "celery_queue_workers", 0, queue="stuck")
    scrape = {
        f"{sample} {' '.join(sorted(value for _, value in labels))}".strip(): value
        for (sample, labels), value in exporter.scrape().items()
    }
    assert {
        "celery_queue_length mail": 0,
        "celery_queue_length spare": 0,
        "celery_queue_workers spare": 0,
        "celery_queue_pool_size stuck": 0,
        "celery_broker_up": 1,
        f"celery_worker_pool_size {name}": 3,
        f"celery_worker_prefetch_limit {name}": 12,
        f"celery_worker_queue_info {' '.join(sorted(('mail', name)))}": 1,
        f"celery_worker_queue_info {' '.join(sorted(('images', name)))}": 1,
        f"celery_worker_task_events_enabled {name}": 1,
    }.items() <= scrape.items()
    shown = {
        dict(labels)["queue"] for (sample, labels) in exporter.scrape() if sample == "celery_queue_length"
    }
    assert shown == {"mail", "images", "stuck", "spare"}
    worker.kill()


def test_queues_with_odd_names(broker_url: str, start_exporter: StartExporter) -> None:
    """They are found and read by their real names, and shown by their labels; those of one label are added up."""
    mark = "\N{REPLACEMENT CHARACTER}"
    lengths = {f"tab{mark}q": 9, "z" * 200: 6}
    before, after = ["tab\tq", "z" * 250], ["tab\tq", "tab\x7fq", "z" * 250]
    if broker_url.startswith("redis"):  # RabbitMQ removes line ends
        lengths[f"nl{mark}q"] = 6
        before.append("nl\nq")
        after.append("nl\nq")
    for name in before:
        submit(broker_url, name, 3)
    exporter = start_exporter("--broker-url", broker_url, "--sample-interval", "500ms", "--queue", "spare\tq")
    wait_until_receiving(exporter)
    for name in after:
        submit(broker_url, name, 3)
    for label, length in lengths.items():
        expect(exporter, "celery_queue_length", length, queue=label)
    expect(exporter, "celery_queue_length", 0, queue="spare\N{REPLACEMENT CHARACTER}q")


def test_a_stalled_queue(broker_url: str, start_exporter: StartExporter, start_worker: StartWorker) -> None:
    """The oldest of 500 tasks that nobody takes ages from its task-sent, after a restart from the first look."""
    settings = environment({"broker_url": broker_url})
    worker = start_worker(APP, pool="solo", env=settings, arguments=LIVELY)
    exporter = start_exporter("--broker-url", broker_url, "--sample-interval", "500ms")
    wait_until_receiving(exporter)
    submit(broker_url, "celery", 3)
    expect(exporter, "celery_task_succeeded_total", 3, task="known.add", queue="celery")
    worker.kill()
    wait_for(lambda: abandoned(broker_url, "celery"), timeout=10, what="a queue that nobody consumes")
    before, after = submit(broker_url, "celery", 500)
    expect(exporter, "celery_queue_length", 500, queue="celery")
    wait_for(lambda: time.time() > after + 1, timeout=5, what="a sample that nothing overtakes")
    oldest = exporter.value(OLDEST, queue="celery")
    assert oldest is not None
    slack = 1.0 if broker_url.startswith("amqp") else 0.0  # there it is right to one interval
    assert before - slack <= oldest <= after + slack
    wait_for(lambda: time.time() > after + 3, timeout=5, what="some seconds of waiting")
    assert exporter.value(OLDEST, queue="celery") == oldest
    exporter.stop()

    began = time.time()
    second = start_exporter("--broker-url", broker_url, "--sample-interval", "500ms")
    expect(second, "celery_queue_length", 500, queue="celery")
    first_seen = second.value(OLDEST, queue="celery")
    assert first_seen is not None
    assert began <= first_seen <= time.time()
    wait_for(lambda: time.time() > first_seen + 2, timeout=5, what="some seconds of waiting")
    assert second.value(OLDEST, queue="celery") == first_seen

    start_worker(APP, hostname="second", pool="solo", env=settings, arguments=LIVELY)
    expect(second, "celery_queue_length", 0, queue="celery")
    expect(second, OLDEST, None, queue="celery")


def test_a_worker_that_is_paused_and_resumed(
    broker_url: str, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """While it stands still its queue grows and has no worker that is up; then all is as before."""
    settings = environment({"broker_url": broker_url, "worker_prefetch_multiplier": 1})
    worker = start_worker(APP, pool="solo", queues=("mail",), env=settings, arguments=LIVELY)
    arguments = ("--sample-interval", "500ms", "--worker-timeout", "3s")
    exporter = start_exporter("--broker-url", broker_url, *arguments)
    expect(exporter, "celery_queue_workers", 1, queue="mail")
    worker.pause()
    submit(broker_url, "mail", 20)
    wait_for(
        lambda: (exporter.value("celery_queue_length", queue="mail") or 0) >= 18,
        timeout=10,
        what=lambda: f"a queue that grows: {exporter.text()}",
    )
    expect(exporter, "celery_queue_workers", 0, queue="mail")
    worker.resume()
    expect(exporter, "celery_queue_length", 0, queue="mail")
    expect(exporter, "celery_queue_workers", 1, queue="mail")
    expect(exporter, "celery_task_succeeded_total", 20, task="known.add", queue="mail")
    worker.kill()


def test_tasks_are_labelled_by_their_workers_only_queue(
    broker_url: str, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """With task-sent off the queue of a task is that of its worker, if that consumes just one."""
    settings = {"broker_url": broker_url, "task_send_sent_event": False}
    worker = start_worker(APP, pool="solo", queues=("mail",), env=environment(settings), arguments=LIVELY)
    exporter = start_exporter("--broker-url", broker_url, "--sample-interval", "500ms")
    expect(exporter, "celery_worker_queue_info", 1, worker=worker.nodename, queue="mail")
    with application(settings).connection_for_write() as connection:
        for _ in range(3):
            application(settings).send_task("known.add", (1, 1), connection=connection, queue="mail")
    expect(exporter, "celery_task_succeeded_total", 3, task="known.add", queue="mail")
    assert exporter.total("celery_task_started_total") == 3
    worker.kill()


def test_nothing_is_asked_without_remote_control(
    broker_url: str, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """--no-remote-control: no broadcast at all; queues are sampled and events are received all the same."""
    settings = {"broker_url": broker_url}
    worker = start_worker(APP, pool="solo", env=environment(settings), arguments=LIVELY)
    exporter = start_exporter("--broker-url", broker_url, "--no-remote-control", "--sample-interval", "500ms")
    wait_until_receiving(exporter)
    submit(broker_url, "celery", 3)
    expect(exporter, "celery_task_succeeded_total", 3, task="known.add", queue="celery")
    expect(exporter, "celery_queue_length", 0, queue="celery")
    assert exporter.total("celery_worker_pool_size") == 0
    assert "pidbox received method" not in worker.output
    worker.kill()


def test_the_management_api_tells_more(
    rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, start_exporter: StartExporter
) -> None:
    """With --management-url queues are found on the broker, with what their consumers hold."""
    submit(rabbitmq_vhost.url, "found", 5)
    exporter = start_exporter(
        "--broker-url",
        rabbitmq_vhost.url,
        "--management-url",
        f"http://127.0.0.1:{rabbitmq.management_port}",
        "--sample-interval",
        "500ms",
    )
    expect(exporter, "celery_queue_length", 5, queue="found")
    with application({"broker_url": rabbitmq_vhost.url}).connection_for_read() as connection:
        held = [connection.default_channel.basic_get("found") for _ in range(2)]
        assert all(held)
        expect(exporter, "celery_queue_unacked_messages", 2, queue="found")
        expect(exporter, "celery_queue_length", 3, queue="found")
    expect(exporter, "celery_queue_length", 5, queue="found")
    expect(exporter, "celery_queue_unacked_messages", 0, queue="found")
