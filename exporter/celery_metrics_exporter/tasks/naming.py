"""Finds the name and the queue under which an attempt is counted, by the best source that tells each.

The name is the one that workers report: ``task-received`` carries the ``shadow`` of a task, task-sent its real name
(``celery/worker/request.py``, ``celery/app/amqp.py``).

The queue, best source first:

1. the task-sent of a publication to a queue: the broker obeyed it;
2. the task-sent of a publication to an exchange, with the queue that ``publication`` made of it, unless the worker that
   has the task is known not to consume that queue: then the only one of the queues behind the exchange that this worker
   consumes, else the only queue that it consumes at all, else none;
3. without task-sent: the only queue that the worker consumes, an earlier attempt, the only queue that the task is known
   to use, the route of the application; none of these if the worker is known not to consume it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final, Protocol

from celery_metrics_exporter.labels import UNKNOWN, SeriesLimit, queue_label
from celery_metrics_exporter.logs import fields
from celery_metrics_exporter.tasks.attempt import Attempt
from celery_metrics_exporter.tasks.counts import Kind

log = logging.getLogger(__name__)

_SEVERAL: Final = object()


class Consumers(Protocol):
    """What workers, by nodename, are known to consume."""

    def only_queue(self, worker: str | None, /) -> str | None:
        """The queue that a worker consumes, if it is known to consume exactly one."""

    def may_consume(self, worker: str | None, queue: str, /) -> bool:
        """Whether a worker may have a task from this queue: false if it is known not to consume it."""


class Naming:
    """What is known of names and queues beyond one attempt, for a limited number of tasks.

    Attributes:
        routed: how many times a queue was taken from the routes.
    """

    def __init__(self, *, consumers: Consumers, routes: Mapping[str, str | None], limit: SeriesLimit) -> None:
        """Args:
        consumers: the queues of workers.
        routes: by the task's name the queue to which its application sends it, None if that cannot be told.
        limit: of the tasks whose queues, shadows and exchanges are remembered.
        """
        self._consumers = consumers
        self._routes = routes
        self._limit = limit
        self._queue_of: dict[str, object] = {}  # task name -> its only queue, or _SEVERAL
        self._shadow_of: dict[
            str, object
        ] = {}  # task name -> the only other one that workers report, or _SEVERAL
        self._by_exchange: set[Kind] = set()
        self.routed = 0

    def note_exchange(self, kind: Kind) -> None:
        """Note that a task was published to an exchange, and its queue is what the client believes."""
        if len(self._by_exchange) < self._limit.maximum:
            self._by_exchange.add(kind)

    def note_shadow(self, published: str, reported: str) -> bool:
        """Note that workers report a task under another name; whether this is the first time for the published one."""
        return _note(self._shadow_of, published, reported, self._limit)

    def is_final(self, kind: Kind) -> bool:
        """Whether all attempts of this name and queue have these labels, whatever workers tell."""
        name, queue = kind
        return (
            name is not None
            and queue is not None
            and name not in self._shadow_of
            and kind not in self._by_exchange
        )

    def find(self, attempt: Attempt) -> Kind:
        """The name and the queue of this attempt."""
        name, queue = self._name(attempt), self._queue(attempt)
        if name is not None and attempt.queue is not None and queue != UNKNOWN:
            _note(self._queue_of, name, queue, self._limit)
        return name, queue

    def _name(self, attempt: Attempt) -> str | None:
        """The name that its worker reports, or that workers have reported of all other tasks of its name."""
        name = attempt.name
        if name is None or name not in self._shadow_of:
            return name
        if attempt.received:  # so this is what they report
            self._shadow_of[name] = _SEVERAL
        shadow = self._shadow_of[name]
        return shadow if isinstance(shadow, str) else name

    def _queue(self, attempt: Attempt) -> str:
        queue, worker = attempt.queue, attempt.worker
        if queue is not None and (
            attempt.has_certain_queue
            or attempt.kind not in self._by_exchange
            or self._consumers.may_consume(worker, queue)
        ):
            return queue
        fitting = attempt.fitting
        consumed = [each for each in fitting or () if self._consumers.may_consume(worker, each)]
        if len(consumed) == 1:
            return consumed[0]
        only = self._consumers.only_queue(worker)
        if only is not None or queue is not None or fitting is not None:
            return only or UNKNOWN
        for older in attempt.chain():
            earlier = older.queue if older.name == attempt.name else None
            if earlier is not None and self._consumers.may_consume(worker, earlier):
                return earlier
        usual = self._queue_of.get(attempt.name or UNKNOWN)
        if usual is None:
            return self._route(attempt)
        return usual if isinstance(usual, str) and self._consumers.may_consume(worker, usual) else UNKNOWN

    def _route(self, attempt: Attempt) -> str:
        """The queue that the application intends for the task, unless its worker is known not to consume that.

        Whoever publishes a task may name another queue, so this is the last source.
        """
        queue = self._routes.get(attempt.name or UNKNOWN)
        if queue is None or not self._consumers.may_consume(attempt.worker, queue_label(queue)):
            return UNKNOWN
        if not self.routed:
            log.info(
                "queues are taken from the application's routes, because no task-sent tells them",
                extra=fields(task=attempt.name, queue=queue),
            )
        self.routed += 1
        return queue


def _note(known: dict[str, object], key: str, value: str, limit: SeriesLimit) -> bool:
    """Note a value, or that there are several; whether the key is new."""
    before = known.get(key)
    if before is None:
        if len(known) >= limit.maximum:
            return False
        known[key] = value
    elif before != value:
        known[key] = _SEVERAL
    return before is None
