"""The queries by which KEDA and a HorizontalPodAutoscaler scale workers, asked of a real Prometheus.

They must be 0 when nothing is to be done, say how much there is and for how long it has waited, and give nothing when
nobody can know: an autoscaler takes 0 for permission to stop the workers.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import yaml
from celery import Celery

from tests.helm.queries import EXAMPLES, HELD, queries
from tests.integration.conftest import Vhost
from tests.integration.servers import CeleryWorker, ExporterProcess, Prometheus, RabbitMQ, Valkey
from tests.waiting import wait_for

APP = "tests.integration.scraped_app"
PATIENCE_S = 60.0
BACKLOG = 6
QUERIES = queries()


@dataclass(frozen=True, slots=True)
class Autoscaler:
    """What an autoscaler learns."""

    prometheus: Prometheus

    def value(self, name: str) -> float | None:
        """The answer to a query of the examples."""
        return self.prometheus.value(QUERIES[name])

    def wait(self, condition: Callable[[float | None, float | None], bool], what: str) -> None:
        """Wait until the age and the number of tasks are so."""
        wait_for(
            lambda: condition(self.value("age"), self.value("tasks")),
            timeout=PATIENCE_S,
            what=lambda: f"{what}: {[self.value(name) for name in QUERIES]}",
        )


@pytest.fixture
def options() -> tuple[str, ...]:
    """The exporter's options in the examples."""
    config = yaml.safe_load(EXAMPLES["keda"].read_text(encoding="utf-8"))["config"]
    assert config == {"queue": ["mail"]}
    return ("--queue", *config["queue"], "--sample-interval", "1")


def _send(url: str) -> None:
    with Celery(broker=url, set_as_current=False) as app:
        app.conf.task_send_sent_event = True
        for _ in range(BACKLOG):
            app.send_task("scraped.nap", queue="mail", ignore_result=True)


@pytest.mark.needs("prometheus")
def test_a_backlog_from_nothing_to_nothing(
    broker_url: str,
    options: tuple[str, ...],
    start_exporter: Callable[..., ExporterProcess],
    start_worker: Callable[..., CeleryWorker],
    start_prometheus: Callable[..., Prometheus],
) -> None:
    """Empty without workers, growing, being worked off, done."""
    settings = {"env": {"CELERY_BROKER_URL": broker_url}, "queues": ("mail",), "concurrency": 1}
    start_worker(APP, **settings).stop()  # makes the queue, where a broker wants that
    exporter = start_exporter("--broker-url", broker_url, *options)
    seen = Autoscaler(start_prometheus(exporter.url))
    seen.wait(lambda age, tasks: age == 0 and tasks == 0, "no work, no worker, and both are known")

    _send(broker_url)
    seen.wait(
        lambda age, tasks: age is not None and age > 3 and tasks == BACKLOG, "a backlog that gets older"
    )

    start_worker(APP, **settings)
    # A worker takes messages before it runs them. What runs must count, or its worker would be taken away.
    seen.wait(
        lambda age, tasks: age == 0 and tasks is not None and 0 < tasks < BACKLOG,
        "an empty queue while a task runs",
    )
    seen.wait(lambda age, tasks: age == 0 and tasks == 0, "the end of all tasks")


@pytest.mark.needs("valkey", "prometheus")
@pytest.mark.parametrize("gone", ["broker", "exporter"])
def test_nothing_is_known(
    valkey: Valkey,
    options: tuple[str, ...],
    start_exporter: Callable[..., ExporterProcess],
    start_prometheus: Callable[..., Prometheus],
    gone: str,
) -> None:
    """Without the broker or the exporter there is no answer, where 0 would stop the workers."""
    exporter = start_exporter("--broker-url", valkey.url, *options)
    seen = Autoscaler(start_prometheus(exporter.url))
    seen.wait(lambda age, tasks: age == 0 and tasks == 0, "an answer")
    if gone == "broker":
        valkey.stop()
    else:
        exporter.stop()
    seen.wait(lambda age, tasks: age is None and tasks is None, "no answer")


@pytest.mark.needs("rabbitmq", "prometheus")
def test_what_workers_hold_on_rabbitmq(
    rabbitmq: RabbitMQ,
    rabbitmq_vhost: Vhost,
    options: tuple[str, ...],
    start_exporter: Callable[..., ExporterProcess],
    start_worker: Callable[..., CeleryWorker],
    start_prometheus: Callable[..., Prometheus],
) -> None:
    """Messages that a worker has taken and not begun count, by the query that docs/autoscaling.md gives for this."""
    env = {"CELERY_BROKER_URL": rabbitmq_vhost.url}
    worker = start_worker(APP, env=env, queues=("mail",), concurrency=1)
    api = ("--management-url", rabbitmq.management_url)
    exporter = start_exporter("--broker-url", rabbitmq_vhost.url, *api, *options)
    prometheus = start_prometheus(exporter.url)
    _send(rabbitmq_vhost.url)
    wait_for(
        lambda: exporter.total("celery_task_received_total", task="scraped.nap"),
        timeout=PATIENCE_S,
        what="a message that the worker took",
    )
    worker.pause()
    try:
        wait_for(
            lambda: (
                (prometheus.value(HELD) or 0.0)
                > (prometheus.value('celery_queue_length{queue="mail"}') or 0.0) + 1
            ),
            timeout=PATIENCE_S,
            what=lambda: f"held messages: {prometheus.query(HELD)}",
        )
    finally:
        worker.resume()
    wait_for(lambda: prometheus.value(HELD) == 0, timeout=PATIENCE_S, what="the end of all tasks")
