"""Our encoders write what prometheus_client's write, byte for byte, of whatever registry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Enum,
    Gauge,
    Histogram,
    Info,
    Metric,
    Summary,
    disable_created_metrics,
    enable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeHistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.samples import BucketSpan, Exemplar, NativeHistogram, Sample, Timestamp
from prometheus_client.utils import floatToGoString

from celery_metrics_exporter.exemplar import Exemplar as OwnExemplar
from celery_metrics_exporter.exposition.rows import HistogramRows, Labels, ValueRows
from celery_metrics_exporter.exposition.text import Encoder, number

SCHEMES = (openmetrics.UNDERSCORES, openmetrics.ALLOWUTF8, openmetrics.DOTS, openmetrics.VALUES)
NUMBERS: st.SearchStrategy[float] = (
    st.floats()
    | st.integers(-(10**300), 10**300)
    | st.integers(-(10**7), 10**7)
    | st.integers(2**53 - 2, 2**53 + 2)
    | st.floats(1e5, 1e17)
    | st.sampled_from([0, -0.0, 1e6, 999_999, 1_000_000, 10_000_000, 1e15, 1e16, 1e-5, True])
)
# What label values and HELP texts may hold: all that is escaped or means something in a template, and any script.
TEXTS = st.text(st.sampled_from('"\\\n%{}\0\ra,= é€😀') | st.characters(codec="utf-8"), max_size=6)
PLAIN_NAMES = st.sampled_from(["a", "b_c", "lb", "lf", "queue", "task", "z9", "_x"])
NAMES = PLAIN_NAMES | st.sampled_from(["a:b", ":c", "a.b", "ü", "A", "0a", "le"])


class Fixed:
    """A collector of families that are made already."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self.families = families

    def collect(self) -> Sequence[Metric]:
        """The families."""
        return self.families


def assert_same(registry: Any, encoder: Encoder, schemes: Sequence[str] = SCHEMES) -> None:
    """Both formats, with every escaping scheme."""
    for escaping in schemes:
        assert encoder.text(registry, escaping) == generate_latest(registry, escaping)
        for version in ("1.0.0", "2.0.0"):
            theirs = openmetrics.generate_latest(registry, escaping, version)  # type: ignore[no-untyped-call]
            assert encoder.openmetrics(registry, escaping, version) == theirs


@given(NUMBERS)
def test_numbers(value: float) -> None:
    """Every number looks as in Go, where exponents begin sooner than in Python."""
    assert number(value) == floatToGoString(value)  # type: ignore[no-untyped-call]  # theirs


OWN_EXEMPLARS = st.builds(
    OwnExemplar,
    value=NUMBERS,
    time=st.floats(0, 2e9),
    due=st.just(0.0),
    task_id=TEXTS | st.just("x" * 150),
    trace=st.sampled_from([None, f"{'a' * 32}-{'b' * 16}"]),
)

# --- families of ours ---------------------------------------------------------------------------------------------


@st.composite
def label_sets(draw: st.DrawFn, reserved: tuple[str, ...] = ()) -> tuple[Labels, list[Labels]]:
    """Names of labels, and values for some series."""
    names = tuple(
        draw(st.lists(PLAIN_NAMES.filter(lambda name: name not in reserved), max_size=4, unique=True))
    )
    series = draw(st.lists(st.tuples(*[TEXTS] * len(names)), max_size=5, unique=True))
    return names, series


@st.composite
def value_rows(draw: st.DrawFn) -> ValueRows:
    """A counter or a gauge."""
    names, series = draw(label_sets())
    kind = draw(st.sampled_from(["counter", "gauge"]))
    metric = ValueRows(draw(PLAIN_NAMES), draw(TEXTS), kind, names)
    for place, labels in enumerate(series):
        metric.add_metric(labels, draw(NUMBERS))
        if kind == "counter" and draw(st.booleans()):
            metric.exemplars[place] = draw(OWN_EXEMPLARS)
    return metric


@st.composite
def histogram_rows(draw: st.DrawFn) -> HistogramRows:
    """A histogram, now and then with a label that comes before ``le``, or without classic buckets."""
    names, series = draw(label_sets(reserved=("le",)))
    bounds = sorted(draw(st.lists(st.floats(1e-6, 1e9), min_size=1, max_size=4, unique=True)))
    classic = draw(st.sampled_from([True, True, False]))
    metric = HistogramRows(draw(PLAIN_NAMES), draw(TEXTS), names, bounds, classic=classic)
    for labels in series:
        counts = st.integers(0, draw(st.sampled_from([9, 10**7, 10**17])))
        numbers = draw(st.lists(counts, min_size=len(bounds) + 1, max_size=len(bounds) + 1))
        exemplars = draw(
            st.just([]) | st.lists(st.none() | OWN_EXEMPLARS, min_size=len(numbers), max_size=len(numbers))
        )
        metric.add_metric(labels, numbers, draw(NUMBERS), exemplars=exemplars)
    return metric


@given(st.lists(value_rows() | histogram_rows(), max_size=4))
def test_rows(families: list[Metric]) -> None:
    """Our families give the bytes that their samples give."""
    encoder = Encoder()
    for _ in range(2):  # first without anything remembered
        assert_same(Fixed(families), encoder)


@given(st.lists(st.lists(value_rows() | histogram_rows(), max_size=3), min_size=2, max_size=5))
def test_what_is_remembered_never_shows(scrapes: list[list[Metric]]) -> None:
    """Series and families come, change and go between scrapes by one encoder."""
    encoder = Encoder()
    for families in scrapes:
        assert_same(Fixed(families), encoder, SCHEMES[:2])


@given(value_rows() | histogram_rows(), st.data())
def test_restricted_rows(metric: Metric, data: st.DataObject) -> None:
    """A scrape for some names gets these, as from a family of prometheus_client; by its own name all of it."""
    plain = Metric(metric.name, metric.documentation, metric.type)
    plain.samples = list(metric.samples)
    names = data.draw(st.sets(st.sampled_from([metric.name, *(sample.name for sample in plain.samples)])))
    all_names = names | {sample.name for sample in plain.samples} if metric.name in names else names
    ours, theirs = (
        [part for part in [family._restricted_metric(wanted)] if part]  # type: ignore[no-untyped-call]  # theirs
        for family, wanted in ((metric, names), (plain, all_names))
    )
    assert ours == theirs
    assert_same(Fixed(ours), Encoder(), SCHEMES[:1])


# --- families of others -------------------------------------------------------------------------------------------

TIMES = (
    st.floats(0, 2e9)
    | st.integers(0, 2 * 10**9)
    | st.builds(Timestamp, st.integers(0, 10**9), st.integers(0, 999))
)
EXEMPLARS = st.builds(Exemplar, st.dictionaries(PLAIN_NAMES, TEXTS, max_size=2), NUMBERS, st.none() | TIMES)
NATIVE = st.builds(
    NativeHistogram,
    count_value=st.integers(0, 9),
    sum_value=st.floats(0, 9),
    schema=st.just(1),
    zero_threshold=st.just(0.1),
    zero_count=st.integers(0, 9),
    pos_spans=st.none() | st.just([BucketSpan(0, 2)]),
    neg_spans=st.none() | st.just([BucketSpan(1, 2), BucketSpan(3, 4)]),
    pos_deltas=st.just([1, 2]),
    neg_deltas=st.just([0, -1]),
    nh_exemplars=st.none() | st.lists(EXEMPLARS, max_size=2),
)
SUFFIXES = ("", "_total", "_created", "_bucket", "_sum", "_count", "_gsum", "_gcount", "_info")


@st.composite
def metrics(draw: st.DrawFn) -> Metric:
    """Any family, of any type, with any samples."""
    kind = draw(
        st.sampled_from(
            [
                "counter",
                "gauge",
                "summary",
                "histogram",
                "gaugehistogram",
                "unknown",
                "info",
                "stateset",
                "untyped",
            ]
        )
    )
    metric = Metric(draw(NAMES), draw(TEXTS), kind, draw(st.sampled_from(["", "", "seconds"])))
    is_rare = draw(st.booleans())
    for _ in range(draw(st.integers(0, 5))):
        suffix = draw(st.sampled_from(SUFFIXES))
        labels = draw(st.dictionaries(NAMES, TEXTS, max_size=3))
        rare: dict[str, Any] = {}
        if is_rare:
            rare["timestamp"] = draw(st.none() | TIMES)
            if (kind, suffix) in (("counter", "_total"), ("histogram", "_bucket")):
                rare["exemplar"] = draw(st.none() | EXEMPLARS)
            if (kind, suffix) == ("histogram", ""):
                rare["native_histogram"] = draw(st.none() | NATIVE)
        metric.add_sample(metric.name + suffix, labels, draw(NUMBERS), **rare)
    return metric


@settings(max_examples=100, deadline=None)
@given(st.lists(metrics(), max_size=4), st.lists(metrics(), max_size=4))
def test_any_samples(first: list[Metric], second: list[Metric]) -> None:
    """Whatever collectors of others yield, twice and then something else, is written as prometheus_client writes it."""
    encoder = Encoder()
    for families in (first, first, second):
        assert_same(Fixed(families), encoder)


@pytest.fixture(params=[False, True], ids=["", "created"])
def with_created(request: pytest.FixtureRequest) -> Iterator[None]:
    """Once without and once with the time of creation of each series."""
    switch = enable_created_metrics if request.param else disable_created_metrics
    switch()  # type: ignore[no-untyped-call]  # the library's
    yield
    disable_created_metrics()  # type: ignore[no-untyped-call]  # as the pipeline does


def instruments(registry: CollectorRegistry) -> Counter:
    """One of each kind that prometheus_client offers."""
    hard = 'a"b\\c\nd é'
    counter = Counter("things", hard, ["kind"], registry=registry, unit="seconds")
    counter.labels(hard).inc(2, exemplar={"trace": hard})
    counter.labels("")
    Gauge("level", "", registry=registry).set(float("-inf"))
    Histogram("size", "Sizes.", ["a", "z"], registry=registry, buckets=(1, 1e7)).labels("1", "2").observe(
        5, exemplar={"id": "x"}
    )
    Summary("wait", "Waits.", registry=registry).observe(1e9)
    Info("build", "Build.", ["of"], registry=registry).labels("us").info({"version": hard})
    Enum("state", "State.", registry=registry, states=["up", "down"]).state("down")
    held = GaugeHistogramMetricFamily("held", "Held.", buckets=[("1", 2), ("+Inf", 3)], gsum_value=4)
    registry.register(Fixed([held]))
    return counter


@pytest.mark.usefixtures("with_created")
def test_instruments() -> None:
    """Every kind of prometheus_client's own, with what changes between scrapes."""
    registry, encoder = CollectorRegistry(target_info={"job": "j"}), Encoder()
    counter = instruments(registry)
    for step in range(3):
        counter.labels(f"new{step}").inc(step)
        assert_same(registry, encoder)
    counter.remove("new0")
    assert_same(registry, encoder)
    assert_same(registry.restricted_registry(["things_seconds_total", "size_count", "target_info"]), encoder)


ACCEPTS = (
    "",
    "*/*",
    "application/openmetrics-text",
    "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5",
    "application/openmetrics-text;version=1.0.0;escaping=dots",
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=1.0.0;q=0.3",
    "text/plain;version=1.0.0;escaping=values",
    "text/plain;version=1.0.0;escaping=nonsense",
    "text/plain;version=0.0.4",
)


@pytest.mark.parametrize("accept", ACCEPTS)
def test_what_a_client_accepts(accept: str) -> None:
    """For every Accept header the content type and the bytes are those of prometheus_client's choice."""
    registry = CollectorRegistry()
    instruments(registry)
    registry.register(Fixed([odd_name(), Metric("a.b", "", "gauge")]))
    theirs, content_type = choose_encoder(accept)
    ours, ours_type = Encoder().choose(accept)
    assert (ours(registry), ours_type) == (theirs(registry), content_type)


def odd_name() -> Metric:
    """A gauge whose name each escaping scheme writes in another way."""
    metric = Metric("a.b:c_é", "Odd.", "gauge")
    metric.add_sample("a.b:c_é", {"l.m": "v"}, 1)
    return metric


class Duck:
    """A value that is a number to ``float`` only, as numpy's are."""

    def __float__(self) -> float:
        return 1e7


@pytest.mark.parametrize("value", ["5", Duck()])
def test_what_only_float_takes_for_a_number(value: Any) -> None:
    """Custom collectors may yield anything that ``float`` takes."""
    metric = Metric("a", "", "gauge")
    metric.samples.append(Sample("a", {}, value))
    assert_same(Fixed([metric]), Encoder())
