"""The way of a body: decoded, each event to its handlers, every loss counted.

Owns: the table event type -> handlers, the lock under which event state is written, and the end of every event that
does not reach a handler. Must not know: which metrics there are, where bodies come from.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, Protocol

from exporter.events import Undecodable, decode

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from exporter.clock import Clock
    from exporter.collectors.family import EventT

log = logging.getLogger(__name__)

#: At most one log line for each reason in this time.
LOG_INTERVAL_SECONDS = 60.0


class Drops(Protocol):
    """Counts events that die."""

    def dropped(self, reason: str) -> None:
        """One more died of ``reason``."""


class Dispatcher:
    """A sink for bodies, and the owner of the handler table.

    One thread at a time writes event state: whoever feeds or sweeps holds the lock for a whole body or sweep. Scrapes
    read without it.
    """

    def __init__(self, drops: Drops, clock: Clock) -> None:
        self._drops = drops
        self._monotonic = clock.monotonic
        self._lock = threading.Lock()
        self._handlers: dict[type[Any], tuple[Callable[[Any], None], ...]] = {}
        self._sweeps: list[Callable[[], None]] = []
        self._logged: dict[str, float] = {}

    def on(self, kind: type[EventT], handler: Callable[[EventT], None], /) -> None:
        """Let ``handler`` have each event of this type, after those that were named before it."""
        self._handlers[kind] = (*self._handlers.get(kind, ()), handler)

    def every_sweep(self, sweep: Callable[[], None]) -> None:
        """Let ``sweep`` run whenever :meth:`sweep` does."""
        self._sweeps.append(sweep)

    def feed(self, body: bytes) -> None:
        """Handle the events of one message body, see :func:`exporter.events.decode`. Never raises."""
        with self._lock:
            for event in decode(body):
                if type(event) is Undecodable:
                    self._drop(event.reason, event.detail)
                    continue
                for handler in self._handlers.get(type(event), ()):
                    try:
                        handler(event)
                    except Exception:  # noqa: BLE001 - a handler's bug costs one event, never the stream
                        self._drop("handler_error", f"{type(event).__name__} not handled", trace=True)

    def drop(self, reason: str, detail: str) -> None:
        """Count a message that could not even be turned into a body."""
        with self._lock:
            self._drop(reason, detail)

    def writing(self) -> AbstractContextManager[bool]:
        """What is held while event state is written from elsewhere."""
        return self._lock

    def sweep(self) -> None:
        """Do the work that time asks for, whether or not events come."""
        with self._lock:
            for sweep in self._sweeps:
                sweep()

    def _drop(self, reason: str, detail: str, *, trace: bool = False) -> None:
        self._drops.dropped(reason)
        now = self._monotonic()
        if now - self._logged.get(reason, -LOG_INTERVAL_SECONDS) >= LOG_INTERVAL_SECONDS:
            self._logged[reason] = now
            log.warning("event dropped: %s: %s", reason, detail[:200], exc_info=trace)
