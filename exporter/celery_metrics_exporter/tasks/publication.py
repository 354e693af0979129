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

#: Queues of one publication among which its worker decides.
MAX_FITTING: Final = 100


class Destinations(Protocol):
    """To which queues, by their labels, exchanges deliver."""

    def queues(self, exchange: str, key: str) -> AbstractSet[str]:
        """The queues to which a message with this routing key goes from this exchange."""

    def delayed_queues(self, key: str) -> AbstractSet[str]:
        """The queues to which a delayed message goes whose routing key was this before its delay."""

    def are_known_without(self, queue: str, exchange: str) -> bool:
        """Whether the bindings of this queue are known, and none is to this exchange."""


def routed(event: TaskSent, bindings: Destinations) -> tuple[TaskSent, frozenset[str] | None]:
    """The event with the queue to which its message went, null if that cannot be told.

    Returns:
        The event, and the queues to which the message may have gone, if there are several: for ``Attempt.fitting``.
    """
    queue, fitting = _queue(event, bindings)
    return event if queue == event.queue else replace(event, queue=queue), fitting


def _queue(event: TaskSent, bindings: Destinations) -> tuple[str | None, frozenset[str] | None]:
    key = event.routing_key or ""
    if not event.exchange:  # the default exchange delivers to the queue of this name
        return key or event.queue, None
    delayed = _DELAYED.fullmatch(key)
    found = bindings.queues(event.exchange, key) if delayed is None else bindings.delayed_queues(delayed[1])
    if delayed is not None and (not found or delayed[1] in found):
        return delayed[1], None  # by Celery's default the key of a queue is its name
    claimed = None if event.queue is None else queue_label(event.queue)
    if not found:
        cannot = claimed is not None and bindings.are_known_without(claimed, event.exchange)
        return (None, frozenset()) if cannot else (event.queue, None)
    if len(found) == 1:
        return event.queue if claimed in found else next(iter(found)), None
    fitting = frozenset(found if len(found) <= MAX_FITTING else ())
    return event.queue if claimed in found else None, fitting
