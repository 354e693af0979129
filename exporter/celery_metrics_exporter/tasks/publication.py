"""Finds the queue to which a publication went.

``celery/app/amqp.py`` (``send_task_message``) tells of each publication the queue, the exchange and the routing key,
but the queue is only what the client believes: null if it named an exchange, or the application's default queue
(``celery/app/routes.py``, ``Router.route``), which the message never saw. The exchange and the key are what the broker
obeys.
"""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from typing import Final, Protocol

from msgspec.structs import replace

from celery_metrics_exporter.events.types import TaskSent
from celery_metrics_exporter.labels import queue_label

#: ``kombu/transport/native_delayed_delivery.py`` (``calculate_routing_key``): 28 bits, then the key of the queue.
_DELAYED: Final = re.compile(r"(?:[01]\.){28}(.+)", re.DOTALL)


class Bindings(Protocol):
    """To which queues, by their labels, exchanges deliver."""

    def queues(self, exchange: str, key: str) -> AbstractSet[str]:
        """The queues to which a message with this routing key goes from this exchange."""

    def delayed_queues(self, key: str) -> AbstractSet[str]:
        """The queues to which a delayed message goes whose routing key was this before its delay."""


def routed(event: TaskSent, bindings: Bindings) -> TaskSent:
    """The event with the queue to which its message went, null if that cannot be told."""
    queue = _queue(event, bindings)
    return event if queue == event.queue else replace(event, queue=queue)


def _queue(event: TaskSent, bindings: Bindings) -> str | None:
    key = event.routing_key or ""
    if not event.exchange:  # the default exchange delivers to the queue of this name
        return key or event.queue
    delayed = _DELAYED.fullmatch(key)
    found = bindings.queues(event.exchange, key) if delayed is None else bindings.delayed_queues(delayed[1])
    if delayed is not None and (not found or delayed[1] in found):
        return delayed[1]  # by Celery's default the key of a queue is its name
    claimed = None if event.queue is None else queue_label(event.queue)
    if claimed in found or not found:
        return event.queue
    return next(iter(found)) if len(found) == 1 else None
