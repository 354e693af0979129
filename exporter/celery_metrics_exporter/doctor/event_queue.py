"""Whether this version of RabbitMQ lets us have the event queue that we would declare.

Source of the facts: RabbitMQ's list of deprecated features and the release notes of 4.3.0: queues that are neither
durable nor exclusive (``transient_nonexcl_queues``) are deprecated since 2021, told of in the log from 3.13 on, and
refused from 4.3 on (541, INTERNAL_ERROR) unless ``deprecated_features.permit.transient_nonexcl_queues = true``. Celery
made such queues until 5.6.
"""

from __future__ import annotations

from typing import Final

from celery_metrics_exporter.doctor.context import Context
from celery_metrics_exporter.doctor.results import failed, ok, skipped, warning
from celery_metrics_exporter.status_page.findings import Finding
from celery_metrics_exporter.status_page.gather_workers import version_of

#: The first version that refuses them, and the first one that complains.
_REFUSED_SINCE: Final = (4, 3)
_DEPRECATED_SINCE: Final = (3, 13)
_REMEDY: Final = (
    "make it exclusive (drop --no-event-queue-exclusive, or set event_queue_exclusive = True in the application of "
    "--app), or durable (--event-queue-durable, as long as it is not exclusive)"
)


def check_event_queue(context: Context) -> Finding:
    """The flags of our event queue suit the broker's version."""
    if context.family != "amqp":
        return skipped("there are event queues on RabbitMQ only")
    conf = context.broker.app.conf
    return judge(
        context.software or "the broker",
        context.version,
        exclusive=bool(conf.event_queue_exclusive),
        durable=bool(conf.event_queue_durable),
    )


def judge(software: str, version: str, *, exclusive: bool, durable: bool) -> Finding:
    """What a broker of this version says of an event queue with these flags."""
    numbers = version_of(version)
    queue = "exclusive" if exclusive else ("durable" if durable else "neither exclusive nor durable")
    broker = " ".join(filter(None, (software, version)))
    if software != "RabbitMQ" or not numbers:
        return ok(f"{broker}: the event queue is {queue}; there are no rules for this broker")
    if exclusive or durable or numbers < _DEPRECATED_SINCE:
        return ok(f"{broker}: the event queue is {queue}, which it allows")
    if numbers < _REFUSED_SINCE:
        return warning(
            f"{broker}: the event queue is {queue}, which is deprecated and refused from 4.3 on", _REMEDY
        )
    return failed(
        f"{broker} refuses an event queue that is {queue}, unless its rabbitmq.conf permits transient_nonexcl_queues",
        _REMEDY,
    )
