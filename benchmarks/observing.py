"""``python -m benchmarks.observing``: what a value costs in the forms in which both kinds of buckets could count it.

The forms see the same values, by turns, in one process; each figure is the lowest of all rounds.
"""

import math
import random
import sys
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Mapping
from itertools import cycle
from typing import Final, Protocol

from celery_metrics_exporter.cells import Cells
from celery_metrics_exporter.config.config import NATIVE_SCHEMA, RUNTIME_BUCKETS
from celery_metrics_exporter.distribution import Distribution

_VALUES: Final = 50_000
_SERIES: Final = 300
_ROUNDS: Final = 9
#: Seconds of a task: log-normal around 0.2.
_MEDIAN_LOG, _SIGMA = -1.5, 1.0
_BUCKETS_PER_POWER: Final = 1 << NATIVE_SCHEMA
_MANTISSAS: Final = [0.5 * 2 ** (part / _BUCKETS_PER_POWER) for part in range(_BUCKETS_PER_POWER)]


class Form(Protocol):
    """One series."""

    def observe(self, value: float, /) -> None:
        """Count a value."""


class Classic:
    """Classic buckets alone, in a list."""

    def __init__(self) -> None:
        self._bounds = list(RUNTIME_BUCKETS)
        self._counts = [0] * (len(self._bounds) + 1)
        self._native: defaultdict[int, int] = defaultdict(int)
        self.total = 0.0

    def observe(self, value: float, /) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value


class Searched(Classic):
    """Beside them native buckets, found as Go's client does: by the mantissa."""

    def observe(self, value: float, /) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value
        mantissa, exponent = math.frexp(value)
        self._native[bisect_left(_MANTISSAS, mantissa) + (exponent - 1) * _BUCKETS_PER_POWER] += 1


class Logarithm(Classic):
    """Beside them native buckets, found by a logarithm, which is wrong at some bounds."""

    def observe(self, value: float, /) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value
        if value > 0:
            self._native[math.ceil(math.log2(value) * _BUCKETS_PER_POWER)] += 1


class Dense(Classic):
    """Cells, in a list of all of them: 5 KB a series."""

    def __init__(self) -> None:
        super().__init__()
        self._bounds = Cells(RUNTIME_BUCKETS, NATIVE_SCHEMA).bounds
        self._counts = [0] * (len(self._bounds) + 1)


_CELLS: Final = Cells(RUNTIME_BUCKETS, NATIVE_SCHEMA)
_FORMS: Final[Mapping[str, Callable[[], Form]]] = {
    "classic buckets alone, a list": Classic,
    "and native ones by the mantissa": Searched,
    "and native ones by a logarithm": Logarithm,
    "cells, a list": Dense,
    "cells, a dict (Distribution)": lambda: Distribution(_CELLS),
}


def nanoseconds(make: Callable[[], Form], values: list[float]) -> float:
    """CPU time of a value, in series that have seen these values before."""
    series = [make() for _ in range(_SERIES)]
    pairs = list(zip(cycle(series), values, strict=False))
    for each, value in pairs:
        each.observe(value)
    began = time.thread_time()
    for each, value in pairs:
        each.observe(value)
    return (time.thread_time() - began) / len(values) * 1e9


def main() -> None:
    """Print the cost of each form."""
    chance = random.Random(1)  # noqa: S311 - a workload
    values = [chance.lognormvariate(_MEDIAN_LOG, _SIGMA) for _ in range(_VALUES)]
    costs: dict[str, float] = {}
    for number in range(_ROUNDS):
        for name, make in _FORMS.items():
            costs[name] = min(costs.get(name, math.inf), nanoseconds(make, values))
        print(f"round {number + 1} of {_ROUNDS}", file=sys.stderr)
    least = min(costs.values())
    for name, cost in costs.items():
        print(f"{name:34} {cost:5.0f} ns, {cost - least:+5.0f}")


if __name__ == "__main__":
    main()
