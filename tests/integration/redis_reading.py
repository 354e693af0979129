"""A reader of a real Redis broker, and the application whose queues it reads."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from celery_metrics_exporter.config.config import BrokerTls, Config, EventQueue
from celery_metrics_exporter.connection.celery_app import broker_of
from celery_metrics_exporter.queues.readers.redis import RedisReader
from tests.integration.known_tasks import application

_NO_OPTIONS: Mapping[str, object] = {}


@contextmanager
def reading(
    url: str,
    options: Mapping[str, object] = _NO_OPTIONS,
    *,
    tls: BrokerTls | None = None,
    accepts: Callable[[str], bool] = lambda _name: True,
    max_queues: int = 1000,
    timeout: float = 3.0,
    event_exchange: str | None = None,
) -> Iterator[RedisReader]:
    """Make a reader as the exporter does, with these transport options; it is closed at the end."""
    events = EventQueue(exchange=event_exchange)
    broker = broker_of(Config(broker_url=url, transport_options=options, tls=tls, event_queue=events))
    reader = RedisReader(broker, accepts=accepts, max_queues=max_queues, timeout=timeout)
    try:
        yield reader
    finally:
        reader.close()


class Producer:
    """Sends tasks as an application of Celery's does, which declares and binds each queue that it sends to."""

    def __init__(self, url: str, options: Mapping[str, object] = _NO_OPTIONS, **settings: Any) -> None:
        self.app = application(
            {"broker_url": url, "broker_transport_options": dict(options), "task_send_sent_event": False}
            | settings
        )

    def send(self, queue: str, *priorities: int) -> list[str]:
        """Send a task of each of these priorities, in this order; returns their ids."""
        return [
            self.app.send_task("known.add", args=(1, 2), queue=queue, priority=priority).id
            for priority in priorities
        ]

    @contextmanager
    def channel(self) -> Iterator[Any]:
        """A channel of kombu's, to take messages as a worker does."""
        with self.app.connection_for_read() as connection, connection.channel() as channel:
            yield channel

    def next_id(self, queue: str) -> str:
        """Take the message that a worker would get next; returns the id of its task."""
        with self.channel() as channel:
            message = channel.basic_get(queue, no_ack=True)
            return str(message.headers["id"])

    def close(self) -> None:
        """Close all connections."""
        self.app.close()


@contextmanager
def producing(url: str, options: Mapping[str, object] = _NO_OPTIONS, **settings: Any) -> Iterator[Producer]:
    """A producer that is closed at the end."""
    producer = Producer(url, options, **settings)
    try:
        yield producer
    finally:
        producer.close()
