"""The link to RabbitMQ breaks, hangs, or brings bytes in odd pieces: each receiver notices, and comes back."""

import time
from collections.abc import Callable

import pytest

from celery_metrics_exporter.connection.celery_app import Broker
from celery_metrics_exporter.receivers import Sink, Subscription
from celery_metrics_exporter.receivers.amqp import AmqpSubscription
from celery_metrics_exporter.receivers.kombu import KombuSubscription
from tests.integration.conftest import Vhost
from tests.integration.event_sender import EventSender
from tests.integration.receiving import subscribed
from tests.integration.servers import RabbitMQ
from tests.integration.shaping_front import ShapingFront
from tests.waiting import wait_for

pytestmark = pytest.mark.needs("rabbitmq")

Kind = Callable[[Broker, Sink], Subscription]

both = pytest.mark.parametrize("kind", [AmqpSubscription, KombuSubscription])
#: AMQP has none shorter.
HEARTBEAT_S = 1


def through(front: ShapingFront, rabbitmq: RabbitMQ, vhost: Vhost) -> str:
    """The virtual host's URL by way of a front."""
    return vhost.url.replace(str(rabbitmq.port), str(front.port))


def send(vhost: Vhost, number: int = 1) -> None:
    """Send heartbeats to the server itself."""
    with EventSender({"broker_url": vhost.url}) as sender:
        for _ in range(number):
            sender.send("worker-heartbeat", freq=2.0)


@pytest.fixture
def quick_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let both sides send a heartbeat each half of a second."""
    connect = Broker.connect
    monkeypatch.setattr(Broker, "connect", lambda broker: connect(broker, heartbeat=HEARTBEAT_S))
    monkeypatch.setattr("celery_metrics_exporter.receivers.kombu.TICK_SECONDS", 0.2)


@both
def test_the_server_closes_the_connection(rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, kind: Kind) -> None:
    """An operator who closes the connection is quoted; another one is made, and events go on."""
    with subscribed(rabbitmq_vhost.url, kind) as received:
        received.wait_up()
        send(rabbitmq_vhost)
        received.wait_for_types("worker-heartbeat")
        rabbitmq.close_connections(rabbitmq_vhost.name, number=1, reason="by hand")
        received.wait_up(connections=2, timeout=20)
        assert "by hand" in str(received.errors)
        send(rabbitmq_vhost)
        received.wait_for_types(*["worker-heartbeat"] * 2)


@both
def test_bytes_one_by_one(rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, kind: Kind) -> None:
    """Messages that come in the smallest pieces are put together again."""
    with (
        ShapingFront(rabbitmq.port, piece_bytes=1) as front,
        subscribed(through(front, rabbitmq, rabbitmq_vhost), kind) as received,
    ):
        received.wait_up()
        send(rabbitmq_vhost, 3)
        received.wait_for_types(*["worker-heartbeat"] * 3)
        assert received.connections == 1


@both
def test_many_messages_at_once(rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, kind: Kind) -> None:
    """Messages that come in one piece, larger than any buffer, are taken apart again."""
    with (
        ShapingFront(rabbitmq.port) as front,
        subscribed(through(front, rabbitmq, rabbitmq_vhost), kind) as received,
    ):
        received.wait_up()
        front.hold()
        send(rabbitmq_vhost, 500)
        wait_for(lambda: front.held_bytes > 100_000, timeout=10, what=lambda: f"{front.held_bytes} bytes")
        assert received.bodies == []
        front.release()
        received.wait_for_types(*["worker-heartbeat"] * 500)
        assert (received.drops, received.connections) == ([], 1)


@both
@pytest.mark.usefixtures("quick_heartbeats")
def test_a_silent_and_a_busy_stream(rabbitmq_vhost: Vhost, kind: Kind) -> None:
    """Both sides keep their heartbeats up, whether or not events come: nobody gives the connection up."""
    with subscribed(rabbitmq_vhost.url, kind) as received:
        received.wait_up()
        with EventSender({"broker_url": rabbitmq_vhost.url}) as sender:
            for pause in (0.02, 3 * HEARTBEAT_S):
                until = time.monotonic() + 2.5 * HEARTBEAT_S
                while time.monotonic() < until:
                    sender.send("worker-heartbeat")
                    time.sleep(pause)
        assert (received.connections, received.errors) == (1, [])


@both
@pytest.mark.usefixtures("quick_heartbeats")
def test_a_server_that_falls_silent(rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, kind: Kind) -> None:
    """Two heartbeats that are missed end the connection, in the middle of a stream as well."""
    with (
        ShapingFront(rabbitmq.port) as front,
        subscribed(through(front, rabbitmq, rabbitmq_vhost), kind) as received,
    ):
        received.wait_up()
        send(rabbitmq_vhost, 20)
        received.wait_for_types(*["worker-heartbeat"] * 20)
        front.hold()
        received.wait_down("SilentError: Too many heartbeats missed")


@both
def test_a_stop_in_the_middle_of_a_message(rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, kind: Kind) -> None:
    """The farewell reads on where the last read ended, and is answered."""
    with (
        ShapingFront(rabbitmq.port, piece_bytes=1) as front,
        subscribed(through(front, rabbitmq, rabbitmq_vhost), kind) as received,
    ):
        received.wait_up()
        send(rabbitmq_vhost, 50)
        wait_for(lambda: received.bodies, timeout=10, what="the first message")
    assert received.errors == ["stopped"]
    assert {event["type"] for event in received.events} == {"worker-heartbeat"}
    wait_for(
        lambda: not rabbitmq.queues(rabbitmq_vhost.name),
        timeout=10,
        what="a virtual host without an event queue",
    )
