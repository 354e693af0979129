"""The dispatcher: decodes bodies, passes each event to its handlers, and counts every event that is dropped.

Owns the lock under which event state is written.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from celery_metrics_exporter.clock import BatchClock
from celery_metrics_exporter.events.decode import decode
from celery_metrics_exporter.events.handlers import HandlerTable
from celery_metrics_exporter.events.plausibility import Plausibility
from celery_metrics_exporter.events.types import (
    AnyEvent,
    Event,
    Retimed,
    TaskIdentified,
    Undecodable,
    UnknownEvent,
)
from celery_metrics_exporter.logs import ThrottledLog

log = logging.getLogger(__name__)


class Drops(Protocol):
    """Counts dropped events."""

    def dropped(self, reason: str) -> None:
        """Count one more."""


class Dispatcher:
    """A sink for bodies.

    One thread at a time writes event state: each batch and each sweep holds the lock. Scrapes read without it.
    """

    def __init__(self, handlers: HandlerTable, drops: Drops, now: BatchClock) -> None:
        """Args:
        handlers: the handlers of all events.
        drops: counts dropped events.
        now: is set to the receipt time of each batch.
        """
        self._handlers = handlers
        self._drops = drops
        self._now = now
        self._lock = threading.Lock()
        self._log = ThrottledLog(log, lambda: now.monotonic)
        self._times = Plausibility(now, self._log)

    def feed(self, body: bytes) -> None:
        """Handle the events of one message body, see :func:`events.decode.decode`. Never raises."""
        self.feed_all((body,))

    def feed_all(self, bodies: Iterable[bytes], /) -> None:
        """Handle the events of several bodies, received together as one batch. Never raises."""
        with self._lock:
            self._now.read()
            self._times.begin()
            known: list[Event] = []
            for body in bodies:
                try:
                    self._handle_all(decode(body), known)
                except Exception:  # noqa: BLE001 - a bug of ours costs one message, not the stream
                    self._drop("handler_error", "message not handled", body[:100], trace=True)
            self._handle_batch(known)

    def feed_events(self, events: Sequence[AnyEvent | Undecodable]) -> None:
        """Handle events that were never bytes, as one batch, see :func:`events.decode.checked`. Never raises."""
        with self._lock:
            self._now.read()
            self._times.begin()
            known: list[Event] = []
            try:
                self._handle_all(events, known)
            except Exception:  # noqa: BLE001 - as in feed_all
                self._drop("handler_error", "events not handled", trace=True)
            self._handle_batch(known)

    def _handle_all(self, events: Sequence[Any], known: list[Event]) -> None:
        """Handle the events of a body, and add those with a known type and a plausible time to ``known``."""
        earliest, latest = self._times.earliest, self._times.latest
        handlers_of = self._handlers.by_type.get
        odd = False
        for event in events:
            if earliest < event.timestamp < latest:
                for handle in handlers_of(type(event), ()):
                    try:
                        handle(event)
                    except Exception:  # noqa: BLE001 - a bug in a handler costs it one event, not the stream
                        self._failed(type(event))
                continue
            odd = True
            if isinstance(event, Undecodable):
                self._drop(event.reason, event.detail, event.excerpt)
            elif isinstance(event, UnknownEvent | TaskIdentified):
                self._handle(event)
            else:
                self._handle_retimed(event)
        known += events if not odd else [each for each in events if earliest < each.timestamp < latest]

    def _handle(self, event: AnyEvent) -> None:
        for handle in self._handlers.by_type.get(type(event), ()):
            try:
                handle(event)
            except Exception:  # noqa: BLE001 - see _handle_all, which does the same without a call
                self._failed(type(event))

    def _handle_batch(self, events: Sequence[Event]) -> None:
        if events:
            for handle in self._handlers.of_batches:
                try:
                    handle(events)
                except Exception:  # noqa: BLE001 - as with single events
                    self._drop("handler_error", f"{len(events)} events not handled together", trace=True)

    def _handle_retimed(self, event: Event) -> None:
        retimed = self._times.retime(event)
        self._handle(retimed)
        self._handle_batch((retimed,))
        self._handle(Retimed(event.hostname, event.timestamp))

    def _failed(self, kind: type[Any]) -> None:
        self._drop("handler_error", f"{kind.__name__} not handled", trace=True)

    def drop(self, reason: str, detail: str) -> None:
        """Count a message without a usable body."""
        with self.writing():
            self._drop(reason, detail)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock, to write event state from elsewhere."""
        with self._lock:
            self._now.read()
            yield

    def sweep(self) -> None:
        """Call the handlers of sweeps."""
        with self.writing():
            for handle in self._handlers.of_sweeps:
                handle()

    def _drop(self, reason: str, detail: str, excerpt: bytes = b"", *, trace: bool = False) -> None:
        self._drops.dropped(reason)
        shown = {"excerpt": excerpt} if excerpt else {}
        self._log.log(logging.WARNING, f"event dropped: {reason}", exc_info=trace, detail=detail, **shown)
