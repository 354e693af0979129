"""Build PromQL from selectors: the few kinds of expressions that all panels use; ``histograms`` has more.

Windows are ``$__rate_interval`` for graphs, and ``$__range`` for one figure over the whole range. A ratio or a quantile
without observations is no sample at all, so that a panel says so instead of showing 0 or NaN. ``by`` names the labels
that are kept; all others are dropped, also cluster and namespace.
"""

from typing import Final

#: At least four scrapes, and at least the time of one pixel.
STEP: Final = "$__rate_interval"
#: The range of the time picker.
RANGE: Final = "$__range"
#: Lines that a graph shows at most.
LINES: Final = 10


def total(series: str, *by: str) -> str:
    """The sum of a gauge."""
    return f"sum {_by(by)}({series})"


def highest(series: str, *by: str) -> str:
    """The largest of each group."""
    return f"max {_by(by)}({series})"


def lowest(series: str, *by: str) -> str:
    """The smallest of each group."""
    return f"min {_by(by)}({series})"


def per_second(counter: str, *by: str, window: str = STEP) -> str:
    """The rate per second over a short window (or over another one)."""
    return f"sum {_by(by)}(rate({counter}[{window}]))"


def in_range(counter: str, *by: str) -> str:
    """The count over the whole range, rounded because ``increase`` extrapolates to the range's borders."""
    return f"round(sum {_by(by)}(increase({counter}[{RANGE}])))"


def counted_once(worker_up: str) -> str:
    """1 while no worker is reported twice, else 0: with two exporters of one broker every sum is doubled."""
    return f"min(count by (job, worker) ({worker_up}) == bool 1)"


def of_up(gauge: str, worker_up: str) -> str:
    """What workers that are up report: the last values of others stay for an hour, and are not true any more."""
    return f"{gauge} and on (job, instance, worker) {worker_up} == 1"


def ratio(part: str, whole: str) -> str:
    """``part`` of ``whole``; no sample where the whole is 0."""
    return f"{part} / ({whole} > 0)"


def success_ratio(succeeded: str, failed: str, *by: str, window: str = STEP) -> str:
    """The share of attempts that succeeded, of all that succeeded or failed; retries do not count."""
    good, bad = (per_second(counter, *by, window=window) for counter in (succeeded, failed))
    return ratio(good, f"({good} + {bad})")


def while_seen(expression: str, up: str) -> str:
    """Nothing while no exporter is reached: what was counted until then must not look like now."""
    return f"({expression}) and on () max({up}) == 1"


def unless_blind(expression: str, up: str) -> str:
    """What is above 0, and the rest only while every exporter is reached: an unseen one may have something to show."""
    return f"({expression}) > 0 or (({expression}) and on () min({up}) == 1)"


def age(timestamp: str, *by: str) -> str:
    """Seconds since the earliest of these times."""
    return f"time() - {lowest(timestamp, *by)}"


def since_latest(timestamp: str, *by: str) -> str:
    """Seconds since the latest of these times."""
    return f"time() - {highest(timestamp, *by)}"


def age_or_none(timestamp: str, number: str, up: str) -> str:
    """Seconds since the earliest of these times.

    -1 where there is none since the ``number`` is 0 and every exporter is reached, else not known.
    """
    return f"{age(timestamp)} or ((sum({number}) == 0) - 1 and on () min({up}) == 1)"


def top(number: int, expression: str) -> str:
    """The series with the highest values of one moment: for tables, not for graphs."""
    return f"topk({number}, {expression})"


def leading(expression: str, *by: str) -> str:
    """The same few lines over the whole range: those with the highest peaks."""
    return _chosen(
        expression, by, f"topk({LINES}, max_over_time(({expression})[{RANGE}:$__interval] @ end()))"
    )


def trailing(expression: str, *by: str) -> str:
    """The same few lines over the whole range: those with the lowest values."""
    return _chosen(
        expression, by, f"bottomk({LINES}, min_over_time(({expression})[{RANGE}:$__interval] @ end()))"
    )


def leading_rates(counter: str, *by: str) -> str:
    """Rates of the counters that rose most over the whole range, if they rose at all."""
    return rising(per_second(counter, *by), f"sum {_by(by)}(rate({counter}[{RANGE}] @ end()))", *by)


def rising(rates: str, over_all: str, *by: str) -> str:
    """The rates of those that rose most over the whole range, if they rose at all: by their rates ``over_all``."""
    return _chosen(rates, by, f"topk({LINES}, {over_all} > 0)")


def _chosen(expression: str, by: tuple[str, ...], lines: str) -> str:
    return f"({expression}) and on ({', '.join(by)}) {lines}"


def _by(labels: tuple[str, ...]) -> str:
    return f"by ({', '.join(labels)}) " if labels else ""
