"""A subscription of doctor's own: tried out first, and on Redis kept to measure how much comes."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Final

from celery_metrics_exporter.config.config import Config
from celery_metrics_exporter.connection.celery_app import Broker
from celery_metrics_exporter.receivers import Subscription
from celery_metrics_exporter.receivers.choosing import subscription_for

#: What one message takes on its way from Redis besides its body in base64, in bytes: for an event of Celery 5.7 that is
#: 320 to 330 of kombu's envelope and properties, 40 of channel and pattern, 35 of the protocol.
_ENVELOPE_BYTES: Final = 400
_LEAVING_SECONDS: Final = 3.0


class Traffic:
    """A sink that keeps nothing but the size of what comes.

    Attributes:
        stream_bytes: what Redis had to send for it so far, about.
    """

    def __init__(self, broker: Broker, config: Config) -> None:
        """Subscribes nothing yet."""
        self.stream_bytes = 0
        self._since = time.monotonic()
        self._subscription: Subscription = subscription_for(
            broker, self, routing_key=config.event_queue.routing_key, universal=config.receiver == "kombu"
        )()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._receive, name="traffic", daemon=True)

    def feed(self, body: bytes, /) -> None:
        """Measure one message."""
        self.feed_all([body])

    def feed_all(self, bodies: list[bytes], /) -> None:
        """Measure several."""
        self.stream_bytes += sum(len(body) * 4 // 3 + _ENVELOPE_BYTES for body in bodies)

    def drop(self, _reason: str, _detail: str, /) -> None:
        """Take no note of what cannot be read: the exporter does."""

    def rate(self) -> float:
        """Bytes a second since it was opened, about."""
        return self.stream_bytes / max(time.monotonic() - self._since, 0.1)

    def open(self, *, keep: bool) -> None:
        """Subscribe, and measure from now on if it is to be kept. Raises what hinders it."""
        try:
            self._subscription.open()
        except BaseException:
            with contextlib.suppress(Exception):  # what hindered us is the news
                self._subscription.close(clean=False)
            raise
        if keep:
            self._since = time.monotonic()
            self._thread.start()
        else:
            self._subscription.close(clean=True)

    def close(self) -> None:
        """Leave."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(_LEAVING_SECONDS)

    def _receive(self) -> None:
        with contextlib.suppress(Exception):  # that a connection is lost is the exporter's news
            while not self._over.is_set():
                self._subscription.poll()
        with contextlib.suppress(Exception):
            self._subscription.close(clean=self._over.is_set())
