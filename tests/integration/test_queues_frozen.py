"""Scrapes do not wait for the broker."""

import time
import urllib.request
from collections.abc import Callable, Iterator

import pytest

from tests.integration.known_tasks import application
from tests.integration.servers import ExporterProcess, RabbitMQ, Valkey
from tests.waiting import wait_for

StartExporter = Callable[..., ExporterProcess]

_SCRAPES = 100
_LIMIT_S = 0.1


@pytest.fixture(params=["redis", "amqp"])
def broker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Valkey | RabbitMQ]:
    """A broker that may be frozen."""
    if request.param == "redis":
        yield request.getfixturevalue("valkey")
        return
    request.getfixturevalue("rabbitmq")  # skips or fails where there is none
    with RabbitMQ(tmp_path_factory.mktemp("frozen-rabbitmq")) as server:
        yield server


def latencies(exporter: ExporterProcess) -> list[float]:
    """Seconds of each of a hundred scrapes, shortest first."""
    found = []
    for _ in range(_SCRAPES):
        began = time.perf_counter()
        with urllib.request.urlopen(exporter.url, timeout=30) as response:  # noqa: S310 - http on 127.0.0.1
            response.read()
        found.append(time.perf_counter() - began)
    return sorted(found)


def test_a_frozen_broker(broker: Valkey | RabbitMQ, start_exporter: StartExporter) -> None:
    """Scrapes stay fast, the families of queues go when they are stale, the broker is down; all comes back."""
    client = application({"broker_url": broker.url})
    with client.connection_for_write() as connection:
        for _ in range(3):
            client.send_task("known.add", (1, 1), connection=connection)
    exporter = start_exporter("--broker-url", broker.url, "--sample-interval", "1s")

    def shown() -> tuple[float | None, float | None]:
        return exporter.value("celery_broker_up"), exporter.value("celery_queue_length", queue="celery")

    wait_for(lambda: shown() == (1, 3), timeout=15, what=lambda: f"the queue: {exporter.text()}")
    usual = latencies(exporter)[-2]
    broker.pause()
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
        broker.resume()
    wait_for(
        lambda: shown() == (1, 3), timeout=30, what=lambda: f"the queue again: {exporter.process.describe()}"
    )
