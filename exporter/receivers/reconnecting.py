"""The life of a receiver: subscribe, receive, and start over when the connection is lost.

Owns: the reconnect loop with its pauses, the news for the link, the log lines of a loss. Must not know: transports,
events, metrics.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from typing import TYPE_CHECKING, Final

from exporter.logs import fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.receivers import Link, Subscription

log = logging.getLogger(__name__)

#: First and longest pause between two tries to connect, before jitter.
BACKOFF_SECONDS: Final = (0.5, 30.0)


class Receiver:
    """Keeps a subscription to the event stream, one after another if need be, until it is told to stop."""

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
        self._last_error: str | None = None

    def stop(self) -> None:
        """Let :meth:`run` return soon. May be called from any thread and from a signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Receive until told to stop; reconnects for ever."""
        first, longest = BACKOFF_SECONDS
        pause = first
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self._receive(self._subscribe())
            except Exception as error:  # noqa: BLE001 - the reconnect loop: nothing ends it but a stop
                self._lost(error)
            if time.monotonic() - began > longest:
                pause = first
            self._stop.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            pause = min(2 * pause, longest)

    def _receive(self, subscription: Subscription) -> None:
        """Return after a stop; raise whatever ends the connection."""
        poll, stopped = subscription.poll, self._stop.is_set
        try:
            subscription.open()
            self._link.up()
            self._last_error = None
            log.info("receiving events", extra=fields(broker=self._name))
            while not stopped():
                poll()
            subscription.close(clean=True)
        except BaseException:
            with contextlib.suppress(Exception):  # what made us leave is the news
                subscription.close(clean=False)
            raise
        self._link.down("stopped")

    def _lost(self, error: Exception) -> None:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        self._link.down(text)
        if text == self._last_error:
            log.debug("still no events, trying again", exc_info=error)
            return
        self._last_error = text
        log.warning("no events, trying again", extra=fields(broker=self._name, error=text))
