"""What our own user needs on the broker that is examined."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celery_metrics_exporter.doctor.permissions import RedisRights, rabbitmq_line
from celery_metrics_exporter.status_page.gather_workers import version_of

if TYPE_CHECKING:
    from celery_metrics_exporter.doctor.context import Context


def redis_rights(context: Context) -> RedisRights:
    """What our user needs on this Redis."""
    conf = context.broker.app.conf
    options = conf.broker_transport_options or {}
    fanout = options.get(
        "fanout_prefix", True
    )  # kombu/transport/redis.py, Channel.__init__ and keyprefix_fanout
    channel = (fanout if isinstance(fanout, str) else "/{db}." if fanout else "").format(db=context.vhost)
    return RedisRights(
        user=context.user,
        database=context.vhost,
        channel=f"{options.get('global_keyprefix', '')}{channel}",
        exchange=conf.event_exchange,
        control=conf.control_exchange,
        # Unknown is taken for new: patterns for reading only are there since Redis 7.0 (2022).
        version=version_of(context.version) or (9,),
    )


def amqp_line(context: Context) -> str:
    """The line that gives our user what it needs on this RabbitMQ."""
    conf = context.broker.app.conf
    return rabbitmq_line(
        vhost=context.vhost,
        user=context.user,
        exchange=conf.event_exchange,
        prefix=conf.event_queue_prefix,
        control=conf.control_exchange,
        remote_control=context.config.remote_control,
    )
