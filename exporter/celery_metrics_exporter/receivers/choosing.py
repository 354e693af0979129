"""Choose the fastest receiver that works with a broker."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from celery_metrics_exporter.config.broker_url import REDIS, SUPPORTED
from celery_metrics_exporter.connection.celery_app import Broker
from celery_metrics_exporter.logs import fields
from celery_metrics_exporter.receivers import Link, Sink, Subscription, amqp, redis
from celery_metrics_exporter.receivers.amqp import AmqpSubscription
from celery_metrics_exporter.receivers.kombu import KombuSubscription
from celery_metrics_exporter.receivers.receiver import Receiver
from celery_metrics_exporter.receivers.redis import RedisSubscription

log = logging.getLogger(__name__)


def receiver_for(
    broker: Broker, sink: Sink, link: Link, *, routing_key: str = "#", universal: bool = False
) -> Receiver:
    """Make the receiver of this broker's events, see :func:`subscription_for`; connects to nothing."""
    subscribe = subscription_for(broker, sink, routing_key=routing_key, universal=universal)
    return Receiver(broker.name, link, subscribe)


def subscription_for(
    broker: Broker, sink: Sink, *, routing_key: str = "#", universal: bool = False
) -> Callable[[], Subscription]:
    """A function that makes a new subscription to this broker's events.

    ``routing_key`` says which events, where the broker can filter them; ``universal``: through kombu, also where there
    is a faster way.
    """
    kind = KombuSubscription if universal else fastest(broker.url)
    return partial(kind, broker, sink, routing_key=routing_key)


def fastest(url: str) -> type[KombuSubscription | RedisSubscription]:
    """The fastest kind of subscription that works with this broker URL, or with all of a failover list."""
    families = {SUPPORTED.get(each.partition("://")[0].strip().lower()) for each in url.split(";")}
    kind: type[AmqpSubscription | RedisSubscription]
    if families <= REDIS:
        kind, missing = RedisSubscription, redis.missing()
    elif families == {"amqp"}:
        kind, missing = AmqpSubscription, amqp.missing()
    else:
        return KombuSubscription
    if missing is None:
        return kind
    log.warning(
        "the fast receiver needs what the installed client library lacks, falling back to the kombu receiver",
        extra=fields(missing=missing),
    )
    return KombuSubscription
