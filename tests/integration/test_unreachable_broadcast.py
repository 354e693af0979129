"""The broker goes away in the moment in which the exporter asks something of the workers."""

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from tests.integration.conftest import Vhost
from tests.integration.cutting_front import CuttingFront
from tests.integration.event_sender import EventSender
from tests.integration.known_counts import wait_until_receiving
from tests.integration.servers import ExporterProcess, Valkey
from tests.serving import fetch
from tests.waiting import wait_for

StartExporter = Callable[..., ExporterProcess]

CONNECTED = "celery_exporter_receiver_connected"


@pytest.fixture(params=["redis", "amqp"])
def broker_url(request: pytest.FixtureRequest) -> str:
    """A broker for this test alone."""
    if request.param == "redis":
        valkey: Valkey = request.getfixturevalue("valkey")
        return valkey.url
    vhost: Vhost = request.getfixturevalue("rabbitmq_vhost")
    return vhost.url


def test_a_broadcast_that_breaks_costs_no_events(broker_url: str, start_exporter: StartExporter) -> None:
    """A broadcast into a dead connection shows as a lost subscription, and the exporter subscribes again.

    kombu.pidbox publishes with ``retry=True``: left to itself it reconnects, for ever if need be, below the
    subscription and without it.
    """
    port = urlsplit(broker_url).port
    assert port
    with CuttingFront(port, b"celery.pidbox") as front:
        exporter = start_exporter("--broker-url", broker_url.replace(f":{port}/", f":{front.port}/"))
        assert front.was_cut.wait(10), exporter.process.describe()
        wait_for(
            lambda: exporter.value(CONNECTED) == 0,
            timeout=5,
            what=lambda: f"a lost subscription: {exporter.process.describe()}",
        )
        assert fetch(exporter.url, "/-/ready").status == 503
        front.heal()
        wait_until_receiving(exporter, times=2)
        with EventSender({"broker_url": broker_url}) as sender:
            sender.send("task-sent", uuid="1", name="sent.task", queue="letters")
        wait_for(
            lambda: exporter.value("celery_task_sent_total", task="sent.task", queue="letters") == 1,
            timeout=5,
            what=lambda: f"an event over the new subscription: {exporter.process.describe()}",
        )
        exporter.kill()
