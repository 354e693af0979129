"""Counts what events tell of each queue between two samples of the broker."""

from __future__ import annotations

from collections.abc import Mapping

from celery_metrics_exporter.events.stream_state import StreamState
from celery_metrics_exporter.labels import OTHER, UNKNOWN, SeriesLimit, is_shared_label
from celery_metrics_exporter.queues.backlog import Movement


class Movements:
    """Arrivals and departures of messages, as far as events tell."""

    def __init__(self, subscription: StreamState, limit: SeriesLimit) -> None:
        self._subscription = subscription
        self._limit = limit
        self._first_sent: dict[str, float] = {}  # by label
        self._names: set[str] = set()
        self._received: Mapping[str, int] = {}
        self._gap_seconds = 0.0
        self._arrivals: Mapping[str, float] = {}
        self._departures: Mapping[str, int] = {}
        self._all_reported = False

    def published(self, queue: str, name: str, timestamp: float) -> None:
        """Note that a task-sent told of a message in the queue of this label and name."""
        first = self._first_sent
        if queue not in first and len(first) < self._limit.maximum:
            first[queue] = timestamp
        if name not in self._names and len(self._names) < self._limit.maximum:
            self._names.add(queue if is_shared_label(queue) else name)

    def take_names(self) -> set[str]:
        """The queues that a task-sent has named since the last call: names, and shared labels."""
        names, self._names = self._names, set()
        return names

    def sample(self, received: Mapping[str, int], *, all_reported: bool) -> None:
        """Begin a new interval: from now on :meth:`of` tells what happened from the sample before to this one.

        Args:
            received: number of task-received events by queue since the exporter started.
            all_reported: whether all known workers send their task events.
        """
        gap = self._subscription.read().disconnected_seconds
        self._departures = {
            queue: number - self._received.get(queue, 0) for queue, number in received.items()
        }
        unattributed = self._departures.get(UNKNOWN, 0) + self._departures.get(OTHER, 0)
        self._all_reported = all_reported and not unattributed and gap == self._gap_seconds
        self._arrivals = self._first_sent
        self._first_sent = {}
        self._received = received
        self._gap_seconds = gap

    def of(self, queue: str, *, consumers: int | None, is_ours: bool) -> Movement:
        """What happened to this queue.

        Args:
            queue: its name.
            consumers: how many it has by the broker, None if that does not tell.
            is_ours: whether a known worker consumes it.
        """
        received = self._departures.get(queue, 0)
        if consumers == 0 and not received:
            pass  # nothing can have left, whatever events were missed
        elif not self._all_reported or not (is_ours or self._received.get(queue)):
            return Movement(None, self._arrivals.get(queue))
        return Movement(received, self._arrivals.get(queue))
