"""What was aimed at, and whether it was reached.

Owns: the numbers aimed at, and where the measured ones are found. Must not know: how they were measured.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from benchmarks.events.consumers import DANIHODOVIC, OURS, RAW
from benchmarks.markdown import table

#: Results by part.
Results = Mapping[str, Any]

_MILLI = 1e3


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One number.

    Attributes:
        what: it is.
        goal: to be reached.
        stretch: still better.
        value: the measured one, of the result of ``part``; None if there is none that counts.
        unit: behind the numbers.
        at_most: whether the smaller is the better.
    """

    what: str
    goal: float
    stretch: float
    part: str
    value: Callable[[Any], float | None]
    unit: str = ""
    at_most: bool = False

    def verdict(self, value: float) -> str:
        """What to say of a measured value."""
        sign = -1 if self.at_most else 1
        if sign * value >= sign * self.stretch:
            return "yes, and the stretch"
        return "yes" if sign * value >= sign * self.goal else "**no**"

    def row(self, results: Results) -> tuple[str, ...]:
        """Its line in a table."""
        bound = "at most " if self.at_most else ""
        head = (self.what, f"{bound}{self.goal:,g}{self.unit}", f"{bound}{self.stretch:,g}{self.unit}")
        result = results.get(self.part)
        if result is None:
            return (*head, "not measured", "")
        value = self.value(result)
        if value is None:
            return (*head, "failed", "**no**")
        return (*head, f"{_rounded(value)}{self.unit}", self.verdict(value))


def _rounded(value: float) -> str:
    """Three digits or more."""
    return f"{value:,.2f}" if value < 10 else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"  # noqa: PLR2004


def _ratio(one: str, other: str) -> Callable[[Any], float | None]:
    def value(comparison: Any) -> float | None:
        if not {one, other} <= comparison.runs.keys():
            return None
        ratios = comparison.ratios(one, other)
        return median(ratios) if ratios else None

    return value


def _against_danihodovic(part: str, what: str, goal: float, stretch: float) -> Target:
    return Target(
        what=f"{what}: CPU per event, danihodovic / ours",
        goal=goal,
        stretch=stretch,
        part=part,
        value=_ratio(DANIHODOVIC, OURS),
        unit="x",
    )


def _sustained(list_size: int) -> Target:
    return Target(
        what=f"sustained on one core, nothing lost: Redis events/s, lists of {list_size}",
        goal=50_000,
        stretch=80_000,
        part=f"sustained-{list_size}",
        value=lambda result: float(result.highest),
    )


TARGETS: Final = (
    _against_danihodovic("redis-3", "Redis, lists of 3", 15, 20),
    _against_danihodovic("rabbitmq-24", "RabbitMQ, lists of 24", 8, 11),
    _against_danihodovic("rabbitmq-3", "RabbitMQ, lists of 3", 6, 9),
    Target(
        what="Redis, lists of 3: CPU per event, ours / redis-py that decodes nothing",
        goal=1.0,
        stretch=0.8,
        part="redis-3",
        value=_ratio(OURS, RAW),
        unit="x",
        at_most=True,
    ),
    Target(
        what="text exposition of 100,000 series, prometheus_client / ours",
        goal=15,
        stretch=25,
        part="scrapes-100000",
        value=lambda size: median(size.ratios("text")),
        unit="x",
    ),
    Target(
        what="1,000,000 tasks in flight: extra memory",
        goal=350,
        stretch=250,
        part="in-flight",
        value=lambda memory: memory.megabytes,
        unit=" MB",
        at_most=True,
    ),
    _sustained(24),
    _sustained(3),
    Target(
        what="scrape of 10,000 series while 20,000 events/s come in: 99th percentile",
        goal=100,
        stretch=50,
        part="scraped",
        value=lambda scraped: None if scraped.missing else scraped.percentile(0.99) * _MILLI,
        unit=" ms",
        at_most=True,
    ),
)


def summary(results: Results, targets: Iterable[Target] = TARGETS) -> str:
    """The table of all of them."""
    head = ("what", "aimed at", "stretch", "measured", "reached")
    return table(head, [target.row(results) for target in targets])
