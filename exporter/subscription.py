"""The state of the event subscription: connected or not, since when, and how long we were deaf.

Owns: what ``/-/ready``, the receiver metrics and the liveness of workers need to know of the receiver. The receiver
thread reports, everybody else reads. Must not know: brokers, events, metrics.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.clock import Clock


@dataclass(frozen=True, slots=True)
class SubscriptionState:
    """One consistent reading; durations in seconds, ``last_error`` already free of secrets."""

    connected: bool
    connections: int
    disconnected_seconds: float
    last_error: str | None


class Subscription:
    """Counts connections and the seconds without one. Thread-safe."""

    def __init__(self, clock: Clock, *, redact: Callable[[str], str] = str) -> None:
        """``redact`` takes the secrets out of error texts."""
        self._redact = redact
        self._monotonic = clock.monotonic
        self._lock = threading.Lock()
        self._since = clock.monotonic()  # of the current state
        self._heard_since = self._since  # of the current or last connection
        self._connected = False
        self._connections = 0
        self._deaf_seconds = 0.0
        self._last_error: str | None = None

    def up(self) -> None:
        """Events are delivered from now on."""
        with self._lock:
            if self._connected:
                return
            now = self._monotonic()
            self._deaf_seconds += now - self._since
            self._since = self._heard_since = now
            self._connected = True
            self._connections += 1
            self._last_error = None

    def down(self, error: str | None) -> None:
        """No events are delivered any more, or still none; ``error`` says why in one line."""
        with self._lock:
            self._last_error = None if error is None else self._redact(error)
            if self._connected:
                self._since = self._monotonic()
                self._connected = False

    def state(self) -> SubscriptionState:
        """Read everything at once; ``disconnected_seconds`` grows while there is no subscription."""
        with self._lock:
            deaf = self._deaf_seconds
            if not self._connected:
                deaf += self._monotonic() - self._since
            return SubscriptionState(self._connected, self._connections, deaf, self._last_error)

    def silence(self, last_heard: float) -> float:
        """Seconds for which somebody was silent while we listened.

        Args:
            last_heard: monotonic time of the last sign of life. Time without a subscription before it does not count;
                while there is none, silence does not grow: nobody is declared dead because we are deaf.
        """
        with self._lock:
            until = self._monotonic() if self._connected else self._since
            return max(0.0, until - max(last_heard, self._heard_since))
