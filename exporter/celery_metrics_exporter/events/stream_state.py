"""The state of the event subscription: whether it stands and delivers, since when, and how long we were deaf.

Owns: what ``/-/ready``, the receiver metrics and the liveness of workers need to know of the receiver. The receiver
and who watches it report, everybody else reads. Must not know: brokers, events, metrics.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery_metrics_exporter.clock import Clock


@dataclass(frozen=True, slots=True)
class SubscriptionState:
    """One consistent reading; durations in seconds, texts already free of secrets.

    Attributes:
        connected: whether a subscription stands.
        connections: how many have stood so far.
        disconnected_seconds: for which none stood, or nothing came through it.
        last_error: why there is none.
        delivering: whether something came through it lately; None while that is not known.
        deafness: what is known instead of that.
        restarts: receivers that took the place of one that was stuck.
        lasting: seconds for which something can be heard, or cannot.
        past_error: the latest ``last_error`` of all, which a connection does not end ...
        past_error_age: ... and how many seconds ago it was told.
    """

    connected: bool
    connections: int = 0
    disconnected_seconds: float = 0.0
    last_error: str | None = None
    delivering: bool | None = None
    deafness: str | None = None
    restarts: int = 0
    lasting: float = 0.0
    past_error: str | None = None
    past_error_age: float = 0.0

    @property
    def reconnects(self) -> int:
        """How often a subscription was lost and made anew."""
        return max(0, self.connections - 1)


class Subscription:
    """Counts connections and the seconds without one that delivers. Thread-safe."""

    def __init__(
        self,
        clock: Clock,
        *,
        redact: Callable[[str], str] = str,
        on_up: Callable[[], None] = lambda: None,
    ) -> None:
        """Args:
        clock: the time.
        redact: takes the secrets out of error texts.
        on_up: told of each subscription that stands, by the thread that reports it.
        """
        self._redact = redact
        self._on_up = on_up
        self._monotonic = clock.monotonic
        self._lock = threading.Lock()
        self._since = clock.monotonic()  # of hearing, or of not hearing
        self._heard_since = self._since  # of the current or last time of hearing
        self._connected = False
        self._connections = 0
        self._deaf_seconds = 0.0
        self._last_error: str | None = None
        self._past_error: str | None = None
        self._past_error_at = self._since
        self._delivering: bool | None = None
        self._deafness: str | None = None
        self._restarts = 0
        self._stalled_since: float | None = None

    def up(self) -> None:
        """A subscription stands."""
        with self._lock:
            if self._connected:
                return
            self._connected = True
            self._connections += 1
            self._last_error = None
            if self._delivering is not False:
                self._hear()
        self._on_up()

    def down(self, error: str | None, *, since: float | None = None) -> None:
        """It does not stand any more, or still none does; ``error`` says why in one line.

        ``since``: the monotonic time at which it was last heard, if it is known to have been dead from then on.
        """
        with self._lock:
            self._last_error = None if error is None else self._redact(error)
            if self._last_error is not None:
                self._past_error = self._last_error
                self._past_error_at = self._monotonic()
            if self._hears:
                self._since = self._monotonic() if since is None else max(since, self._since)
            self._connected = False
            if self._delivering:
                self._delivering = None

    def delivers(self) -> None:
        """Something came through the subscription that stands."""
        with self._lock:
            was_deaf = self._delivering is False
            self._delivering = True
            self._deafness = None
            if was_deaf and self._connected:
                self._hear()
            elif self._stalled_since is not None:
                self._stalled_since = None
                self._heard_since = self._monotonic()

    def deaf(self, reason: str, *, since: float) -> None:
        """Nothing comes through the subscription, by the monotonic time when it last did; ``reason`` in one line."""
        with self._lock:
            if self._hears:
                self._since = max(since, self._since)
            self._delivering = False
            self._deafness = self._redact(reason)

    def stalled(self, *, since: float) -> None:
        """Events may be held up on their way to the broker, since the monotonic time at which the last one came.

        Nothing is missed; but nobody is silent until something comes.
        """
        with self._lock:
            if self._hears and self._stalled_since is None:
                self._stalled_since = max(since, self._heard_since)

    def unsure(self) -> None:
        """Nothing came lately, and nothing can be concluded from that."""
        with self._lock:
            was_deaf = self._delivering is False
            self._delivering = None
            self._deafness = None
            if was_deaf and self._connected:
                self._hear()

    def restarted(self) -> None:
        """Another receiver has taken the place of one that was stuck."""
        with self._lock:
            self._restarts += 1

    def state(self) -> SubscriptionState:
        """Read everything at once; ``disconnected_seconds`` grows while nothing can be heard."""
        with self._lock:
            now = self._monotonic()
            lasting = now - self._since
            deaf = self._deaf_seconds
            if not self._hears:
                deaf += lasting
            return SubscriptionState(
                self._connected,
                self._connections,
                deaf,
                self._last_error,
                self._delivering,
                self._deafness,
                self._restarts,
                lasting,
                self._past_error,
                now - self._past_error_at,
            )

    def silence(self, last_heard: float) -> float:
        """Seconds for which somebody was silent while we listened.

        Args:
            last_heard: monotonic time of the last sign of life. Time without a subscription before it does not count;
                while there is none, silence does not grow: nobody is declared dead because we are deaf, nor while
                all are held up.
        """
        with self._lock:
            until = self._monotonic() if self._hears else self._since
            if self._stalled_since is not None:
                until = min(until, self._stalled_since)
            return max(0.0, until - max(last_heard, self._heard_since))

    @property
    def _hears(self) -> bool:
        return self._connected and self._delivering is not False

    def _hear(self) -> None:
        """Begin to, after a time without."""
        now = self._monotonic()
        self._deaf_seconds += now - self._since
        self._since = self._heard_since = now
        self._stalled_since = None
