"""Which reader looks at which broker."""

import logging

import pytest

from celery_metrics_exporter.config.broker_url import SUPPORTED, UNIVERSAL
from celery_metrics_exporter.config.config import Config
from celery_metrics_exporter.connection.celery_app import Broker, broker_of
from celery_metrics_exporter.queues.readers.amqp import AmqpReader
from celery_metrics_exporter.queues.readers.choosing import reader_for
from celery_metrics_exporter.queues.readers.management import ManagementReader
from celery_metrics_exporter.queues.readers.redis import RedisReader
from celery_metrics_exporter.queues.readers.virtual import VirtualReader

READERS = {
    "redis": RedisReader,
    "socket": RedisReader,
    "sentinel": RedisReader,
    "amqp": AmqpReader,
    "memory": VirtualReader,
    "filesystem": VirtualReader,
}


def reader(broker: Broker, management_url: str | None = None) -> object:
    """The reader that is chosen."""
    return reader_for(broker, management_url=management_url, accepts=lambda _: True, max_queues=10)


@pytest.mark.parametrize(
    ("scheme", "transport"), [(scheme, kind) for scheme, kind in SUPPORTED.items() if kind not in UNIVERSAL]
)
def test_every_other_broker_has_a_reader(scheme: str, transport: str) -> None:
    """No broker that is reached in a way of our own is left without a look at its queues."""
    url = f"{scheme}:///tmp/redis.sock" if transport == "socket" else f"{scheme}://host"
    broker = broker_of(Config(broker_url=url, transport_options={"master_name": "main"}))
    assert type(reader(broker)) is READERS[transport]


def test_the_management_api_is_rabbitmqs() -> None:
    """It is used where it is given."""
    assert type(reader(broker_of(Config(broker_url="amqp://host")), "http://host:15672")) is ManagementReader


def test_a_broker_that_nobody_can_read_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Its families are left out, and one line tells why."""
    broker = broker_of(Config(broker_url="memory://"))
    with caplog.at_level(logging.WARNING):
        assert reader(Broker(broker.app, "gcpubsub://projects/shop", frozenset())) is None
    assert [record.message for record in caplog.records] == [
        "cannot read the queues of this kind of broker: no lengths, ages, unacked messages or consumers"
    ]
