"""Our own histogram is the library's, in less time."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, Metric, disable_created_metrics, generate_latest

from exporter.collectors.family import Distribution, Family

LAG = Family("celery_test_lag_seconds", "histogram", "A lag.")


class Scrape:
    """A collector of one family."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> list[Metric]:
        """The family."""
        return [self._family]


BOUNDS = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=8, unique=True).map(sorted)


@given(BOUNDS, st.data())
def test_a_distribution_is_served_like_a_histogram(bounds: list[float], data: st.DataObject) -> None:
    """Whatever is observed, on the bounds too, gives the same bytes as prometheus_client's Histogram."""
    values = data.draw(st.lists(st.floats(0, 1e7) | st.sampled_from(bounds)))
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's
    theirs = Histogram(LAG.name, LAG.help, buckets=bounds, registry=None)
    ours, family = Distribution(bounds), LAG.empty_histogram()
    for value in values:
        theirs.observe(value)
        ours.observe(value)
    ours.add_to(family, ())
    registry = CollectorRegistry()
    registry.register(theirs)
    expected = generate_latest(registry)
    registry.unregister(theirs)
    registry.register(Scrape(family))
    assert generate_latest(registry) == expected
