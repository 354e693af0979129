"""What our own user needs on the broker of a case.

Owns: taking the names from the settings. Must not know: how rights are tried out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celery_metrics_exporter.doctor.permissions import RedisRights, rabbitmq_line, version_of

if TYPE_CHECKING:
    from celery_metrics_exporter.doctor.case import Case


def redis_rights(case: Case) -> RedisRights:
    """What our user needs on this Redis."""
    conf = case.broker.app.conf
    options = conf.broker_transport_options or {}
    fanout = options.get(
        "fanout_prefix", True
    )  # kombu/transport/redis.py, Channel.__init__ and keyprefix_fanout
    channel = (fanout if isinstance(fanout, str) else "/{db}." if fanout else "").format(db=case.vhost)
    return RedisRights(
        user=case.user,
        database=case.vhost,
        channel=f"{options.get('global_keyprefix', '')}{channel}",
        exchange=conf.event_exchange,
        control=conf.control_exchange,
        # Unknown is taken for new: patterns for reading only are there since Redis 7.0 (2022).
        version=version_of(case.version) or (9,),
    )


def amqp_line(case: Case) -> str:
    """The line that gives our user what it needs on this RabbitMQ."""
    conf = case.broker.app.conf
    return rabbitmq_line(
        vhost=case.vhost,
        user=case.user,
        exchange=conf.event_exchange,
        prefix=conf.event_queue_prefix,
        control=conf.control_exchange,
        remote_control=case.config.remote_control,
    )
