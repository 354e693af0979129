"""The receiver: subscribes, polls, and subscribes again with growing pauses when the connection is lost."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Final

from celery_metrics_exporter.errors import one_line
from celery_metrics_exporter.logs import OutageLog, fields
from celery_metrics_exporter.receivers import Link, SilentError, Subscription

log = logging.getLogger(__name__)

#: First and longest pause between two attempts to connect, before jitter: events arrive again within half a minute
#: after the end of an outage, also when connecting is slow.
BACKOFF_SECONDS: Final = (0.5, 20.0)

#: Stages in which a receiver can get stuck; in a pause (``None``) it cannot.
CONNECTING: Final = "connecting"
RECEIVING: Final = "receiving"
LEAVING: Final = "leaving"


class Receiver:
    """Keeps a subscription to the event stream open until it is told to stop.

    Every method but :meth:`run` may be called from any thread.
    """

    def __init__(self, name: str, link: Link, subscribe: Callable[[], Subscription]) -> None:
        """Args:
        name: of the broker, for the log; without a password.
        subscribe: makes a new subscription, which is opened, polled and closed here.
        """
        self._name = name
        self._link = link
        self._subscribe = subscribe
        self._stop = threading.Event()
        self._interrupted = threading.Event()  # set by a stop or a renewal
        self._renewal: str | None = None
        self._subscription: Subscription | None = None
        self._stage: str | None = None
        self._moved = True
        self._outage = OutageLog(log, "cannot receive events, trying again", broker=name)

    def stop(self) -> None:
        """Make :meth:`run` return soon. May be called from a signal handler as well."""
        self._stop.set()
        self._interrupted.set()

    def renew(self, reason: str) -> None:
        """Replace the open subscription, if there is one, by a new one at once."""
        if self._stage == RECEIVING:
            self._renewal = reason
            self._interrupted.set()

    def still(self) -> str | None:
        """The stage in which there was no progress since the last call; None if there was some, or during a pause.

        To be called repeatedly by one thread.
        """
        moved, self._moved = self._moved, False
        return None if moved else self._stage

    def cut(self) -> None:
        """Shut down the socket of a run that is stuck, without waiting for anything."""
        subscription = self._subscription
        if subscription is not None:
            with contextlib.suppress(Exception):  # the subscription may be closed, half open, or of any kind
                subscription.cut()

    def run(self) -> None:
        """Receive until told to stop; reconnects forever."""
        first, longest = BACKOFF_SECONDS
        pause = first
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self._receive(self._subscribe())
                continue
            except Exception as error:  # noqa: BLE001 - the reconnect loop: nothing ends it but a stop
                self._link.mark_disconnected(
                    one_line(error), since=error.since if isinstance(error, SilentError) else None
                )
                if not self._stop.is_set():
                    self._outage.fail(error)
            if time.monotonic() - began > longest:
                pause = first
            self._stop.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            pause = min(2 * pause, longest)

    def _receive(self, subscription: Subscription) -> None:
        """Receive until a stop or a renewal; raises whatever ends the connection."""
        poll, interrupted = subscription.poll, self._interrupted.is_set
        self._subscription = subscription
        try:
            self._enter(CONNECTING)
            subscription.open()
            standby = subscription.standby
            self._link.mark_connected(standby=standby)
            self._outage.recover()
            if standby:
                log.info("standby: another exporter receives the events", extra=fields(broker=self._name))
            else:
                log.info("receiving events", extra=fields(broker=self._name))
            self._interrupted.clear()
            self._enter(RECEIVING)
            if not self._stop.is_set():
                while subscription.standby and not interrupted():
                    poll()
                    self._moved = True
                if standby and not subscription.standby:
                    self._link.mark_connected()
                    log.info("receiving events", extra=fields(broker=self._name))
                while not interrupted():
                    poll()
                    self._moved = True
            self._enter(LEAVING)
            # A subscription that is renewed delivers nothing: it gets no clean close, which could take long.
            subscription.close(clean=self._stop.is_set())
        except BaseException:
            self._enter(LEAVING)
            with contextlib.suppress(Exception):  # the first error is the one to report
                subscription.close(clean=False)
            raise
        finally:
            self._subscription = None
            self._stage = None
        self._link.mark_disconnected("stopped" if self._stop.is_set() else self._renewal)

    def _enter(self, stage: str) -> None:
        self._stage = stage
        self._moved = True
