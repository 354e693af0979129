"""Choose the queue reader for a broker."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from celery_metrics_exporter.config.broker_url import REDIS, SUPPORTED
from celery_metrics_exporter.connection.celery_app import Broker
from celery_metrics_exporter.logs import fields
from celery_metrics_exporter.queues.readers import BrokerReader
from celery_metrics_exporter.queues.readers.amqp import AmqpReader
from celery_metrics_exporter.queues.readers.management import ManagementReader
from celery_metrics_exporter.queues.readers.redis import RedisReader
from celery_metrics_exporter.queues.readers.virtual import VirtualReader

log = logging.getLogger(__name__)

_VIRTUAL: Final = frozenset({"memory", "filesystem"})


def reader_for(
    broker: Broker, *, management_url: str | None, accepts: Callable[[str], bool], max_queues: int
) -> BrokerReader | None:
    """Make the reader of this broker, or None, with a warning, for a kind that cannot be read; connects to nothing.

    Args:
        broker: where to connect.
        management_url: of RabbitMQ's management API, if the broker is RabbitMQ; None to do without.
        accepts: whether a queue that is found on the broker may be shown.
        max_queues: most queues of one reading; wanted ones come first.
    """
    transport = SUPPORTED.get(broker.scheme)
    if management_url is not None:
        return ManagementReader(broker, management_url, accepts=accepts, max_queues=max_queues)
    if transport == "amqp":
        return AmqpReader(broker)
    if transport in REDIS:
        return RedisReader(broker, accepts=accepts, max_queues=max_queues)
    if transport in _VIRTUAL:
        return VirtualReader(broker, accepts=accepts, max_queues=max_queues)
    log.warning(
        "cannot read the queues of this kind of broker: no lengths, ages, unacked messages or consumers",
        extra=fields(broker=broker.name),
    )
    return None
