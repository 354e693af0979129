"""Tells implausible timestamps from plausible ones, and replaces them by the receipt time.

Events may be late (a durable queue keeps them while the exporter is down), and a wrong time zone puts a sender's clock
hours off. So a timestamp up to a day ahead of our clock and up to thirty days behind it stays as it is: intervals
between times of one sender are right, and repeated events are recognised by their timestamp. A timestamp beyond that is
no time at which a task ran, and would stay in a gauge for years. Its event still counts, at receipt time, and the log
names the sender.
"""

from __future__ import annotations

import logging
from typing import Final

from msgspec.structs import replace

from celery_metrics_exporter.clock import BatchClock
from celery_metrics_exporter.events.types import Event
from celery_metrics_exporter.logs import ThrottledLog

#: How far a timestamp may be ahead of our clock ...
MAX_AHEAD_SECONDS: Final = 24 * 3600.0
#: ... and behind it.
MAX_BEHIND_SECONDS: Final = 30 * 24 * 3600.0
#: Added from one replaced timestamp of a batch to the next, so that they stay distinct and in order.
_APART_SECONDS: Final = 1e-6


class Plausibility:
    """Which timestamps are plausible for the current batch.

    Attributes:
        earliest: plausible timestamps are later than this ...
        latest: ... and earlier than this.
    """

    __slots__ = ("_apart", "_log", "_now", "earliest", "latest")

    def __init__(self, now: BatchClock, log: ThrottledLog) -> None:
        self._now = now
        self._log = log
        self.begin()

    def begin(self) -> None:
        """Start a new batch, received now."""
        now = self._now.wall
        self.earliest, self.latest = now - MAX_BEHIND_SECONDS, now + MAX_AHEAD_SECONDS
        self._apart = 0.0

    def retime(self, event: Event) -> Event:
        """Return the event with its receipt time, and log its sender."""
        self._apart += _APART_SECONDS
        self._log.log(
            logging.WARNING,
            "event with an implausible timestamp, counted at receipt time",
            sender=event.hostname,
            timestamp=event.timestamp,
        )
        return replace(event, timestamp=self._now.wall + self._apart)
