"""The life of a receiver: subscribe, receive, and start over when the connection is lost.

Owns: the reconnect loop with its pauses, the news for the link, the log lines of a loss, and what tells a watchdog
whether it moves. Must not know: transports, events, metrics.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from typing import TYPE_CHECKING, Final

from celery_metrics_exporter.errors import one_line
from celery_metrics_exporter.logs import OutageLog, fields
from celery_metrics_exporter.receivers import SilentError

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery_metrics_exporter.receivers import Link, Subscription

log = logging.getLogger(__name__)

#: First and longest pause between two tries to connect, before jitter: events flow again within half a minute of the
#: end of an outage, also when connecting takes its time.
BACKOFF_SECONDS: Final = (0.5, 20.0)

#: Where a receiver can get stuck; ``None`` stands for a pause, in which it cannot.
CONNECTING: Final = "connecting"
RECEIVING: Final = "receiving"
LEAVING: Final = "leaving"


class Receiver:
    """Keeps a subscription to the event stream, one after another if need be, until it is told to stop.

    All but :meth:`run` may be called from any thread.
    """

    def __init__(self, name: str, link: Link, subscribe: Callable[[], Subscription]) -> None:
        """Args:
        name: of the broker, for the log; without a password.
        link: is told whether a subscription stands.
        subscribe: makes the next one; it is opened, polled and closed here.
        """
        self._name = name
        self._link = link
        self._subscribe = subscribe
        self._stop = threading.Event()
        self._interrupted = threading.Event()  # by a stop or by what is to be renewed
        self._renewal: str | None = None
        self._subscription: Subscription | None = None
        self._stage: str | None = None
        self._moved = True
        self._outage = OutageLog(log, "no events, trying again", broker=name)

    def stop(self) -> None:
        """Let :meth:`run` return soon. May be called from a signal handler as well."""
        self._stop.set()
        self._interrupted.set()

    def renew(self, reason: str) -> None:
        """Leave the subscription that stands, if one does, and make another at once."""
        if self._stage == RECEIVING:
            self._renewal = reason
            self._interrupted.set()

    def still(self) -> str | None:
        """The stage in which nothing has moved since the last question; None if something has, or need not.

        For one thread that asks again and again.
        """
        moved, self._moved = self._moved, False
        return None if moved else self._stage

    def cut(self) -> None:
        """Shut the connection under a run that is stuck, without waiting for anything."""
        subscription = self._subscription
        if subscription is not None:
            with contextlib.suppress(Exception):  # it may be closed, half made, or of any kind
                subscription.cut()

    def run(self) -> None:
        """Receive until told to stop; reconnects for ever."""
        first, longest = BACKOFF_SECONDS
        pause = first
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self._receive(self._subscribe())
                continue
            except Exception as error:  # noqa: BLE001 - the reconnect loop: nothing ends it but a stop
                self._lost(error)
            if time.monotonic() - began > longest:
                pause = first
            self._stop.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            pause = min(2 * pause, longest)

    def _receive(self, subscription: Subscription) -> None:
        """Return after a stop or for a renewal; raise whatever ends the connection."""
        poll, interrupted = subscription.poll, self._interrupted.is_set
        self._subscription = subscription
        try:
            self._enter(CONNECTING)
            subscription.open()
            self._link.up()
            self._outage.recover()
            log.info("receiving events", extra=fields(broker=self._name))
            self._interrupted.clear()
            self._enter(RECEIVING)
            if not self._stop.is_set():
                while not interrupted():
                    poll()
                    self._moved = True
            self._enter(LEAVING)
            # What is renewed delivers nothing: nobody waits for its farewell.
            subscription.close(clean=self._stop.is_set())
        except BaseException:
            self._enter(LEAVING)
            with contextlib.suppress(Exception):  # what made us leave is the news
                subscription.close(clean=False)
            raise
        finally:
            self._subscription = None
            self._stage = None
        self._link.down("stopped" if self._stop.is_set() else self._renewal)

    def _enter(self, stage: str) -> None:
        self._stage = stage
        self._moved = True

    def _lost(self, error: Exception) -> None:
        self._link.down(one_line(error), since=error.since if isinstance(error, SilentError) else None)
        if not self._stop.is_set():
            self._outage.fail(error)
