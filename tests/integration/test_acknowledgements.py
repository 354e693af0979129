"""Subscriptions that acknowledge: what comes again after their end, and what does not."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import amqp
import pytest

from celery_metrics_exporter.config.config import Config
from celery_metrics_exporter.connection.celery_app import Broker, broker_of
from celery_metrics_exporter.receivers import Sink, Subscription
from celery_metrics_exporter.receivers.amqp import AmqpSubscription
from celery_metrics_exporter.receivers.durable_queue import BATCH, PREFETCH
from celery_metrics_exporter.receivers.kombu import KombuSubscription
from celery_metrics_exporter.receivers.receiver import Receiver
from celery_metrics_exporter.receivers.repeats import WithoutRepeats
from tests.integration.conftest import Vhost
from tests.integration.durable import QUEUE, SETTINGS, queue_facts, wait_until_acknowledged
from tests.integration.event_sender import EventSender
from tests.integration.receiving import Received, running
from tests.integration.servers import HOST, RabbitMQ
from tests.waiting import wait_for

pytestmark = pytest.mark.needs("rabbitmq")

Kind = type[KombuSubscription]

both = pytest.mark.parametrize("kind", [AmqpSubscription, KombuSubscription])


@pytest.fixture
def no_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be acknowledged for its age."""
    monkeypatch.setattr(KombuSubscription, "_tick", lambda _: None)


def durable_broker(vhost: Vhost) -> Broker:
    """This broker, with a durable event queue."""
    return broker_of(Config(broker_url=vhost.url, event_queue=SETTINGS))


@contextmanager
def opened(kind: Kind, vhost: Vhost, sink: Sink) -> Iterator[KombuSubscription]:
    """An open subscription; its connection is dropped at the end as by a killed process."""
    subscription = kind(durable_broker(vhost), sink)
    try:
        subscription.open()
        yield subscription
    finally:
        subscription.close(clean=False)


def send(vhost: Vhost, numbers: range) -> None:
    """Send messages that can be told apart."""
    with EventSender({"broker_url": vhost.url}) as sender:
        for number in numbers:
            sender.message(b'{"n": %d}' % number)


def numbers(received: Received) -> list[int]:
    """The numbers of what was received."""
    return [event["n"] for event in received.events]


def poll_until(subscription: Subscription, received: Received, number: int) -> None:
    """Poll until so many messages have come."""
    until = time.monotonic() + 20
    while len(received.bodies) < number:
        subscription.poll()
        assert time.monotonic() < until, f"{number} messages, there are {len(received.bodies)}"


@both
def test_a_connection_that_is_lost(rabbitmq_vhost: Vhost, kind: Kind) -> None:
    """However many messages were handled before the loss, each comes to one of two connections, few to both."""
    total = 4 * PREFETCH
    one, two = Received(), Received()
    with opened(kind, rabbitmq_vhost, one) as subscription:
        sending = threading.Thread(target=send, args=(rabbitmq_vhost, range(total)))
        sending.start()
        poll_until(subscription, one, total // 3)
    with opened(kind, rabbitmq_vhost, two) as subscription:
        poll_until(subscription, two, total - len(one.bodies))
        sending.join()
        poll_until(subscription, two, total - min(numbers(two)))
    assert sorted({*numbers(one), *numbers(two)}) == list(range(total))
    assert numbers(one) == sorted(numbers(one))
    assert numbers(two) == sorted(numbers(two))
    assert len({*numbers(one)} & {*numbers(two)}) <= PREFETCH


@both
@pytest.mark.usefixtures("no_tick")
def test_acknowledged_after_a_number(rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, kind: Kind) -> None:
    """A full batch is acknowledged, and nothing that the sink did not get."""
    received = Received()
    with opened(kind, rabbitmq_vhost, received) as subscription:
        send(rabbitmq_vhost, range(BATCH - 1))
        poll_until(subscription, received, BATCH - 1)
        send(rabbitmq_vhost, range(BATCH, BATCH + 1))
        wait_for(
            lambda: queue_facts(rabbitmq, rabbitmq_vhost).get("messages_unacknowledged") == BATCH,
            timeout=15,
            what="messages that are not acknowledged",
        )
        poll_until(subscription, received, BATCH)
        wait_until_acknowledged(rabbitmq, rabbitmq_vhost)


@both
def test_acknowledged_after_a_time(rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, kind: Kind) -> None:
    """A single message is acknowledged within a tick, of whatever kind it is."""
    received = Received()
    with running(Receiver("it", received, lambda: kind(durable_broker(rabbitmq_vhost), received))):
        received.wait_up()
        with EventSender({"broker_url": rabbitmq_vhost.url}) as sender:
            for body, kind_of_body in (
                (b'{"n": 1}', "application/json"),
                (b"n: 1", "application/x-yaml"),
                (b"\x80", "application/x-python-serialize"),
            ):
                sender.message(body, content_type=kind_of_body)
                wait_until_acknowledged(rabbitmq, rabbitmq_vhost)
        _publish_unreadable(rabbitmq, rabbitmq_vhost)
        wait_for(lambda: len(received.drops) == 3, timeout=10, what=lambda: str(received))
        wait_until_acknowledged(rabbitmq, rabbitmq_vhost)


def _publish_unreadable(rabbitmq: RabbitMQ, vhost: Vhost) -> None:
    """Publish a message that kombu cannot make an object of."""
    with amqp.Connection(f"{HOST}:{rabbitmq.port}", "guest", "guest", virtual_host=vhost.name) as connection:
        message = amqp.Message(b"{}", application_headers={"compression": ["x"]}, content_type="\u00e4")
        connection.channel().basic_publish(message, routing_key=QUEUE)


@both
@pytest.mark.usefixtures("no_tick")
def test_a_clean_close_leaves_nothing(rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, kind: Kind) -> None:
    """What was fetched is handed over and acknowledged; what was not stays in the queue for the next."""
    total = 3 * PREFETCH
    one, two = Received(), Received()
    subscription = kind(durable_broker(rabbitmq_vhost), one)
    subscription.open()
    send(rabbitmq_vhost, range(total))
    poll_until(subscription, one, 1)
    subscription.close(clean=True)
    assert len(one.bodies) >= PREFETCH
    with opened(kind, rabbitmq_vhost, two) as other:
        poll_until(other, two, total - len(one.bodies))
    assert numbers(one) + numbers(two) == list(range(total))


@both
@pytest.mark.usefixtures("no_tick")
def test_a_reconnect_counts_nothing_twice(rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, kind: Kind) -> None:
    """After a loss all that is not acknowledged comes again, and is left out where it was handled."""
    every, once = Received(), Received()

    class Both(WithoutRepeats):
        def feed_all(self, bodies: list[bytes], /) -> None:
            every.feed_all(bodies)
            super().feed_all(bodies)

    sink = Both(once, span=PREFETCH)
    total = BATCH - 1
    with running(Receiver("it", once, lambda: kind(durable_broker(rabbitmq_vhost), sink))):
        once.wait_up()
        send(rabbitmq_vhost, range(total))
        wait_for(lambda: len(once.bodies) == total, timeout=10, what=lambda: str(len(once.bodies)))
        rabbitmq.close_connections(rabbitmq_vhost.name, number=1, reason="by hand")
        once.wait_up(connections=2, timeout=20)
        wait_for(lambda: len(every.bodies) == 2 * total, timeout=10, what=lambda: str(len(every.bodies)))
        send(rabbitmq_vhost, range(total, total + 10))
        wait_for(lambda: len(once.bodies) == total + 10, timeout=10, what=lambda: str(len(once.bodies)))
    assert numbers(once) == list(range(total + 10))
    assert set(Counter(numbers(every)).values()) == {1, 2}


@both
def test_a_process_that_stood_still(
    rabbitmq_vhost: Vhost, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is on its way to a process that stands still for too long is left to others."""
    monkeypatch.setattr("celery_metrics_exporter.receivers.kombu.FROZEN_SECONDS", 0.3)
    received = Received()
    with opened(kind, rabbitmq_vhost, received) as subscription:
        send(rabbitmq_vhost, range(3))
        poll_until(subscription, received, 3)
        send(rabbitmq_vhost, range(3, 6))
        threading.Event().wait(0.5)  # the process stands still
        with pytest.raises(ConnectionError, match="stood still"):
            poll_until(subscription, received, 6)
    assert numbers(received) == [0, 1, 2]


@both
def test_the_server_holds_back(rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, kind: Kind) -> None:
    """No more messages are on their way than may be counted twice, and the queue has its bounds."""
    received = Received()
    with opened(kind, rabbitmq_vhost, received):
        send(rabbitmq_vhost, range(PREFETCH + 100))

        def facts() -> Any:
            found = queue_facts(rabbitmq, rabbitmq_vhost)
            return found if found.get("messages") == PREFETCH + 100 else None

        found = wait_for(facts, timeout=15, what="all messages in the queue")
        assert found["messages_unacknowledged"] == PREFETCH
        arguments = found["arguments"]
        assert arguments["x-single-active-consumer"] is True
        assert arguments["x-queue-type"] == "classic"
        assert arguments["x-max-length-bytes"] == 256 * 1024 * 1024
