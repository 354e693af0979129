"""What real workers answer: every pool on both brokers, and what changes while they run."""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from celery_metrics_exporter.facts import WorkerFacts
from tests.integration.asking import asking
from tests.integration.conftest import Vhost
from tests.integration.doctoring import examine
from tests.integration.known_tasks import APP, application, environment
from tests.integration.servers import CeleryWorker, ExporterProcess, Valkey
from tests.waiting import wait_for

StartExporter = Callable[..., ExporterProcess]
StartWorker = Callable[..., CeleryWorker]

START_S = 60.0
#: Concurrency of each pool; -P solo takes the option and runs one task at a time.
POOLS = {"prefork": 3, "threads": 4, "solo": 5, "gevent": 6, "eventlet": 7}


def _start_together(stack: ExitStack, workers: list[CeleryWorker]) -> None:
    starting = [threading.Thread(target=worker.start) for worker in workers]
    for worker, thread in zip(workers, starting, strict=True):
        stack.callback(worker.kill)
        thread.start()
    for thread in starting:
        thread.join(START_S)


def _check_pools(url: str, folder: Path, *pools: str) -> None:
    env = environment({"broker_url": url})
    with ExitStack() as stack:
        workers = {
            pool: CeleryWorker(
                folder,
                APP,
                hostname=pool,
                pool=pool,
                concurrency=POOLS[pool],
                queues=("shared", pool),
                env=env,
                events=False,
            )
            for pool in pools
        }
        _start_together(stack, list(workers.values()))
        remote, answers = stack.enter_context(asking(url, interval=1.0))
        expected = {
            worker.nodename: WorkerFacts(
                worker.nodename,
                1 if pool == "solo" else POOLS[pool],
                4 * POOLS[pool],  # worker_prefetch_multiplier's default, times --concurrency
                ("shared", pool),
                events_enabled=True,
            )
            for pool, worker in workers.items()
        }

        def told() -> dict[str, WorkerFacts]:
            remote.schedule.request_events()  # a greenlet subscribes to commands some time after its worker is ready
            return {name: answers.of(name) for name in expected}

        wait_for(lambda: told() == expected, timeout=30, what=lambda: f"{expected}; there is {told()}")


def test_pools_on_redis(valkey: Valkey, tmp_path: Path) -> None:
    """Every kind of worker tells its pool's size, its prefetch limit and its queues, and turns task events on."""
    _check_pools(valkey.url, tmp_path, *POOLS)


def test_pools_on_amqp(rabbitmq_vhost: Vhost, tmp_path: Path) -> None:
    """The same on RabbitMQ, for a worker with an event loop, and one that answers over a connection of its own."""
    _check_pools(rabbitmq_vhost.url, tmp_path, "prefork", "gevent")


def test_changes_are_seen_at_the_next_question(valkey: Valkey, start_worker: StartWorker) -> None:
    """A queue that is added and one that is dropped show without a restart; a pool counts the processes there are."""
    settings = {"broker_url": valkey.url, "worker_prefetch_multiplier": 0}
    worker = start_worker(
        APP,
        queues=("first", "second"),
        env=environment(settings),
        arguments=("--autoscale", "4,2", "--without-gossip", "--without-mingle"),
    )
    control = application(settings).control
    with asking(valkey.url, interval=0.3) as (_, answers):
        answers.wait(WorkerFacts(worker.nodename, 2, 0, ("first", "second"), events_enabled=True))
        control.add_consumer("third")
        control.cancel_consumer("first")
        answers.wait(WorkerFacts(worker.nodename, 2, 0, ("second", "third"), events_enabled=True))
    worker.kill()


def test_another_control_exchange(
    broker_url: str, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """Workers of an application with another control_exchange answer an exporter that knows its name alone."""
    env = environment({"broker_url": broker_url, "control_exchange": "shop"})
    worker = start_worker(APP, pool="solo", env=env, events=False)
    exporter = start_exporter("--broker-url", broker_url, "--control-exchange", "shop")
    names = ("celery_worker_pool_size", "celery_worker_task_events_enabled")
    wait_for(
        lambda: [exporter.value(name, worker=worker.nodename) for name in names] == [1, 1],
        timeout=START_S,
        what=exporter.process.describe,
    )
    found = examine(
        broker_url,
        control_exchange="shop",
        until=lambda found: found.status("workers") == found.status("ask") == "ok",
    )
    assert (found.status("workers"), found.status("ask")) == ("ok", "ok"), found.document
    worker.kill()


def test_doctor_names_the_option_for_another_control_exchange(
    valkey: Valkey, start_worker: StartWorker
) -> None:
    """Who does not know that the application renames it reads what to write."""
    arguments = ("--without-gossip", "--without-mingle", "--heartbeat-interval", "1")
    env = environment({"broker_url": valkey.url, "control_exchange": "shop"})
    worker = start_worker(APP, pool="solo", env=env, arguments=arguments)
    found = examine(valkey.url, wait=8, until=lambda found: found.status("workers") == "warning")
    assert "--control-exchange" in found.says("workers", "warning", "did not answer")["remedy"]
    worker.kill()
