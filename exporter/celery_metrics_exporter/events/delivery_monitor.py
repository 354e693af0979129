"""Finds out whether the subscription delivers events: without this, a broken one looks like a quiet day.

Every event is evidence. After a silence the monitor sends a probe, an event of our own, over the connection of remote
control; if it does not arrive, the receiver has to subscribe again. Where probes cannot be sent, a silence proves
nothing; nor does it on standby, where the active exporter gets our probes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final, Protocol

from celery_metrics_exporter.clock import Clock
from celery_metrics_exporter.events.stream_state import StreamReading, StreamState
from celery_metrics_exporter.logs import fields

log = logging.getLogger(__name__)

#: Time without any event after which a probe is sent ...
SILENCE_SECONDS: Final = 15.0
#: ... and for which it, or any other event, may take to arrive; after half of it a second one is sent.
ANSWER_SECONDS: Final = 10.0
#: Pauses before the receiver subscribes again for the first, second, ... and every further time.
RENEWAL_PAUSE_SECONDS: Final = (0.0, 30.0, 60.0, 120.0, 300.0)
#: Longest time between two sweeps that counts: in a longer one the process was frozen, and the receiver with it.
_MAX_STEP_SECONDS: Final = 1.0


class Prober(Protocol):
    """Sends events to the exchange from which we receive events."""

    def request_probe(self, told: DeliveryMonitor, *, anew: bool) -> None:
        """Send a probe soon, and tell ``told`` the result; ``anew``: over a new connection."""


class DeliveryMonitor:
    """Watches what arrives. :meth:`sweep` is due every quarter of a second; any thread may call the other methods."""

    def __init__(
        self,
        stream: StreamState,
        clock: Clock,
        *,
        received: Callable[[], int],
        renew: Callable[[str], None],
        prober: Prober | None,
    ) -> None:
        """Args:
        stream: is told the results.
        clock: the time.
        received: gives the number of events so far, good or bad.
        renew: makes the receiver subscribe again, for a reason in one line.
        prober: sends probes; None if nothing can send them, or they would not arrive.
        """
        self._stream = stream
        self._monotonic = clock.monotonic
        self._received = received
        self._prober = prober
        self._renew = renew
        self._lock = threading.RLock()  # a prober may tell its result within the request
        self._swept = clock.monotonic()
        self._count = 0  # events at the latest sweep
        self._connections = 0
        self._last_evidence = self._swept  # monotonic time of the latest event, or of a new subscription
        self._silence = 0.0  # seconds without evidence, though there could have been
        self._probes = 0  # published since the latest evidence
        self._probe_pause = 0.0  # seconds until another may be sent
        self._waiting: float | None = None  # seconds since the first of them was published
        self._probe_requested = False
        self._refused = False
        self._renewals = 0
        self._renewal_pause: float | None = None  # seconds until the next renewal
        self._fault = ""

    def published(self) -> None:
        """Note that the broker has taken our probe."""
        with self._lock:
            self._probe_requested = False
            self._probes += 1
            if self._waiting is None:
                self._waiting = 0.0

    def refused(self) -> None:
        """Note that the broker refuses probes, or would not deliver them; a new subscription tries again."""
        with self._lock:
            self._probe_requested = False
            self._refused = True

    def failed(self) -> None:
        """Note that a probe could not be sent: the broker is away, or holds publishers up.

        RabbitMQ holds up every publisher during a memory or disk alarm; silence says nothing about workers then.
        """
        with self._lock:
            self._probe_requested = False
            self._probe_pause = ANSWER_SECONDS
            self._stream.mark_stalled(since=self._last_evidence)

    def sweep(self) -> None:
        """Look whether events have arrived, and do what is due."""
        state = self._stream.read()
        with self._lock:
            now = self._monotonic()
            step, self._swept = min(now - self._swept, _MAX_STEP_SECONDS), now
            count = self._received()
            arrived, self._count = count != self._count, count
            if not state.connected:
                self._start_over(now)
                return
            if state.connections != self._connections:
                self._connections = state.connections
                self._refused = False
                self._start_over(now)
            if arrived:
                self._take_evidence(now, faulty=state.delivering is False)
            else:
                self._wait(step, state)

    def _start_over(self, now: float) -> None:
        self._last_evidence = now
        self._silence = self._probe_pause = 0.0
        self._probes = 0
        self._waiting = None
        self._renewal_pause = None

    def _take_evidence(self, now: float, *, faulty: bool) -> None:
        self._start_over(now)
        self._renewals = 0
        self._stream.mark_delivering()
        if faulty:
            log.info("events arrive again")

    def _wait(self, step: float, state: StreamReading) -> None:
        """Count another ``step`` seconds without events, and do what is due."""
        faulty = state.delivering is False
        self._silence += step
        self._probe_pause -= step
        if not faulty and self._waiting is None and self._silence >= SILENCE_SECONDS + ANSWER_SECONDS:
            self._stream.mark_unknown()  # no probe could be published
        if self._renewal_pause is not None:
            self._renewal_pause -= step
            if self._renewal_pause < 0:
                self._renewal_pause = None
                self._renew(f"subscribing again: {self._fault}")
        elif self._waiting is None:
            if faulty or self._silence >= SILENCE_SECONDS:
                self._probe(anew=faulty)
        else:
            self._waiting += step
            if self._waiting >= ANSWER_SECONDS and state.standby:
                self._stream.mark_unknown()
                self._start_over(self._swept)
            elif self._waiting >= ANSWER_SECONDS:
                self._report_fault(known=faulty)
            elif self._probes == 1 and self._waiting >= ANSWER_SECONDS / 2:
                self._probe(anew=False)  # another consumer of the same queue may have got the first

    def _probe(self, *, anew: bool) -> None:
        if self._prober is None or self._refused:
            self._stream.mark_unknown()
        elif not self._probe_requested and self._probe_pause <= 0:
            self._probe_requested = True
            self._prober.request_probe(self, anew=anew)

    def _report_fault(self, *, known: bool) -> None:
        self._fault = f"no event for {self._silence:.0f} s, not even our own probes ({self._probes} sent)"
        self._waiting = None
        self._probes = 0
        self._stream.mark_not_delivering(self._fault, since=self._last_evidence)
        if not known:
            log.warning("connected, but no events arrive: subscribing again", extra=fields(fault=self._fault))
        self._renewal_pause = RENEWAL_PAUSE_SECONDS[min(self._renewals, len(RENEWAL_PAUSE_SECONDS) - 1)]
        self._renewals += 1
