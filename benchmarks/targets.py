"""What was aimed at, and whether it was reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.results import Result


@dataclass(frozen=True, slots=True)
class Target:
    """A number to be reached.

    Attributes:
        what: it is.
        goal: to be reached.
        stretch: still better.
        result, fact: where the measured number is; None there is a failure.
        unit: behind the numbers.
        at_most: whether the smaller is the better.
    """

    what: str
    goal: float
    stretch: float
    result: str
    fact: str
    unit: str = ""
    at_most: bool = False

    def measured(self, results: Mapping[str, Result]) -> float | None:
        """The number that was measured; None if that failed."""
        value = results[self.result].facts.get(self.fact)
        return float(value) if isinstance(value, int | float) else None

    def verdict(self, value: float | None) -> str:
        """Say of a measured number whether it reaches the goal."""
        sign = -1 if self.at_most else 1
        if value is None or sign * value < sign * self.goal:
            return "**no**"
        return "yes, and the stretch" if sign * value >= sign * self.stretch else "yes"


_RATIO: Final = "CPU per event, danihodovic / ours"
_SUSTAINED: Final = "sustained on one core, nothing lost: Redis events/s, lists of"
_HIGHEST: Final = "highest rate sustained, events/s"

TARGETS: Final = (
    Target(f"Redis, lists of 3: {_RATIO}", 15, 20, "redis-3", "danihodovic / ours", "x"),
    Target(f"RabbitMQ, lists of 24: {_RATIO}", 8, 11, "rabbitmq-24", "danihodovic / ours", "x"),
    Target(f"RabbitMQ, lists of 3: {_RATIO}", 6, 9, "rabbitmq-3", "danihodovic / ours", "x"),
    Target(
        "Redis, lists of 3: CPU per event, ours / redis-py that decodes nothing",
        1.0,
        0.8,
        "redis-3",
        "ours / client library",
        "x",
        at_most=True,
    ),
    Target(
        "text exposition of 100,000 series, prometheus_client / ours",
        15,
        25,
        "scrapes-100000",
        "text, prometheus_client / ours",
        "x",
    ),
    Target(
        "1,000,000 tasks in flight: extra memory", 350, 250, "in-flight", "MB for them", " MB", at_most=True
    ),
    Target(f"{_SUSTAINED} 24", 50_000, 80_000, "sustained-24", _HIGHEST),
    Target(f"{_SUSTAINED} 3", 50_000, 80_000, "sustained-3", _HIGHEST),
    Target(
        "scrape of 10,000 series while 20,000 events/s come in: 99th percentile",
        100,
        50,
        "scraped",
        "99 % of scrapes within, ms",
        " ms",
        at_most=True,
    ),
)
