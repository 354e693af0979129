"""A receiver that hangs for ever: the exporter starts another, and ends when that does not help."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import pytest

from celery_metrics_exporter.config.config import Config
from celery_metrics_exporter.connection.celery_app import Broker, broker_of
from celery_metrics_exporter.receivers import Link, Sink
from celery_metrics_exporter.receivers.amqp import AmqpSubscription
from celery_metrics_exporter.receivers.kombu import KombuSubscription
from celery_metrics_exporter.receivers.receiver import Receiver
from celery_metrics_exporter.receivers.redis import RedisSubscription
from celery_metrics_exporter.receivers.watchdog import Watchdog
from tests.integration.conftest import Vhost
from tests.integration.event_sender import EventSender
from tests.integration.impatient import IMPATIENT, PATIENCE_S
from tests.integration.known_counts import wait_until_receiving
from tests.integration.receiving import Received, running
from tests.integration.servers import ExporterProcess, Valkey
from tests.serving import fetch
from tests.waiting import wait_for

StartExporter = Callable[..., ExporterProcess]

RESTARTS = "celery_exporter_receiver_restarts_total"


def test_a_stuck_receiver_is_replaced(valkey: Valkey, start_exporter: StartExporter) -> None:
    """Receivers that hang cost a while; then events are received, and what happened is in the log and in a metric."""
    exporter = start_exporter("3", "--broker-url", valkey.url, command=IMPATIENT)
    wait_for(
        lambda: "stuck in connecting" in fetch(exporter.url, "/-/ready").text,
        timeout=10,
        what=lambda: f"the reason: {exporter.process.describe()}",
    )
    assert fetch(exporter.url, "/-/healthy").status == 200
    wait_until_receiving(exporter)
    assert fetch(exporter.url, "/-/ready").status == 200
    assert exporter.value(RESTARTS) == 3
    assert exporter.stderr.count("starting another receiver") == 3
    with EventSender({"broker_url": valkey.url}) as sender:
        sender.send("task-sent", uuid="1", name="sent.task", queue="letters")
    wait_for(lambda: exporter.total("celery_task_sent_total") == 1, timeout=5, what="an event")


def test_too_many_stuck_receivers_end_the_exporter(valkey: Valkey, tmp_path: Path) -> None:
    """It gives up by itself, with one line and exit code 1, so that its supervisor starts another."""
    exporter = ExporterProcess(tmp_path / "exporter", ("9", "--broker-url", valkey.url), command=IMPATIENT)
    exporter.start()
    wait_for(
        lambda: not exporter.process.running,
        timeout=20,
        what=lambda: f"its end: {exporter.process.describe()}",
    )
    assert exporter.process.returncode == 1
    (line,) = [line for line in exporter.stderr.splitlines() if "level=critical" in line]
    assert "every receiver gets stuck, giving up" in line
    assert "hanging=5" in line
    assert "Traceback" not in exporter.stderr


@dataclass(slots=True)
class Doubtful(Received):
    """A sink that gets stuck over the first body."""

    entered: Event = field(default_factory=Event)
    go_on: Event = field(default_factory=Event)

    def feed(self, body: bytes) -> None:
        """Wait, once."""
        if not self.entered.is_set():
            self.entered.set()
            assert self.go_on.wait(20)
        super(Doubtful, self).feed(body)


@pytest.fixture(params=[RedisSubscription, AmqpSubscription, KombuSubscription])
def subscription(request: pytest.FixtureRequest) -> type[RedisSubscription | KombuSubscription]:
    """Each kind, on its own broker."""
    kind: type[RedisSubscription | KombuSubscription] = request.param
    return kind


@pytest.fixture
def broker(request: pytest.FixtureRequest, subscription: type[object]) -> Broker:
    """A broker for this test alone."""
    if subscription is RedisSubscription:
        valkey: Valkey = request.getfixturevalue("valkey")
        return broker_of(Config(broker_url=valkey.url))
    vhost: Vhost = request.getfixturevalue("rabbitmq_vhost")
    return broker_of(Config(broker_url=vhost.url))


def test_an_old_receiver_that_wakes_up(
    broker: Broker, subscription: type[RedisSubscription | KombuSubscription]
) -> None:
    """Its connection is gone, what it still holds is fed to nobody, and it ends."""
    received = Doubtful()
    made: list[Receiver] = []

    def make(sink: Sink, link: Link) -> Receiver:
        made.append(Receiver(broker.name, link, lambda: subscription(broker, sink)))
        return made[-1]

    watchdog = Watchdog(
        broker.name, received, received, make, on_restart=lambda: None, patience=2 * PATIENCE_S
    )
    with running(watchdog), EventSender({"broker_url": broker.url}) as sender:
        received.wait_up()
        sender.send("task-first")
        assert received.entered.wait(10)
        for kind in ("task-second", "task-third"):
            sender.send(kind)
        received.wait_up(connections=2)
        sender.send("task-fourth")
        received.wait_for_types("task-fourth")
        received.go_on.set()
        received.wait_for_types(
            "task-first", "task-fourth"
        )  # it was fed already when its receiver was given up
        wait_for(lambda: made[0].still() is None, timeout=5, what="an end")
        sender.send("task-fifth")
        received.wait_for_types("task-first", "task-fourth", "task-fifth")
        assert received.connections == 2
        assert received.connected


def test_a_cut(broker: Broker, subscription: type[RedisSubscription | KombuSubscription]) -> None:
    """Whoever waits for a socket that is cut waits no more; a subscription without one has nothing to cut."""
    each = subscription(broker, Received())
    each.cut()
    each.open()
    each.cut()
    with pytest.raises(OSError, match=r"closed|reset"):
        each.poll()
    each.close(clean=False)
