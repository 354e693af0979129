"""What becomes of timestamps that cannot be true.

An event may be late (a durable queue keeps it while the exporter is away), and clocks of workers are hours off where a
time zone was mistaken. A timestamp within a day ahead of our clock and thirty days behind it is the sender's and stays:
times of one sender belong together, and a repeated event is known by it. One beyond is no time at which anything
happened, and would stand in a gauge for years. The event did happen, so it counts at its receipt, and a line of log
names the sender.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

if TYPE_CHECKING:
    from celery_metrics_exporter.clock import Moment
    from celery_metrics_exporter.events.types import Event
    from celery_metrics_exporter.logs import ThrottledLog

#: How far a timestamp may be ahead of our clock ...
MAX_AHEAD_SECONDS: Final = 24 * 3600.0
#: ... and behind it.
MAX_BEHIND_SECONDS: Final = 30 * 24 * 3600.0
#: Between two events that come together, so that they stay apart and in order.
_APART_SECONDS: Final = 1e-6


class Plausibility:
    """Judges the timestamps of events that came together.

    Attributes:
        earliest: timestamps above this ...
        latest: ... and below this are the sender's.
    """

    __slots__ = ("_apart", "_log", "_now", "earliest", "latest")

    def __init__(self, now: Moment, log: ThrottledLog) -> None:
        self._now = now
        self._log = log
        self.begin()

    def begin(self) -> None:
        """Judge what came just now."""
        now = self._now.wall
        self.earliest, self.latest = now - MAX_BEHIND_SECONDS, now + MAX_AHEAD_SECONDS
        self._apart = 0.0

    def retime(self, event: Event) -> Event:
        """The same event at the time of its receipt."""
        self._apart += _APART_SECONDS
        self._log.warning(
            "implausible timestamp, the event is counted at its receipt",
            sender=event.hostname,
            timestamp=event.timestamp,
        )
        return replace(event, timestamp=self._now.wall + self._apart)
