"""Readers of SQS, and queues to read."""

from contextlib import closing
from typing import Any

from celery_metrics_exporter.config.config import Config
from celery_metrics_exporter.connection.celery_app import broker_of
from celery_metrics_exporter.facts import BrokerFacts, QueueFacts
from celery_metrics_exporter.queues.readers.sqs import SqsReader
from tests.integration.servers import Moto


def reader(url: str, *, max_queues: int = 100, **options: Any) -> SqsReader:
    """A reader with these transport options."""
    broker = broker_of(
        Config(broker_url=url, events=False, transport_options={"region": Moto.REGION, **options})
    )
    return SqsReader(broker, accepts=lambda _: True, max_queues=max_queues)


def read(server: Moto, *wanted: str, **options: Any) -> BrokerFacts:
    """What one reading of these queues tells; it has created nothing."""
    before = server.queues()
    with closing(reader(server.url(), **options)) as made:
        facts = made.read(wanted)
    assert server.queues() == before
    return facts


def publish(server: Moto, name: str, number: int, *, region: str = Moto.REGION, **more: Any) -> str:
    """Create a queue, and put so many messages into it; returns its URL."""
    client = server.client(region)
    attributes = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
    url: str = client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    fifo = {"MessageGroupId": "g"} if attributes else {}
    for index in range(number):
        unique = {"MessageDeduplicationId": str(index)} if attributes else {}
        client.send_message(QueueUrl=url, MessageBody="x", **fifo, **unique, **more)
    return url


def numbers(ready: int, unacked: int = 0, delayed: int = 0) -> QueueFacts:
    """A queue with these messages."""
    return QueueFacts(exists=True, ready=ready, unacked=unacked, delayed=delayed)
