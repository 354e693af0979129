"""The state of the event stream: whether events can be received, since when, and for how long they could not.

``/-/ready``, the receiver metrics and the liveness of workers are derived from it. The receiver and the delivery
monitor change it, everybody else reads it.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

from celery_metrics_exporter.clock import Clock


@dataclass(frozen=True, slots=True)
class StreamReading:
    """The state at one moment; durations in seconds, texts without secrets.

    Attributes:
        connected: whether there is a subscription.
        connections: number of subscriptions so far.
        disconnected_seconds: total time without a subscription that delivers, since the exporter started.
        last_error: why there is no subscription.
        delivering: whether the subscription delivers events; None while that is unknown.
        fault: why the subscription is known to deliver nothing.
        restarts: number of stuck receivers that were replaced.
        lasting: time for which events have been receivable, or not receivable.
        past_error: the latest ``last_error``, which a new subscription does not reset ...
        past_error_age: ... and the time since then.
        standby: whether another exporter gets the events of the durable queue that the subscription consumes.
    """

    connected: bool
    connections: int = 0
    disconnected_seconds: float = 0.0
    last_error: str | None = None
    delivering: bool | None = None
    fault: str | None = None
    restarts: int = 0
    lasting: float = 0.0
    past_error: str | None = None
    past_error_age: float = 0.0
    standby: bool = False

    @property
    def reconnects(self) -> int:
        """How often a subscription was lost and made anew."""
        return max(0, self.connections - 1)


class StreamState:
    """Counts subscriptions, and the time without one that delivers. Thread-safe."""

    def __init__(
        self,
        clock: Clock,
        *,
        redact: Callable[[str], str] = str,
        on_connected: Callable[[], None] = lambda: None,
    ) -> None:
        """Args:
        clock: the time.
        redact: removes the secrets from error texts.
        on_connected: called after each new subscription, by the receiver's thread.
        """
        self._redact = redact
        self._on_connected = on_connected
        self._monotonic = clock.monotonic
        self._lock = threading.Lock()
        self._changed = clock.monotonic()  # when events became receivable, or stopped being so
        #: Monotonic time since which there is a subscription that delivers without a gap; -inf before the first.
        self.listening_since = -math.inf
        self._receiving_since = self._changed  # start of the current, or else the latest, time of receiving
        self._connected = False
        self._standby = False
        self._connections = 0
        self._disconnected_seconds = 0.0  # without the current time of not receiving
        self._last_error: str | None = None
        self._past_error: str | None = None
        self._past_error_at = self._changed
        self._delivering: bool | None = None
        self._fault: str | None = None
        self._restarts = 0
        self._stalled_since: float | None = None

    def mark_connected(self, *, standby: bool = False) -> None:
        """Note that the broker has confirmed a subscription, or that a standby has become active."""
        with self._lock:
            if not self._connected:
                self._connected = True
                self._connections += 1
                self._last_error = None
                if self._delivering is not False:
                    self._start_receiving()
            elif self._standby and not standby:
                self._changed = self._receiving_since = self.listening_since = self._monotonic()
            else:
                return
            self._standby = standby
        self._on_connected()

    def mark_disconnected(self, error: str | None, *, since: float | None = None) -> None:
        """Note that there is no subscription any more, or still none.

        Args:
            error: the reason in one line.
            since: monotonic time of the last delivery, where the loss was found out late.
        """
        with self._lock:
            self._last_error = None if error is None else self._redact(error)
            if self._last_error is not None:
                self._past_error = self._last_error
                self._past_error_at = self._monotonic()
            if self._receiving:
                self._changed = self._monotonic() if since is None else max(since, self._changed)
            self._connected = self._standby = False
            if self._delivering:
                self._delivering = None

    def mark_delivering(self) -> None:
        """Note that an event has arrived through the subscription."""
        with self._lock:
            was_faulty = self._delivering is False
            self._delivering = True
            self._fault = None
            if was_faulty and self._connected:
                self._start_receiving()
            elif self._stalled_since is not None:
                self._stalled_since = None
                self._receiving_since = self._monotonic()

    def mark_not_delivering(self, fault: str, *, since: float) -> None:
        """Note that the subscription delivers nothing.

        Args:
            fault: the reason in one line.
            since: monotonic time of the last delivery.
        """
        with self._lock:
            if self._receiving:
                self._changed = max(since, self._changed)
            self._delivering = False
            self._fault = self._redact(fault)

    def mark_unknown(self) -> None:
        """Note that nothing has arrived lately, and that this does not show whether the subscription delivers."""
        with self._lock:
            was_faulty = self._delivering is False
            self._delivering = None
            self._fault = None
            if was_faulty and self._connected:
                self._start_receiving()

    def mark_stalled(self, *, since: float) -> None:
        """Note that publishers may be held up by the broker since the monotonic time of the last delivery.

        No event is missed then, but no worker is silent either until an event arrives.
        """
        with self._lock:
            if self._receiving and self._stalled_since is None:
                self._stalled_since = max(since, self._receiving_since)

    def count_restart(self) -> None:
        """Count a receiver that has replaced a stuck one."""
        with self._lock:
            self._restarts += 1

    def read(self) -> StreamReading:
        """The state now; ``disconnected_seconds`` grows while no events can be received."""
        with self._lock:
            now = self._monotonic()
            lasting = now - self._changed
            return StreamReading(
                connected=self._connected,
                connections=self._connections,
                disconnected_seconds=self._disconnected_seconds + (0.0 if self._receiving else lasting),
                last_error=self._last_error,
                delivering=self._delivering,
                fault=self._fault,
                restarts=self._restarts,
                lasting=lasting,
                past_error=self._past_error,
                past_error_age=now - self._past_error_at,
                standby=self._standby,
            )

    def silence(self, last_seen: float) -> float:
        """Seconds for which a worker has sent nothing while events could be received.

        Time without a subscription that delivers does not count, nor time on standby or in which publishers are held
        up: no worker is lost because we cannot receive its events.

        Args:
            last_seen: monotonic time of the worker's latest event.
        """
        with self._lock:
            until = self._monotonic() if self._receiving and not self._standby else self._changed
            if self._stalled_since is not None:
                until = min(until, self._stalled_since)
            return max(0.0, until - max(last_seen, self._receiving_since))

    @property
    def _receiving(self) -> bool:
        return self._connected and self._delivering is not False

    def _start_receiving(self) -> None:
        now = self._monotonic()
        self._disconnected_seconds += now - self._changed
        self._changed = self._receiving_since = self.listening_since = now
        self._stalled_since = None
