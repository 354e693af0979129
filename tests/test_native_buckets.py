"""The native buckets of a distribution are those of Prometheus, and as many as Go's client would have."""

from __future__ import annotations

import math
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celery_metrics_exporter.bucket_counts import Native
from celery_metrics_exporter.cells import COARSEST, FINEST, ZERO_THRESHOLD, Cells
from celery_metrics_exporter.distribution import MAX_NATIVE_BUCKETS, BatchDistribution, Distribution
from tests.test_distribution import BOUNDS, SCHEMAS

#: The bounds of schema 3 between 0.5 and 1 in Go's client (``prometheus/histogram.go``, ``nativeHistogramBounds``).
GO_BOUNDS = (
    0.5,
    0.5452538663326288,
    0.5946035575013605,
    0.6484197773255048,
    0.7071067811865475,
    0.7711054127039704,
    0.8408964152537144,
    0.9170040432046711,
)


def numbers(native: Native | None) -> dict[int, int]:
    """Number of values by bucket, as Prometheus reads spans and deltas; empty buckets too."""
    assert native is not None
    found: dict[int, int] = {}
    bucket = number = 0
    deltas = iter(native.deltas)
    for offset, length in native.spans:
        bucket += offset
        for _ in range(length):
            number += next(deltas)
            found[bucket] = number
            bucket += 1
    assert next(deltas, None) is None
    assert all(each >= 0 for each in found.values())
    return found


@cache
def cells(schema: int) -> Cells:
    """Cells with a few classic buckets too."""
    return Cells((1, 5), schema)


def bucket_of(value: float, schema: int) -> int:
    """The bucket of a value by its definition: the first k with value <= 2^(k / 2^schema), without logarithms."""
    mantissa, exponent = math.frexp(value)
    if schema >= 0:
        parts = 2**schema
        part = next(
            part for part in range(parts + 1) if Fraction(mantissa) ** parts <= Fraction(2) ** (part - parts)
        )
        return int((exponent - 1) * parts + part)
    return math.ceil(Fraction(exponent - (mantissa == 0.5), 2**-schema))


def one(value: float, schema: int) -> Native:
    """The native buckets of one value."""
    ours = Distribution(cells(schema))
    ours.observe(value)
    native = ours.snapshot().native()
    assert native is not None
    return native


@pytest.mark.parametrize("schema", range(COARSEST, FINEST + 1))
@pytest.mark.parametrize("exponent", [-32, -31, -17, -16, -1, 0, 1, 2, 15, 16, 33, 47, 48])
def test_powers_of_two(schema: int, exponent: int) -> None:
    """A power of two ends its bucket; what is a little more is in the next one. 2^-32 ends the zero bucket."""
    value = 2.0**exponent
    end = math.ceil(Fraction(exponent) * Fraction(2) ** schema)
    at, after = one(value, schema), one(math.nextafter(value, math.inf), schema)
    if exponent == -32:
        assert (at.zero_count, at.spans) == (1, [])
    else:
        assert numbers(at) == {end: 1}
    after_end = end + 1 if Fraction(end) / Fraction(2) ** schema == exponent else end
    assert numbers(after) == {after_end: 1}


@pytest.mark.parametrize(
    "value", [0.0, -0.0, 5e-324, 1e-310, 2.0**-1022, 1e-10, ZERO_THRESHOLD, -1.0, -1e300]
)
def test_values_in_the_zero_bucket(value: float) -> None:
    """Zero, denormals, less than a quarter of a nanosecond, and negative values, which no time is."""
    assert one(value, 3) == Native(3, 1, [], [])


@pytest.mark.parametrize("value", [2.0**48 * 1.01, 1e300, 1.7976931348623157e308, math.inf])
def test_values_beyond_all_times(value: float) -> None:
    """What is longer than millions of years is in the bucket after the last power."""
    assert numbers(one(value, 3)) == {48 * 8 + 1: 1}


def test_nan_breaks_nothing_but_the_sum() -> None:
    """NaN, which no event can bring, is counted once in both kinds."""
    ours = Distribution(cells(3))
    ours.observe(math.nan)
    ours.observe(2.0)
    snapshot = ours.snapshot()
    assert sum(snapshot.classic()) == 2
    native = snapshot.native()
    assert native is not None
    assert native.zero_count + sum(numbers(native).values()) == 2
    assert math.isnan(snapshot.total)


@pytest.mark.parametrize(("part", "bound"), list(enumerate(GO_BOUNDS)))
def test_bounds_are_those_of_go(part: int, bound: float) -> None:
    """The bounds within a power of two are those that Go's client has in a table."""
    for exponent in (-3, 0, 11):
        expected = math.ldexp(bound, exponent)
        assert min(Cells((), 3).bounds, key=lambda each: abs(each - expected)) == pytest.approx(
            expected, rel=3e-16
        )
        assert numbers(one(expected * (1 - 1e-15), 3)) == {(exponent - 1) * 8 + part: 1}


@settings(max_examples=200, deadline=None)
@given(st.floats(ZERO_THRESHOLD * 1.001, 2.0**48), st.integers(COARSEST, 5))
def test_bucket_of_any_value(value: float, schema: int) -> None:
    """The bucket is the one of the definition, but for values that are a bound but for rounding."""
    near = {bucket_of(value * factor, schema) for factor in (1 - 4e-16, 1, 1 + 4e-16)}
    assert set(numbers(one(value, schema))) <= near


@settings(deadline=None)
@given(BOUNDS, st.integers(COARSEST, FINEST), st.lists(st.floats(0, 1e10), max_size=300))
def test_both_kinds_count_the_same_values(bounds: list[float], schema: int, values: list[float]) -> None:
    """Whatever came: both kinds have all values, and each value is in the native bucket of its own."""
    ours = Distribution(Cells(bounds, schema))
    for value in values:
        ours.observe(value)
    snapshot = ours.snapshot()
    native = snapshot.native()
    assert native is not None
    found = {bucket: number for bucket, number in numbers(native).items() if number}
    assert len(found) <= MAX_NATIVE_BUCKETS
    assert sum(snapshot.classic()) == len(values) == native.zero_count + sum(found.values())
    assert native.zero_count == sum(value <= ZERO_THRESHOLD for value in values)
    expected = Counter(
        bucket for value in values if value > ZERO_THRESHOLD for bucket in numbers(one(value, native.schema))
    )
    assert found == expected


@given(st.integers(0, FINEST), st.integers(200, 1000))
def test_resolution_is_halved(schema: int, number: int) -> None:
    """More than 160 buckets are never shown: the resolution is halved as often as needed, and not more often."""
    ours = Distribution(cells(schema))
    values = [1.0 * 1.02**step for step in range(number)]
    for value in values:
        ours.observe(value)
    native = ours.snapshot().native()
    assert native is not None
    assert len(numbers(native)) <= MAX_NATIVE_BUCKETS
    if native.schema < schema:
        finer = {bucket for value in values for bucket in numbers(one(value, native.schema + 1))}
        assert len(finer) > MAX_NATIVE_BUCKETS
    assert sum(numbers(native).values()) == number == sum(ours.counts())
    assert len(ours._counts) <= MAX_NATIVE_BUCKETS + 3  # memory is bounded too


def test_distributions_of_different_resolution_are_merged() -> None:
    """Merging gives the coarser resolution, whichever of both has it."""
    for order in (1, -1):
        fine, coarse = (Distribution(cells(5)) for _ in range(2))
        for step in range(400):
            coarse.observe(1.05**step)
        fine.observe(3.0)
        first, second = (fine, coarse)[::order]
        first.merge(second)
        native = first.snapshot().native()
        assert native is not None
        assert native.schema < 5
        assert sum(numbers(native).values()) == sum(first.counts()) == 401
        assert numbers(native)[next(iter(numbers(one(3.0, native.schema))))] >= 1


def test_small_gaps_are_no_new_span() -> None:
    """Up to two empty buckets are part of a span, as in Go's client; more begin a new one."""
    ours = Distribution(Cells((), 0))
    for exponent in (1, 2, 5, 9, 9):
        ours.observe(2.0**exponent)
    assert ours.snapshot().native() == Native(0, 0, [(1, 5), (3, 1)], [1, 0, -1, 0, 1, 1])


def test_without_native_buckets() -> None:
    """Then there are none, and no more cells than classic buckets."""
    cells = Cells((1, 2, 3), None)
    ours = Distribution(cells)
    for value in (0.5, 1.5, 99.0):
        ours.observe(value)
    assert cells.bounds == [1, 2, 3]
    assert ours.snapshot().native() is None
    assert ours.counts() == (1, 1, 0, 1)


@settings(deadline=None)
@given(st.lists(st.lists(st.floats(0, 1e10), max_size=250), max_size=6), st.integers(COARSEST, FINEST))
def test_batches_are_counted_like_single_values(batches: list[list[float]], schema: int) -> None:
    """Values that came in batches are there at once, whether they were sorted into cells already or not."""
    ours, single = BatchDistribution(cells(schema)), Distribution(cells(schema))
    for values in batches:
        ours.observe_all(list(values))
        for value in values:
            single.observe(value)
        assert ours.counts() == single.counts()
        assert ours.snapshot().native() == single.snapshot().native()
        assert ours.total == pytest.approx(single.total)


def test_batches_while_others_read() -> None:
    """No reader ever sees a number fall."""
    ours, done = BatchDistribution(cells(5)), threading.Event()

    def read() -> list[int]:
        found = []
        while not done.is_set():
            snapshot = ours.snapshot()
            native = snapshot.native()
            assert native is not None
            found.append(sum(snapshot.classic()))
            assert found[-1] == native.zero_count + sum(numbers(native).values())
        return found

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        try:
            for number in range(3000):
                ours.observe_all([1.05 ** (number % 400 + each) for each in range(7)])
        finally:
            done.set()
    for reader in readers:
        assert reader.result() == sorted(reader.result())
    assert sum(ours.counts()) == 21_000


VALUES = st.lists(st.floats(0, 1e6), max_size=60)


@given(BOUNDS, st.sampled_from([Distribution, BatchDistribution]), VALUES, VALUES)
def test_what_was_counted_before_somebody_wants_native_buckets(
    bounds: list[float], kind: type[Distribution], before: list[float], after: list[float]
) -> None:
    """It is at the bound of its classic bucket; what comes then is exact, and classic buckets always are."""
    ours, classic, alone = (
        kind(Cells(bounds, None)),
        Distribution(Cells(bounds, None)),
        Distribution(Cells(bounds, 0)),
    )
    observe(ours, before)
    ours.recount(Cells(bounds, 0))
    refined = ours.snapshot()
    observe(ours, after)
    observe(alone, after)
    observe(classic, [*before, *after])
    found, exact = ours.snapshot(), alone.snapshot()
    assert found.classic() == classic.counts()
    assert found.total == pytest.approx(classic.total)
    grown = Counter(counted(found.native()))
    grown.subtract(counted(refined.native()))
    assert +grown == counted(exact.native())
    at_bounds = Distribution(Cells(bounds, 0))
    top = math.nextafter(bounds[-1], math.inf)
    observe(at_bounds, [next((bound for bound in bounds if value <= bound), top) for value in before])
    assert refined.native() == at_bounds.snapshot().native()


@given(BOUNDS, SCHEMAS, VALUES)
def test_native_buckets_that_nobody_wants(
    bounds: list[float], schema: int | None, values: list[float]
) -> None:
    """Without them classic buckets are what they were."""
    ours, classic = Distribution(Cells(bounds, schema)), Distribution(Cells(bounds, None))
    observe(ours, values)
    observe(classic, values)
    ours.recount(Cells(bounds, None))
    assert ours.counts() == classic.counts()
    assert ours.snapshot().native() is None


@given(BOUNDS, VALUES, VALUES)
def test_an_attempt_that_waited_meanwhile(bounds: list[float], own: list[float], waited: list[float]) -> None:
    """Its values join those of a series that has native buckets since; nothing is lost, nor made coarser."""
    series, attempt = Distribution(Cells(bounds, None)), Distribution(Cells(bounds, None))
    observe(series, own)
    observe(attempt, waited)
    series.recount(Cells(bounds, 3))
    series.merge(attempt)
    both = Distribution(Cells(bounds, None))
    observe(both, [*own, *waited])
    found = series.snapshot()
    assert found.classic() == both.counts()
    native = found.native()
    assert native is not None
    assert native.schema == 3
    assert sum(counted(native).values()) == len(own) + len(waited)


def observe(distribution: Distribution, values: list[float]) -> None:
    """Count these values."""
    if isinstance(distribution, BatchDistribution):
        distribution.observe_all(list(values))
    else:
        for value in values:
            distribution.observe(value)


def counted(native: Native | None) -> Counter[int]:
    """Number of values by bucket, with that of the zero bucket under a number of no bucket; empty ones are left out."""
    assert native is not None
    return +Counter({**numbers(native), -(10**6): native.zero_count})
