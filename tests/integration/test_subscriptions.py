"""Each kind of subscription, without the loop around it: it stands when it is opened, and ends when it is closed."""

from collections.abc import Callable

import pytest

from celery_metrics_exporter.config.config import Config
from celery_metrics_exporter.connection.celery_app import Broker, broker_of
from celery_metrics_exporter.receivers import Sink, Subscription
from celery_metrics_exporter.receivers.amqp import AmqpSubscription
from celery_metrics_exporter.receivers.kombu import KombuSubscription
from celery_metrics_exporter.receivers.redis import RedisSubscription
from tests.integration.conftest import Vhost
from tests.integration.event_sender import EventSender
from tests.integration.receiving import Received
from tests.integration.servers import RabbitMQ, Valkey
from tests.waiting import wait_for

Kind = Callable[[Broker, Sink], Subscription]


@pytest.fixture(
    params=[
        (RedisSubscription, "redis"),
        (KombuSubscription, "redis"),
        (AmqpSubscription, "amqp"),
        (KombuSubscription, "amqp"),
    ],
    ids=["redis", "kombu-redis", "amqp", "kombu-amqp"],
)
def kind_and_url(request: pytest.FixtureRequest) -> tuple[Kind, str]:
    """A kind of subscription and a broker for this test alone."""
    kind, scheme = request.param
    if scheme == "redis":
        valkey: Valkey = request.getfixturevalue("valkey")
        return kind, valkey.url
    vhost: Vhost = request.getfixturevalue("rabbitmq_vhost")
    return kind, vhost.url


@pytest.fixture
def received() -> Received:
    """What was received."""
    return Received()


def test_it_stands_when_it_is_opened(kind_and_url: tuple[Kind, str], received: Received) -> None:
    """An event that is sent after ``open`` and before anything else is asked of the subscription arrives."""
    kind, url = kind_and_url
    subscription = kind(broker_of(Config(broker_url=url)), received)
    subscription.open()
    with EventSender({"broker_url": url}) as sender:
        sender.send("worker-heartbeat", freq=2.0)

    def arrived() -> bool:
        subscription.poll()
        return bool(received.bodies)

    wait_for(arrived, timeout=10, what=lambda: f"an event: {received}")
    subscription.close(clean=True)
    received.wait_for_types("worker-heartbeat")


def test_closing_before_opening(kind_and_url: tuple[Kind, str], received: Received) -> None:
    """A subscription that never came to be is closed like any other."""
    kind, url = kind_and_url
    for clean in (False, True):
        kind(broker_of(Config(broker_url=url)), received).close(clean=clean)


@pytest.mark.parametrize("clean", [True, False])
def test_nothing_is_left_behind_on_redis(valkey: Valkey, received: Received, clean: bool) -> None:
    """Closing a subscription on Redis closes its only connection."""
    with valkey.client() as client:
        before = len(client.client_list())
        subscription = RedisSubscription(broker_of(Config(broker_url=valkey.url)), received)
        subscription.open()
        assert len(client.client_list()) == before + 1
        subscription.close(clean=clean)
        wait_for(
            lambda: len(client.client_list()) == before,
            timeout=5,
            what=lambda: f"no connections but our own: {client.client_list()}",
        )


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("kind", [AmqpSubscription, KombuSubscription])
def test_nothing_is_left_behind_on_rabbitmq(
    rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, received: Received, kind: Kind, clean: bool
) -> None:
    """Closing a subscription on RabbitMQ takes its queue along, however it is closed."""
    subscription = kind(broker_of(Config(broker_url=rabbitmq_vhost.url)), received)
    subscription.open()
    vhost = rabbitmq_vhost.name
    (queue,) = rabbitmq.queues(vhost)
    assert queue.startswith("celeryev.")
    subscription.close(clean=clean)
    wait_for(lambda: not rabbitmq.queues(vhost), timeout=10, what="a virtual host without queues")
