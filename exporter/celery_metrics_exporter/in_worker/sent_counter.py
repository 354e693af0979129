"""Counts the publications of a process: ``celery_task_sent_total``, as ``collectors.task`` declares it."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import Any, Final
from weakref import WeakKeyDictionary

from celery import signals
from kombu import Queue
from prometheus_client import REGISTRY, CollectorRegistry, Counter

from celery_metrics_exporter.collectors.task import TaskCollector
from celery_metrics_exporter.events.types import NEVER, TaskSent
from celery_metrics_exporter.in_worker.request_queue import bindings_of
from celery_metrics_exporter.labels import OTHER, UNKNOWN, SeriesLimit, clean, queue_label
from celery_metrics_exporter.logs import fields
from celery_metrics_exporter.tasks.publication import routed
from celery_metrics_exporter.workers.bindings import WorkerBindings

log = logging.getLogger(__name__)

_NAME: Final = "celery_task_sent_total"
#: Destinations whose queue is remembered.
_MAX_DESTINATIONS: Final = 1000

#: The publication under way, by its headers, and the queue that the client named: only the signal before it tells.
_UNDER_WAY: ContextVar[tuple[object, str | None]] = ContextVar("_UNDER_WAY", default=(None, None))
#: Celery's signals are of the process, so each registry has one counter there, however many applications publish.
_OF_REGISTRY: WeakKeyDictionary[CollectorRegistry, SentCounter] = WeakKeyDictionary()


class SentCounter:
    """The counter of one registry. Publications come from any thread."""

    def __init__(self, registry: CollectorRegistry, max_series: int) -> None:
        family = next(family for family in TaskCollector.families if family.name == _NAME)
        # A counter of prometheus_client, unlike those of workers: it is the process that serves it, by files maybe.
        self._counter = Counter(_NAME, family.help, family.labels, registry=registry)
        self._limit = SeriesLimit(max_series)
        self._children: dict[tuple[str, str], Counter] = {}
        self._apps: list[Any] = []
        self._queues = -1  # of the applications, when the bindings were made
        self._bindings = WorkerBindings()
        self._by_destination: dict[tuple[str | None, str, str], str | None] = {}

    @classmethod
    def of(cls, registry: CollectorRegistry | None, max_series: int) -> SentCounter:
        """The counter of this registry, or of prometheus_client's own."""
        registry = REGISTRY if registry is None else registry
        counter = _OF_REGISTRY.get(registry)
        if counter is None:
            counter = _OF_REGISTRY[registry] = cls(registry, max_series)
            # Celery 5.3 takes the methods of several objects for the same one (celery/utils/dispatch/signal.py).
            uid = f"celery_exporter_sent_{id(counter)}"
            signals.before_task_publish.connect(counter.on_publish, weak=False, dispatch_uid=uid)
            signals.after_task_publish.connect(counter.on_published, weak=False, dispatch_uid=uid)
        return counter

    def add(self, app: Any) -> None:
        """Resolve exchanges and routing keys by the queues of this application too."""
        if app not in self._apps:
            self._apps.append(app)

    def on_publish(self, headers: Any = None, declare: Any = None, **_others: Any) -> None:
        """A message is about to be published; Celery declares the queue that the client named or the route gives."""
        named = next((each.name for each in declare or () if isinstance(each, Queue)), None)
        _UNDER_WAY.set((headers, named))

    def on_published(
        self,
        sender: Any = None,
        headers: Any = None,
        exchange: Any = None,
        routing_key: Any = None,
        **_others: Any,
    ) -> None:
        """The broker has the message: count it, under the name that its worker will report (``shadow``)."""
        of, named = _UNDER_WAY.get()
        name = headers.get("shadow") or sender
        queue = self._queue(
            named if of is headers else None, getattr(exchange, "name", exchange) or "", routing_key or ""
        )
        self._child(clean(str(name)), queue_label(queue or UNKNOWN)).inc()

    def _queue(self, named: str | None, exchange: str, key: str) -> str | None:
        """The queue to which a message went, found as the exporter finds it from a task-sent event."""
        known = sum(len(app.amqp.queues) for app in self._apps)
        if known != self._queues:
            self._queues = known
            self._bindings = WorkerBindings(
                binding
                for app in self._apps
                for queue in tuple(app.amqp.queues.values())
                for binding in bindings_of(queue)
            )
            self._by_destination.clear()
        destination = (named, exchange, key)
        if destination in self._by_destination:
            return self._by_destination[destination]
        sent = TaskSent("", NEVER, queue=named, exchange=exchange, routing_key=key)
        queue = routed(sent, self._bindings)[0].queue
        if len(self._by_destination) < _MAX_DESTINATIONS:
            self._by_destination[destination] = queue
        return queue

    def _child(self, task: str, queue: str) -> Counter:
        child = self._children.get((task, queue))
        if child is not None:
            return child
        if (task, queue) != (OTHER, OTHER) and not self._limit.admits(_NAME, len(self._children)):
            if self._limit.overflows[_NAME] == 1:
                log.warning(
                    "too many label sets: further ones are counted as %s",
                    OTHER,
                    extra=fields(family=_NAME, maximum=self._limit.maximum),
                )
            return self._child(OTHER, OTHER)
        child = self._children[task, queue] = self._counter.labels(task, queue)
        return child
