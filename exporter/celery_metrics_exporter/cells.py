"""The buckets of a histogram, classic and native ones, as cells: each is in one bucket of either kind.

A value is then counted once, after one search, for both kinds: that takes 0.1 us more than classic buckets alone, where
a second search and count would take 0.2 us (``benchmarks/observing.py``).

Native buckets are those of Prometheus (https://prometheus.io/docs/specs/native_histograms): a schema n has 2^n buckets
for each power of two, and bucket k ends at 2^(k / 2^n).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from functools import cached_property
from typing import Final

#: The resolutions that Prometheus takes.
COARSEST, FINEST = -4, 8
#: Values up to 2^-32 s are in the zero bucket; both powers are bounds of a bucket in each schema.
_ZERO_EXPONENT: Final = -32
#: What is longer than nine million years is in the last bucket. Timestamps end sooner (``events.types``).
_TOP_EXPONENT: Final = 48
ZERO_THRESHOLD: Final = math.ldexp(1, _ZERO_EXPONENT)


class Cells:
    """The cells that the bounds of both kinds make. Immutable; shared by all series of a family.

    Attributes:
        schema: the resolution of the native buckets; None without these.
        bounds: upper bounds of all cells but the last one.
        classic_bounds: of the classic buckets.
        classic: for each cell its classic bucket.
        native: for each cell the number of its native bucket.
        zero: the number of the zero bucket.
    """

    def __init__(self, classic: Sequence[float], schema: int | None) -> None:
        """``classic``: upper bounds in ascending order; the infinite one is added."""
        native = [] if schema is None else _native_bounds(schema)
        self.classic_bounds = classic
        self.schema = schema
        self.bounds = sorted({*classic, *native})
        ends = (*self.bounds, math.inf)
        self.classic = [bisect_left(classic, end) for end in ends]
        self.zero = 0 if schema is None else _scaled(_ZERO_EXPONENT, schema)
        self.native = [self.zero + bisect_left(native, end) for end in ends]

    def end(self, cell: int) -> float:
        """A value in a cell: its upper bound, or what comes next after the last bound."""
        return self.bounds[cell] if cell < len(self.bounds) else math.nextafter(self.bounds[-1], math.inf)

    @cached_property
    def coarser(self) -> Cells:
        """Cells with native buckets of double the width; the coarsest of them are five."""
        if self.schema is None or self.schema == COARSEST:
            raise ValueError(f"nothing is coarser than {self.schema}")
        return Cells(self.classic_bounds, self.schema - 1)


def _scaled(exponent: int, schema: int) -> int:
    """The number of the bucket that ends at 2^exponent."""
    return exponent << schema if schema >= 0 else exponent >> -schema


def _native_bounds(schema: int) -> list[float]:
    """The upper bounds from that of the zero bucket on."""
    numbers = range(_scaled(_ZERO_EXPONENT, schema), _scaled(_TOP_EXPONENT, schema) + 1)
    if schema < 0:
        return [math.ldexp(1, number << -schema) for number in numbers]
    parts = 1 << schema
    mantissas = [2 ** (part / parts) for part in range(parts)]
    return [math.ldexp(mantissas[number % parts], number >> schema) for number in numbers]
