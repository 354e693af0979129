"""Scrapes do not wait for the broker."""

import time
import urllib.request
from collections.abc import Callable, Iterator

import pytest

from tests.integration.conftest import Vhost
from tests.integration.faults.front import Front
from tests.integration.known_tasks import application
from tests.integration.servers import ExporterProcess, RabbitMQ, Valkey
from tests.waiting import wait_for

StartExporter = Callable[..., ExporterProcess]

_SCRAPES = 100
_LIMIT_S = 0.1


@pytest.fixture(params=["redis", "amqp"])
def broker(request: pytest.FixtureRequest) -> Iterator[tuple[str, Valkey | Front]]:
    """The URL of a broker, and what is frozen for it."""
    if request.param == "redis":
        valkey: Valkey = request.getfixturevalue("valkey")
        yield valkey.url, valkey
        return
    rabbitmq: RabbitMQ = request.getfixturevalue("rabbitmq")
    vhost: Vhost = request.getfixturevalue("rabbitmq_vhost")
    with Front(rabbitmq.port) as front:
        yield vhost.url.replace(str(rabbitmq.port), str(front.port)), front


def latencies(exporter: ExporterProcess) -> list[float]:
    """Seconds of each of a hundred scrapes, shortest first."""
    found = []
    for _ in range(_SCRAPES):
        began = time.perf_counter()
        with urllib.request.urlopen(exporter.url, timeout=30) as response:  # noqa: S310 - http on 127.0.0.1
            response.read()
        found.append(time.perf_counter() - began)
    return sorted(found)


def test_a_frozen_broker(broker: tuple[str, Valkey | Front], start_exporter: StartExporter) -> None:
    """Scrapes stay fast, the families of queues go when they are stale, the broker is down; all comes back."""
    url, server = broker
    client = application({"broker_url": url})
    with client.connection_for_write() as connection:
        for _ in range(3):
            client.send_task("known.add", (1, 1), connection=connection)
    exporter = start_exporter("--broker-url", url, "--sample-interval", "1s")

    def shown() -> tuple[float | None, float | None]:
        return exporter.value("celery_broker_up"), exporter.value("celery_queue_length", queue="celery")

    wait_for(lambda: shown() == (1, 3), timeout=15, what=lambda: f"the queue: {exporter.text()}")
    usual = latencies(exporter)[-2]
    server.pause()
    try:
        wait_for(
            lambda: shown() == (0, None),
            timeout=15,
            what=lambda: f"a broker that is down: {exporter.process.describe()}\n{exporter.text()}",
        )
        assert "celery_queue_length" not in exporter.text()
        # The second longest of a hundred is the 99th percentile; a machine that is slow anyway has its own measure.
        assert latencies(exporter)[-2] < max(_LIMIT_S, 3 * usual)
    finally:
        server.resume()
    wait_for(
        lambda: shown() == (1, 3), timeout=30, what=lambda: f"the queue again: {exporter.process.describe()}"
    )
