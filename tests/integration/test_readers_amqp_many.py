"""A thousand queues on a real RabbitMQ, in one reading of each reader."""

import uuid
from collections.abc import Iterator
from contextlib import closing

import pytest

from celery_metrics_exporter.facts import QueueFacts
from celery_metrics_exporter.queues.readers.amqp import AmqpReader
from celery_metrics_exporter.queues.readers.amqp_session import AmqpSession, Answers
from celery_metrics_exporter.queues.readers.management import ManagementReader
from celery_metrics_exporter.queues.readers.management_api import ListedQueue, ManagementApi
from tests.integration.amqp_queues import AmqpQueues, broker
from tests.integration.servers import RabbitMQ

NAMES = [f"queue-{number}" for number in range(1000)]


@pytest.fixture(scope="module")
def url(rabbitmq: RabbitMQ) -> Iterator[str]:
    """A virtual host with a thousand queues, five messages in one of them."""
    name = f"many-{uuid.uuid4()}"
    url = rabbitmq.add_vhost(name)
    with AmqpQueues(url) as queues:
        queues.declare_many(NAMES)
        queues.publish("queue-500", 5)
    yield url
    rabbitmq.delete_vhost(name)


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A word for each round trip from now on."""
    trips: list[str] = []
    ask, list_queues = AmqpSession.ask, ManagementApi.queues

    def counted_ask(session: AmqpSession, sure: list[str], unsure: tuple[str, ...] = ()) -> Answers:
        answers = ask(session, sure, unsure)
        trips.extend(["amqp"] * answers.trips)
        return answers

    def counted_queues(api: ManagementApi) -> list[ListedQueue]:
        trips.append("http")
        return list_queues(api)

    monkeypatch.setattr(AmqpSession, "ask", counted_ask)
    monkeypatch.setattr(ManagementApi, "queues", counted_queues)
    return trips


def test_amqp(url: str, trips: list[str]) -> None:
    """A thousand passive declares are one round trip, also when a queue is missing, and two for the first time."""
    with closing(AmqpReader(broker(url))) as reader:
        for _ in range(3):
            queues = reader.read(NAMES).queues
            assert list(queues) == NAMES
            assert sum(facts.ready for facts in queues.values()) == queues["queue-500"].ready == 5
        assert trips == ["amqp"] * 4
        trips.clear()
        assert not reader.read([*NAMES, "none"]).queues["none"].exists
        assert trips == ["amqp"]


def test_management(rabbitmq: RabbitMQ, url: str, trips: list[str]) -> None:
    """A thousand queues are found, and their numbers told, in two round trips."""
    reader = ManagementReader(
        broker(url), rabbitmq.management_url, accepts=lambda _: True, max_queues=len(NAMES)
    )
    with closing(reader):
        for _ in range(3):
            queues = reader.read(["queue-500"]).queues
            assert set(queues) == set(NAMES)
            assert queues["queue-500"] == QueueFacts(exists=True, ready=5, unacked=0, consumers=0)
        assert trips == ["http", "amqp"] * 3
