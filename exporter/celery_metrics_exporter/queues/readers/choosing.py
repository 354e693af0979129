"""Choose the queue reader for a broker."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final

from celery_metrics_exporter.config.broker_url import REDIS
from celery_metrics_exporter.connection.celery_app import Broker
from celery_metrics_exporter.logs import fields
from celery_metrics_exporter.queues.readers import BrokerReader
from celery_metrics_exporter.queues.readers.amqp import AmqpReader
from celery_metrics_exporter.queues.readers.management import ManagementReader
from celery_metrics_exporter.queues.readers.redis import RedisReader
from celery_metrics_exporter.queues.readers.sqlalchemy import SqlAlchemyReader
from celery_metrics_exporter.queues.readers.sqs import SqsReader
from celery_metrics_exporter.queues.readers.virtual import VirtualReader

log = logging.getLogger(__name__)

#: By family; RabbitMQ's has other arguments.
_READERS: Final[Mapping[str, Callable[..., BrokerReader]]] = {
    **dict.fromkeys(REDIS, RedisReader),
    "memory": VirtualReader,
    "filesystem": VirtualReader,
    "sqs": SqsReader,
    "sqlalchemy": SqlAlchemyReader,
}


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
    if management_url is not None:
        return ManagementReader(broker, management_url, accepts=accepts, max_queues=max_queues)
    if broker.family == "amqp":
        return AmqpReader(broker)
    make = _READERS.get(broker.family)
    if make is not None:
        return make(broker, accepts=accepts, max_queues=max_queues)
    log.warning(
        "cannot read the queues of this kind of broker: no lengths, ages, unacked messages or consumers",
        extra=fields(broker=broker.name),
    )
    return None
