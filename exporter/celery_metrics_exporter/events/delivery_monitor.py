"""Whether the subscription that stands delivers anything: connected, but deaf, looks like a quiet day otherwise.

Owns: when an event of our own is sent to ourselves, what follows from its silence, and when the receiver subscribes
anew. Must not know: brokers, how an event is sent or received.

Any event is evidence, ours only breaks a silence. It goes over another connection, that of remote control; without
the right to send it nothing can be told of a silence, and nothing is.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final, Protocol

from celery_metrics_exporter.logs import fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery_metrics_exporter.clock import Clock
    from celery_metrics_exporter.events.stream_state import Subscription

log = logging.getLogger(__name__)

#: Seconds without any event after which one is sent to ourselves ...
SILENCE_SECONDS: Final = 15.0
#: ... and for which it, or any other, may keep us waiting; half way a second one is sent.
ANSWER_SECONDS: Final = 10.0
#: Pauses, in seconds, before the receiver is made to subscribe anew for the first, second, ... and every further time.
RENEWAL_PAUSES: Final = (0.0, 30.0, 60.0, 120.0, 300.0)
#: A longer time between two looks does not count as such: the process was frozen, the receiver with it.
_LONGEST_LOOK: Final = 1.0


class Prober(Protocol):
    """Sends an event to the exchange that we receive events from."""

    def request_probe(self, told: Delivery, *, anew: bool) -> None:
        """Send one soon, and tell ``told`` what became of it; ``anew``: over a new connection."""


class Delivery:
    """Watches what arrives. :meth:`sweep` is due every quarter of a second or so; the rest comes from any thread."""

    def __init__(
        self,
        subscription: Subscription,
        clock: Clock,
        *,
        heard: Callable[[], int],
        renew: Callable[[str], None],
        prober: Prober | None,
    ) -> None:
        """Args:
        subscription: is told what is found out.
        clock: the time.
        heard: how many events have come so far, good or bad.
        renew: makes the receiver subscribe anew, for a reason in one line.
        prober: sends our events; None: nobody may, or they would not come back.
        """
        self._subscription = subscription
        self._monotonic = clock.monotonic
        self._heard = heard
        self._prober = prober
        self._renew = renew
        self._lock = threading.RLock()  # whoever sends our event may tell at once
        self._looked = clock.monotonic()
        self._count = 0
        self._connections = 0
        self._last = self._looked  # monotonic time of the last evidence, or of a new subscription
        self._quiet = 0.0  # seconds without evidence, as far as we could have had any
        self._probes = 0  # sent since the last evidence
        self._hold = 0.0  # seconds until another may be sent
        self._waiting: float | None = None  # seconds since the first of them was published
        self._asked = False  # one is on its way to be published
        self._refused = False
        self._renewals = 0
        self._pause: float | None = None  # seconds until the next renewal
        self._reason = ""

    def published(self) -> None:
        """Our event is with the broker."""
        with self._lock:
            self._asked = False
            self._probes += 1
            if self._waiting is None:
                self._waiting = 0.0

    def refused(self) -> None:
        """The broker does not let us send events, or they would not come back; asked again with another connection."""
        with self._lock:
            self._asked = False
            self._refused = True

    def failed(self) -> None:
        """It could not be sent: the broker may be away, which is the news of others, or lets nobody publish.

        RabbitMQ does that in a memory or disk alarm: whoever publishes waits, so that silence tells nothing of workers.
        """
        with self._lock:
            self._asked = False
            self._hold = ANSWER_SECONDS
            self._subscription.stalled(since=self._last)

    def sweep(self) -> None:
        """Look at what has come, and do what time asks for."""
        state = self._subscription.state()
        with self._lock:
            now = self._monotonic()
            step, self._looked = min(now - self._looked, _LONGEST_LOOK), now
            count = self._heard()
            came, self._count = count != self._count, count
            if not state.connected:
                self._start_over(now)
                return
            if state.connections != self._connections:
                self._connections = state.connections
                self._refused = False
                self._start_over(now)
            if came:
                self._take_evidence(now, deaf=state.delivering is False)
            else:
                self._wait(step, deaf=state.delivering is False)

    def _start_over(self, now: float) -> None:
        self._last = now
        self._quiet = self._hold = 0.0
        self._probes = 0
        self._waiting = None
        self._pause = None

    def _take_evidence(self, now: float, *, deaf: bool) -> None:
        self._start_over(now)
        self._renewals = 0
        self._subscription.delivers()
        if deaf:
            log.info("events arrive again")

    def _wait(self, step: float, *, deaf: bool) -> None:
        """Nothing came for another moment."""
        self._quiet += step
        self._hold -= step
        if not deaf and self._waiting is None and self._quiet >= SILENCE_SECONDS + ANSWER_SECONDS:
            self._subscription.unsure()  # our own event is not even on its way
        if self._pause is not None:
            self._pause -= step
            if self._pause < 0:
                self._pause = None
                self._renew(f"nothing arrived: {self._reason}")
        elif self._waiting is None:
            if deaf or self._quiet >= SILENCE_SECONDS:
                self._ask(anew=deaf)
        else:
            self._waiting += step
            if self._waiting >= ANSWER_SECONDS:
                self._find_deaf(known=deaf)
            elif self._probes == 1 and self._waiting >= ANSWER_SECONDS / 2:
                self._ask(anew=False)  # the first may have gone to somebody else who reads the same queue

    def _ask(self, *, anew: bool) -> None:
        if self._prober is None or self._refused:
            self._subscription.unsure()
        elif not self._asked and self._hold <= 0:
            self._asked = True
            self._prober.request_probe(self, anew=anew)

    def _find_deaf(self, *, known: bool) -> None:
        self._reason = f"no event for {self._quiet:.0f} s, not even {self._probes} of our own"
        self._waiting = None
        self._probes = 0
        self._subscription.deaf(self._reason, since=self._last)
        if not known:
            log.warning("connected but nothing arrives, subscribing anew", extra=fields(reason=self._reason))
        self._pause = RENEWAL_PAUSES[min(self._renewals, len(RENEWAL_PAUSES) - 1)]
        self._renewals += 1
