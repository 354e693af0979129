"""Numbers of many measurements in one: pure arithmetic."""

import math
from collections.abc import Sequence
from statistics import median


def spread(values: Sequence[float], digits: int) -> tuple[str, str]:
    """The median, and the smallest with the largest."""
    if not values:
        return "failed", "failed"
    return f"{median(values):,.{digits}f}", f"{min(values):,.{digits}f} - {max(values):,.{digits}f}"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that at least this share of them (above 0, up to 1) does not exceed: nearest rank."""
    ordered = sorted(values)
    return ordered[math.ceil(share * len(ordered)) - 1]


def ratios(dividends: Sequence[float], divisors: Sequence[float]) -> list[float]:
    """How many times as large as the others these are, each with the one that was measured beside it."""
    return [dividend / divisor for dividend, divisor in zip(dividends, divisors, strict=True)]
