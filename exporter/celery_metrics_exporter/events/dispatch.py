"""The path of a body: decoded, each event to its handlers, every loss counted.

Owns: the lock under which event state is written, and the end of every event that does not reach a handler.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from celery_metrics_exporter.events.decode import decode
from celery_metrics_exporter.events.plausibility import Plausibility
from celery_metrics_exporter.events.types import Retimed, Undecodable, UnknownEvent
from celery_metrics_exporter.logs import ThrottledLog

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from celery_metrics_exporter.clock import Moment
    from celery_metrics_exporter.events.handlers import HandlerTable
    from celery_metrics_exporter.events.types import AnyEvent, Event

log = logging.getLogger(__name__)


class Drops(Protocol):
    """Counts events that die."""

    def dropped(self, reason: str) -> None:
        """One more died of ``reason``."""


class Dispatcher:
    """A sink for bodies.

    One thread at a time writes event state: whoever feeds or sweeps holds the lock for a whole body or sweep. Scrapes
    read without it.
    """

    def __init__(self, handlers: HandlerTable, drops: Drops, now: Moment) -> None:
        """Args:
        handlers: who handles what.
        drops: counts what dies.
        now: kept at the time of receipt.
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
        """Handle the events of several bodies that came together. Never raises."""
        with self._lock:
            self._now.read()
            self._times.begin()
            known: list[Event] = []
            for body in bodies:
                try:
                    self._handle_all(body, known)
                except Exception:  # noqa: BLE001 - a bug of ours costs one message, never the stream
                    self._drop("handler_error", "message not handled", body[:100], trace=True)
            self._handle_batch(known)

    def _handle_all(self, body: bytes, known: list[Event]) -> None:
        """Let the events of a body be handled, and add those of known types to ``known``."""
        earliest, latest = self._times.earliest, self._times.latest
        handlers_of = self._handlers.by_type.get
        events: Sequence[Any] = decode(body)
        odd = False
        for event in events:
            if earliest < event.timestamp < latest:
                for handle in handlers_of(type(event), ()):
                    try:
                        handle(event)
                    except Exception:  # noqa: BLE001 - a handler's bug costs one event, never the stream
                        self._failed(type(event))
                continue
            odd = True
            if isinstance(event, Undecodable):
                self._drop(event.reason, event.detail, event.excerpt)
            elif isinstance(event, UnknownEvent):
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
        """Count a message that could not even be turned into a body."""
        with self.writing():
            self._drop(reason, detail)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """What is held while event state is written from elsewhere."""
        with self._lock:
            self._now.read()
            yield

    def sweep(self) -> None:
        """Let the handlers of sweeps do their work."""
        with self.writing():
            for handle in self._handlers.of_sweeps:
                handle()

    def _drop(self, reason: str, detail: str, excerpt: bytes = b"", *, trace: bool = False) -> None:
        self._drops.dropped(reason)
        shown = {"excerpt": excerpt} if excerpt else {}
        self._log.warning(f"event dropped: {reason}", exc_info=trace, detail=detail, **shown)
