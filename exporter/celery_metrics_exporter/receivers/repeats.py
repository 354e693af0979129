"""Leave out the messages that come again: after a reconnect RabbitMQ delivers anew what was not acknowledged.

A message is the same if its bytes are: they hold type, timestamp, sender and id of its events. The broker's mark
``redelivered`` is no sign of it, since it is set on messages that were on their way only.
"""

from __future__ import annotations

import logging
import threading

from celery_metrics_exporter.logs import fields
from celery_metrics_exporter.receivers import Sink

log = logging.getLogger(__name__)


class WithoutRepeats:
    """A :class:`receivers.Sink` before another one, for all receivers of a process."""

    def __init__(self, sink: Sink, *, span: int) -> None:
        """``span``: number of messages after which one cannot come again; keeps the hashes of up to twice as many."""
        self._sink = sink
        self._span = span
        self._recent: set[int] = set()
        self._before: set[int] = set()
        self._lock = threading.Lock()  # a receiver that was replaced may still be feeding

    def feed(self, body: bytes, /) -> None:
        """Feed a body, unless it came before."""
        self.feed_all([body])

    def feed_all(self, bodies: list[bytes], /) -> None:
        """Feed those bodies that did not come before."""
        with self._lock:
            fresh = [body for body in bodies if self._is_new(hash(body))]
        if len(fresh) < len(bodies):
            log.info("messages came again that are counted", extra=fields(messages=len(bodies) - len(fresh)))
        if fresh:
            self._sink.feed_all(fresh)

    def drop(self, reason: str, detail: str, /) -> None:
        """Report a loss."""
        self._sink.drop(reason, detail)

    def _is_new(self, mark: int) -> bool:
        if mark in self._recent or mark in self._before:
            return False
        self._recent.add(mark)
        if len(self._recent) >= self._span:
            self._before, self._recent = self._recent, set()
        return True
