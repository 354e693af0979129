"""The readings of a soak, and the verdict on them: does anything grow, and was every event counted?"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

MEGABYTE: Final = 1e6
#: Memory is flat when it grows by less than so many megabytes a minute ...
FLAT_MB_A_MINUTE: Final = 0.5
#: ... from one to the next of so many plateaus, each longer than the time between two cuts of the connections.
PLATEAUS: Final = 6
STOP_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Everything at one moment.

    Attributes:
        at: seconds since the start.
        sent, delivered: events published, and those of them for which there was a subscriber.
        counted, dropped: by the exporter's metrics.
        rss: bytes.
        threads, files: of the exporter's process.
        leftovers: keys or queues of the exporter's on the broker.
        cpu: seconds of the exporter's process since its start.
        lag: seconds between an event's timestamp and its receipt, summed over all events.
        series: samples on the metrics page.
        scrape: seconds that reading it took.
        in_flight, evicted, workers, reconnects: by the exporter's metrics.
        names, replies: numbers of workers so far, and of their replies to remote control commands.
    """

    at: float
    sent: int
    delivered: int
    counted: int
    dropped: int
    rss: int
    threads: int
    files: int
    leftovers: int
    cpu: float
    lag: float
    series: int
    scrape: float
    in_flight: int
    evicted: int
    workers: int
    reconnects: int
    names: int
    replies: int

    def row(self, before: Reading | None) -> list[float]:
        """The figures of :data:`COLUMNS`; CPU and lag are those since the reading before."""
        events = max(1, self.counted - (before.counted if before else 0))
        return [
            self.at,
            self.counted,
            self.delivered,
            self.sent - self.delivered,
            self.rss / MEGABYTE,
            self.threads,
            self.files,
            self.leftovers,
            1e6 * (self.cpu - (before.cpu if before else 0.0)) / events,
            1e3 * (self.lag - (before.lag if before else 0.0)) / events,
            self.series,
            1e3 * self.scrape,
            self.in_flight,
            self.evicted,
            self.workers,
            self.names,
            self.replies,
            self.reconnects,
        ]


#: What :meth:`Reading.row` says.
COLUMNS: Final = {
    "s": ",.0f",
    "events counted": ",",
    "of those delivered": ",",
    "in gaps": ",",
    "RSS MB": ".1f",
    "threads": ",",
    "files": ",",
    "keys": ",",
    "CPU µs/event": ".1f",
    "lag ms": ",.0f",
    "series": ",",
    "scrape ms": ",.0f",
    "tasks": ",",
    "evicted": ",",
    "workers up": ",",
    "seen": ",",
    "replies": ",",
    "reconnects": ",",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that had to hold, and how it was."""

    good: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdown:
    """How the exporter ended.

    Attributes:
        code: of its exit.
        seconds: that it took.
        leftovers: that will stay on the broker for ever.
        tracebacks: that it logged.
    """

    code: int | None
    seconds: float
    leftovers: Sequence[str]
    tracebacks: int


def megabytes_a_minute(readings: Sequence[Reading]) -> float:
    """How fast the memory grows most of the time after the warm-up, which is the first quarter.

    It is the median of the steps between the lowest readings of one plateau and of the next: pages lift the memory for
    a moment, and a table that is made anew lifts it once, but a leak lifts every plateau.
    """
    warm = readings[len(readings) // 4 :]
    size = len(warm) // PLATEAUS
    if not size:
        return 0.0
    floors = [
        min(each.rss for each in warm[start : start + size]) for start in range(0, PLATEAUS * size, size)
    ]
    minutes = (warm[-1].at - warm[0].at) / 60 / PLATEAUS
    return median(after - before for before, after in pairwise(floors)) / MEGABYTE / minutes


def grows(figures: Sequence[int]) -> bool:
    """Whether even the lowest figure of the last quarter is above the highest of the second one.

    What comes and goes, such as the files of a connection during a reconnect, does not count as growth; one file or
    thread that leaks every two minutes of ten does.
    """
    quarter = max(1, len(figures) // 4)
    return min(figures[-quarter:]) > max(figures[quarter : 2 * quarter] or figures[:1])


def judge(readings: Sequence[Reading], shutdown: Shutdown) -> list[Finding]:
    """Say what held and what did not."""
    last = readings[-1]
    warm = [reading.rss / MEGABYTE for reading in readings[len(readings) // 4 :]]
    slope = megabytes_a_minute(readings)
    findings = [
        Finding(
            slope < FLAT_MB_A_MINUTE,
            f"memory: {slope:+.2f} MB a minute from plateau to plateau ({min(warm):.1f} to {max(warm):.1f} MB after "
            f"warm-up, {warm[-1]:.1f} MB at last)",
        )
    ]
    for name, figures in (
        ("threads", [reading.threads for reading in readings]),
        ("file descriptors", [reading.files for reading in readings]),
        ("keys or queues on the broker", [reading.leftovers for reading in readings]),
    ):
        later = figures[len(figures) // 4 :]
        findings.append(
            Finding(
                not grows(figures), f"{name}: {min(later)} to {max(later)} after warm-up, {later[-1]} at last"
            )
        )
    findings += [
        Finding(
            last.counted == last.delivered and not last.dropped,
            f"events: {last.counted:,} counted and {last.dropped:,} dropped of {last.delivered:,} while subscribed "
            f"({last.sent - last.delivered:,} more fell into {last.reconnects} gaps)",
        ),
        Finding(
            shutdown.code == 0 and shutdown.seconds < STOP_SECONDS,
            f"stop: exit code {shutdown.code} after {shutdown.seconds:.1f} s",
        ),
        Finding(
            not shutdown.leftovers,
            f"left on the broker for ever: {', '.join(shutdown.leftovers) or 'nothing'}",
        ),
        Finding(not shutdown.tracebacks, f"tracebacks in the log: {shutdown.tracebacks}"),
    ]
    return findings
