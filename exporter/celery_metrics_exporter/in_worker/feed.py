"""Collects what a worker would publish as events, and gives it to the dispatcher in batches.

In between a worker does other things, and has the pipeline in no cache any more: an event costs a third in a large
batch. Whoever ends a task must never wait for another thread, nor for itself in a signal handler: a batch that is full
is taken by the one who fills it, unless another one is being taken.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from celery_metrics_exporter.events.decode import checked
from celery_metrics_exporter.events.dispatch import Dispatcher

#: So many events are taken at once, unless a sweep or a scrape comes before: a millisecond or two.
BATCH: Final = 240


class Feed:
    """Thread-safe."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        #: Called with the events of a batch, to add what they need not carry before.
        self.complete: Callable[[Iterable[dict[str, Any]]], list[dict[str, Any]]] = list
        self._waiting: deque[dict[str, Any]] = deque()
        self._lock = threading.Lock()

    def add(self, event: dict[str, Any]) -> None:
        """Take an event as it would be on the wire; it may have fields that nobody uses."""
        waiting = self._waiting
        waiting.append(event)
        if len(waiting) >= BATCH and self._lock.acquire(blocking=False):
            try:
                self._take()
            finally:
                self._lock.release()

    def flush(self) -> None:
        """Give everything to the dispatcher; when this returns, it has been handled."""
        with self._lock:
            self._take()

    def _take(self) -> None:
        waiting = self._waiting
        while waiting:
            batch = [waiting.popleft() for _ in range(min(len(waiting), BATCH))]
            self._dispatcher.feed_events(checked(self.complete(batch)))
