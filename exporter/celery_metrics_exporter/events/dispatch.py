"""The way of a body: decoded, each event to its handlers, every loss counted.

Owns: the table event type -> handlers, the lock under which event state is written, the end of every event that does
not reach a handler, and what becomes of timestamps that cannot be. Must not know: which metrics there are, where bodies
come from.

An event may be late (a durable queue keeps it while the exporter is away), and clocks of workers are hours off where a
time zone was mistaken. A timestamp within a day ahead of our clock and thirty days behind it is the sender's and stays:
times of one sender belong together, and a repeated event is known by it. One beyond is no time at which anything
happened, and would stand in a gauge for years. The event did happen, so it counts as of its receipt, the handlers are
told by a :class:`events.types.Retimed` after it, and a line of log names the sender.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from msgspec.structs import replace

from celery_metrics_exporter.events.types import Retimed, Undecodable, UnknownEvent, decode
from celery_metrics_exporter.logs import fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from celery_metrics_exporter.clock import Moment
    from celery_metrics_exporter.events.types import AnyEvent, Event, EventT

log = logging.getLogger(__name__)

#: At most one log line for each reason in this time.
LOG_INTERVAL_SECONDS = 60.0
#: How far a timestamp may be ahead of our clock ...
MAX_AHEAD_SECONDS = 24 * 3600.0
#: ... and behind it.
MAX_BEHIND_SECONDS = 30 * 24 * 3600.0
#: Characters of foreign text in a line of log.
MAX_SHOWN = 200
#: Between two events that come together, so that they stay apart and in order.
_APART_SECONDS = 1e-6


class Drops(Protocol):
    """Counts events that die."""

    def dropped(self, reason: str) -> None:
        """One more died of ``reason``."""


class Dispatcher:
    """A sink for bodies, and the owner of the handler table.

    One thread at a time writes event state: whoever feeds or sweeps holds the lock for a whole body or sweep. Scrapes
    read without it.
    """

    def __init__(self, drops: Drops, now: Moment) -> None:
        """``drops`` counts what dies; ``now`` is kept at the time of receipt."""
        self._drops = drops
        self._now = now
        self._lock = threading.Lock()
        self._handlers: dict[type[Any], Callable[[Any], None]] = {}
        self._watchers: list[Callable[[Sequence[Event]], None]] = []
        self._sweeps: list[Callable[[], None]] = []
        self._logged: dict[str, float] = {}
        self._earliest = self._latest = 0.0  # between which timestamps are the sender's
        self._apart = 0.0  # seconds by which the next impossible one is later than the receipt

    def on(self, kind: type[EventT], handler: Callable[[EventT], None], /) -> None:
        """Let ``handler`` have each event of this type, after those that were named before it."""
        before = self._handlers.get(kind)
        self._handlers[kind] = handler if before is None else _Both(before, handler, self._failed)

    def watch(self, watcher: Callable[[Sequence[Event]], None], /) -> None:
        """Let ``watcher`` have all known events, those that were fed together at once, after their handlers.

        For what can be done for many at a fraction of the cost.
        """
        self._watchers.append(watcher)

    def every_sweep(self, sweep: Callable[[], None]) -> None:
        """Let ``sweep`` run whenever :meth:`sweep` does."""
        self._sweeps.append(sweep)

    def feed(self, body: bytes) -> None:
        """Handle the events of one message body, see :func:`events.types.decode`. Never raises."""
        self.feed_all((body,))

    def feed_all(self, bodies: Iterable[bytes], /) -> None:
        """Handle the events of several bodies that came together. Never raises."""
        with self._lock:
            self._now.read()
            now = self._now.wall
            self._earliest, self._latest = now - MAX_BEHIND_SECONDS, now + MAX_AHEAD_SECONDS
            self._apart = 0.0
            told: list[Event] = []
            for body in bodies:
                try:
                    self._handle_all(body, told)
                except Exception:  # noqa: BLE001 - a bug of ours costs one message, never the stream
                    self._drop("handler_error", "message not handled", body[:100], trace=True)
            self._tell(told)

    def _handle_all(self, body: bytes, told: list[Event]) -> None:
        """Let the events of a body be handled, and add those that watchers are to be told of."""
        earliest, latest = self._earliest, self._latest
        handler_of = self._handlers.get
        events: Sequence[Any] = decode(body)
        odd = False
        for event in events:
            if earliest < event.timestamp < latest:
                handler = handler_of(type(event))
                if handler is not None:
                    try:
                        handler(event)
                    except Exception:  # noqa: BLE001 - a handler's bug costs one event, never the stream
                        self._failed(type(event))
                continue
            odd = True
            if isinstance(event, Undecodable):
                self._drop(event.reason, event.detail, event.excerpt)
            elif isinstance(event, UnknownEvent):
                self._handle(event)
            else:
                self._apart += _APART_SECONDS
                self._handle_retimed(event, self._now.wall + self._apart)
        told += events if not odd else [each for each in events if earliest < each.timestamp < latest]

    def _handle(self, event: AnyEvent) -> None:
        handler = self._handlers.get(type(event))
        if handler is not None:
            try:
                handler(event)
            except Exception:  # noqa: BLE001 - see _handle_all, which does the same without a call
                self._failed(type(event))

    def _tell(self, events: Sequence[Event]) -> None:
        if events:
            for watch in self._watchers:
                try:
                    watch(events)
                except Exception:  # noqa: BLE001 - as with handlers
                    self._drop("handler_error", f"{len(events)} events not watched", trace=True)

    def _failed(self, kind: type[Any]) -> None:
        self._drop("handler_error", f"{kind.__name__} not handled", trace=True)

    def _handle_retimed(self, event: Event, now: float) -> None:
        retimed = replace(event, timestamp=now)
        self._handle(retimed)
        self._tell((retimed,))
        self._handle(Retimed(event.hostname, event.timestamp))
        if self._may_log("retimed"):
            log.warning(
                "an impossible timestamp was taken for the time of receipt",
                extra=fields(sender=_printable(event.hostname), timestamp=event.timestamp),
            )

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
        """Do the work that time asks for, whether or not events come."""
        with self.writing():
            for sweep in self._sweeps:
                sweep()

    def _drop(self, reason: str, detail: str, excerpt: bytes = b"", *, trace: bool = False) -> None:
        self._drops.dropped(reason)
        if self._may_log(reason):
            shown = fields(excerpt=_printable(excerpt.decode(errors="replace"))) if excerpt else None
            log.warning("event dropped: %s: %s", reason, _printable(detail), exc_info=trace, extra=shown)

    def _may_log(self, reason: str) -> bool:
        now = self._now.monotonic
        if now - self._logged.get(reason, -LOG_INTERVAL_SECONDS) < LOG_INTERVAL_SECONDS:
            return False
        self._logged[reason] = now
        return True


class _Both:
    """Two handlers of one type of event; when the first raises, the second has it all the same."""

    def __init__(
        self,
        first: Callable[[Any], None],
        second: Callable[[Any], None],
        on_failure: Callable[[type[Any]], None],
    ) -> None:
        self._first = first
        self._second = second
        self._on_failure = on_failure

    def __call__(self, event: Any) -> None:
        try:
            self._first(event)
        except Exception:  # noqa: BLE001 - see Dispatcher
            self._on_failure(type(event))
        self._second(event)


def _printable(text: str) -> str:
    """The beginning of a text that anybody may have written, as one plain line."""
    return ascii(text[:MAX_SHOWN])[1:-1][:MAX_SHOWN]
