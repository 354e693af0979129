"""Our own histogram is the library's, in less time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, Metric, disable_created_metrics, generate_latest

from celery_metrics_exporter.cells import COARSEST, FINEST, Cells
from celery_metrics_exporter.collectors.family import Family
from celery_metrics_exporter.distribution import BatchDistribution, Distribution

LAG = Family("celery_test_lag_seconds", "histogram", "A lag.")
SCHEMAS = st.integers(COARSEST, FINEST) | st.none()


class Scrape:
    """A collector of one family."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> list[Metric]:
        """The family."""
        return [self._family]


BOUNDS = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=8, unique=True).map(sorted)


@given(BOUNDS, SCHEMAS, st.data())
def test_a_distribution_is_served_like_a_histogram(
    bounds: list[float], schema: int | None, data: st.DataObject
) -> None:
    """Whatever is observed, on the bounds too, gives the same bytes as prometheus_client's Histogram."""
    values = data.draw(st.lists(st.floats(0, 1e7) | st.sampled_from(bounds)))
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's
    theirs = Histogram(LAG.name, LAG.help, buckets=bounds, registry=None)
    ours, family = Distribution(Cells(bounds, schema)), LAG.empty_histogram(bounds)
    for value in values:
        theirs.observe(value)
        ours.observe(value)
    family.add((), ours)
    registry = CollectorRegistry()
    registry.register(theirs)
    expected = generate_latest(registry)
    registry.unregister(theirs)
    registry.register(Scrape(family))
    assert generate_latest(registry) == expected


def test_a_family_is_of_its_moment() -> None:
    """What is observed after the family was made does not show in it."""
    ours, family = Distribution(Cells((1, 2), 3)), LAG.empty_histogram((1, 2))
    ours.observe(1.5)
    family.add((), ours)
    ours.observe(1.5)
    assert [sample.value for sample in family.samples] == [0, 1, 1, 1, 1.5]


@given(BOUNDS, SCHEMAS, st.lists(st.floats(0, 1e7)), st.lists(st.floats(0, 1e7)))
def test_merged_distributions(
    bounds: list[float], schema: int | None, here: list[float], there: list[float]
) -> None:
    """Merging gives the distribution of all values."""
    cells = Cells(bounds, schema)
    ours, other, both = BatchDistribution(cells), BatchDistribution(cells), Distribution(cells)
    ours.observe_all(list(here))
    other.observe_all(list(there))
    ours.merge(other)
    for value in (*here, *there):
        both.observe(value)
    assert ours.counts() == both.counts()
    assert ours.snapshot().native() == both.snapshot().native()
    assert ours.total == pytest.approx(both.total)
