"""Which receiver serves a broker best.

Owns: the choice. Must not know: how a receiver works.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from celery_metrics_exporter.config.broker_url import REDIS, SUPPORTED
from celery_metrics_exporter.logs import fields
from celery_metrics_exporter.receivers import amqp, redis
from celery_metrics_exporter.receivers.amqp import AmqpSubscription
from celery_metrics_exporter.receivers.kombu import KombuSubscription
from celery_metrics_exporter.receivers.reconnecting import Receiver
from celery_metrics_exporter.receivers.redis import RedisSubscription

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery_metrics_exporter.connection.celery_app import Broker
    from celery_metrics_exporter.receivers import Link, Sink, Subscription

log = logging.getLogger(__name__)


def receiver_for(
    broker: Broker, sink: Sink, link: Link, *, routing_key: str = "#", universal: bool = False
) -> Receiver:
    """Make the receiver of this broker's events; connects to nothing.

    Args:
        broker: where to connect.
        sink: takes the bodies.
        link: is told whether the subscription stands.
        routing_key: which events to ask the broker for, where it can tell.
        universal: take the receiver that works with every broker, also where there is a faster one.
    """
    subscribe = subscription_for(broker, sink, routing_key=routing_key, universal=universal)
    return Receiver(broker.name, link, subscribe)


def subscription_for(
    broker: Broker, sink: Sink, *, routing_key: str = "#", universal: bool = False
) -> Callable[[], Subscription]:
    """How to make a subscription to this broker's events, each time another one; see :func:`receiver_for`."""
    kind = KombuSubscription if universal else fastest(broker.url)
    return partial(kind, broker, sink, routing_key=routing_key)


def fastest(url: str) -> type[KombuSubscription | RedisSubscription]:
    """Which subscription is the fastest that works with this broker URL, or with each of a failover list."""
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
    log.warning("events are received the slow way", extra=fields(missing=missing))
    return KombuSubscription
