"""A RabbitMQ that restarts and freezes, with exporters on it.

It is the run's own server, which others find again as it was: starting another takes longer than all of this.
"""

import time
from collections.abc import Callable

from celery.utils import uuid

from tests.integration.conftest import Vhost
from tests.integration.event_sender import EventSender
from tests.integration.known_counts import wait_until_receiving
from tests.integration.servers import ExporterProcess, RabbitMQ
from tests.serving import fetch
from tests.waiting import wait_for

StartExporter = Callable[..., ExporterProcess]

STOP_S = 5.0
CONNECTED = "celery_exporter_receiver_connected"
RECONNECTS = "celery_exporter_receiver_reconnects_total"
DEAF = "celery_exporter_receiver_disconnected_seconds_total"


def _wait_until_deaf(exporter: ExporterProcess) -> None:
    wait_for(
        lambda: exporter.value(CONNECTED) == 0,
        timeout=10,
        what=lambda: f"a lost subscription: {exporter.process.describe()}",
    )


def _stop(exporter: ExporterProcess) -> None:
    began = time.monotonic()
    exporter.stop()
    assert time.monotonic() - began < STOP_S
    assert "Traceback" not in exporter.stderr


def _send(url: str) -> None:
    with EventSender({"broker_url": url}) as sender:
        sender.send("worker-heartbeat", freq=2.0, active=0, processed=0)
        sender.send("task-sent", uuid=uuid(), name="sent.task", queue="letters")


def _wait_until_sent(exporter: ExporterProcess, number: int) -> None:
    wait_for(
        lambda: exporter.value("celery_task_sent_total", task="sent.task", queue="letters") == number,
        timeout=5,
        what=lambda: f"{number} task-sent events: {exporter.process.describe()}",
    )


def test_restart(rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, start_exporter: StartExporter) -> None:
    """Over a restart of the broker counters go on where they were; an exporter can be stopped meanwhile."""
    url = rabbitmq_vhost.url
    exporter, stopped = start_exporter("--broker-url", url), start_exporter("--broker-url", url)
    for each in (exporter, stopped):
        wait_until_receiving(each)
    _send(url)
    _wait_until_sent(exporter, 1)
    before = exporter.value(DEAF) or 0
    rabbitmq.ctl("stop_app")  # closes connections and listeners, loses queues that are not durable
    try:
        for each in (exporter, stopped):
            _wait_until_deaf(each)
        assert fetch(exporter.url, "/-/ready").status == 503
        assert fetch(exporter.url, "/-/healthy").status == 200
        _wait_until_sent(exporter, 1)
        _stop(stopped)
    finally:
        rabbitmq.ctl("start_app")
    wait_until_receiving(exporter, times=2)
    assert fetch(exporter.url, "/-/ready").status == 200
    _wait_until_sent(exporter, 1)
    _send(url)
    _wait_until_sent(exporter, 2)
    assert exporter.value(RECONNECTS) == 1
    assert (exporter.value(DEAF) or 0) > before
    assert exporter.value("celery_worker_up", worker="sender@localhost") == 1
    assert exporter.value("celery_worker_lost_total") == 0


def test_stop_while_it_hangs(
    rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, start_exporter: StartExporter
) -> None:
    """SIGTERM ends the exporter in time although the broker froze after the subscription stood."""
    exporter = start_exporter("--broker-url", rabbitmq_vhost.url)
    wait_until_receiving(exporter)
    rabbitmq.pause()
    try:
        _stop(exporter)
    finally:
        rabbitmq.resume()
