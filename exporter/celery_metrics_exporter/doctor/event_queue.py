"""Whether RabbitMQ lets us and workers have the queues that we would declare: these are declared, and left.

Source of the facts: RabbitMQ's list of deprecated features, and tries with 3.10.8, 4.0.5 and 4.3.6. Queues that are
neither durable nor exclusive (``transient_nonexcl_queues``), as Celery makes them until 5.6, are deprecated since 3.13.
Whether a server refuses them (541, INTERNAL_ERROR) depends on who built it (RabbitMQ's own 4.3 does, Debian's 4.3.6
does not), and on ``deprecated_features.permit.transient_nonexcl_queues`` in its configuration.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Final

from amqp.exceptions import InternalError
from kombu.utils.uuid import uuid

from celery_metrics_exporter.connection.versions import event_queue
from celery_metrics_exporter.doctor.context import Context
from celery_metrics_exporter.doctor.progress import doing
from celery_metrics_exporter.doctor.results import failed, ok, skipped, warning
from celery_metrics_exporter.doctor.traffic import Traffic
from celery_metrics_exporter.errors import one_line
from celery_metrics_exporter.receivers import RefusedQueueError
from celery_metrics_exporter.status_page.findings import Finding
from celery_metrics_exporter.status_page.gather_workers import version_of

#: The first version that complains of them.
_DEPRECATED_SINCE: Final = (3, 13)
_REMEDY: Final = (
    "make it exclusive (drop --no-event-queue-exclusive, or set event_queue_exclusive = True in the application of "
    "--app), or durable (--event-queue-durable, as long as it is not exclusive)"
)


def check_event_queue(context: Context) -> Finding:
    """The broker allows an event queue with our flags; tried out if it may refuse it."""
    if context.family != "amqp":
        return skipped("there are event queues on RabbitMQ only")
    conf = context.broker.app.conf
    broker = " ".join(filter(None, (context.software or "the broker", context.version)))
    if conf.event_queue_exclusive or conf.event_queue_durable:
        kind = "exclusive" if conf.event_queue_exclusive else "durable"
        return ok(f"{broker}: the event queue is {kind}, which every version allows")
    queue = f"{broker}: the event queue is neither exclusive nor durable"
    try:
        with doing("declaring the event queue"):
            Traffic(context.broker, context.config).open(keep=False)
    except RefusedQueueError:
        return failed(f"{queue}, which it refuses (541)", _REMEDY)
    except Exception as error:  # noqa: BLE001 - what else hinders it is a matter of the next check
        return skipped(f"{queue}; whether it allows that is not known: {one_line(error)}")
    if context.software == "RabbitMQ" and version_of(context.version) >= _DEPRECATED_SINCE:
        return warning(f"{queue}, which it allows, but which is deprecated and refused by others", _REMEDY)
    return ok(f"{queue}, which it allows")


def find_refused_workers(context: Context) -> Iterable[Finding]:
    """Why workers may not come up, where none is seen: RabbitMQ refuses the queues that older ones have; tried out.

    Celery's queues for remote control and events: celery/app/defaults.py has ``control_queue_exclusive`` and
    ``event_queue_exclusive`` since 5.6, and they are True since 5.7.
    """
    if context.family != "amqp" or context.seen is None or context.seen.workers.up:
        return
    if _refuses_transient(context):
        yield warning(
            "RabbitMQ refuses queues that are neither exclusive nor durable (541): there a worker of Celery "
            "before 5.7 starts over and over, and never comes up",
            "use Celery 5.7 for workers, or with 5.6 set control_queue_exclusive and event_queue_exclusive to True, "
            "or allow such queues in rabbitmq.conf: deprecated_features.permit.transient_nonexcl_queues = true",
        )


def _refuses_transient(context: Context) -> bool:
    refused = False
    # What else hinders it is a matter of other checks.
    with (
        contextlib.suppress(Exception),
        doing("declaring a queue as older workers have it"),
        context.broker.connect(heartbeat=0, timeout=context.timeout) as connection,
    ):
        queue = event_queue(context.broker.app, connection, node=uuid(), routing_key="#")(connection)
        queue.exclusive, queue.durable, queue.auto_delete = False, False, True
        try:
            queue.queue_declare()
            queue.delete()
        except InternalError as error:
            refused = "transient_nonexcl_queues" in str(error)
    return refused
