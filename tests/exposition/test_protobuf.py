"""The official protobuf package reads our messages, would write the same bytes, and finds what the text says."""

from __future__ import annotations

import math
from collections import Counter as Multiset
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Metric, disable_created_metrics, enable_created_metrics
from prometheus_client.samples import BucketSpan, Exemplar, NativeHistogram, Timestamp

from celery_metrics_exporter.cells import COARSEST, FINEST, ZERO_THRESHOLD, Cells
from celery_metrics_exporter.distribution import BatchDistribution
from celery_metrics_exporter.exposition import wire
from celery_metrics_exporter.exposition.protobuf import Chosen, ProtobufEncoder
from celery_metrics_exporter.exposition.rows import HistogramRows, ValueRows
from tests.exposition.messages import MetricFamily, labels_of, read, samples
from tests.exposition.test_text import Fixed, histogram_rows, instruments, metrics, value_rows
from tests.pipeline import T0, Bench, received, sent, task, worker_event

COUNTER, GAUGE, SUMMARY, UNTYPED, HISTOGRAM, GAUGE_HISTOGRAM = range(6)
#: The messages of our rows; without classic buckets the text formats have a summary.
KINDS = {"counter": COUNTER, "gauge": GAUGE, "histogram": HISTOGRAM, "summary": HISTOGRAM}
SIMPLE = ("counter", "gauge", "unknown", "untyped", "info", "stateset")


def plain(name: str, labels: Mapping[str, Any], value: float) -> str:
    """One sample as it is compared: bounds and quantiles are numbers, and NaN is equal to NaN."""
    numbers = {key: float(labels[key]) for key in ("le", "quantile") if is_number(labels.get(key))}
    return repr((name, sorted({**labels, **numbers}.items()), float(value)))


def is_number(text: str | float | None) -> bool:
    """Whether it can be a bound or a quantile."""
    try:
        return text is not None and not math.isnan(float(text))
    except ValueError:
        return False


def of_text(families: Iterable[Metric]) -> Multiset[str]:
    """The samples of the text formats."""
    found = (one for family in families for one in family.samples)
    return Multiset(
        plain(one.name, one.labels, one.value) for one in found if not one.name.endswith("_created")
    )


def of_messages(page: bytes) -> Multiset[str]:
    """The samples of a page of messages."""
    return Multiset(
        plain(name, dict(labels), value) for one in read(page) for name, labels, value in samples(one)
    )


@given(st.lists(value_rows() | histogram_rows(), max_size=4))
def test_rows(families: list[Metric]) -> None:
    """Our families give the samples of the text, with their names, types and HELP, and all buckets in order."""
    encoder = ProtobufEncoder()
    for _ in range(2):  # first without anything remembered
        page = encoder.encode(Fixed(families))
        assert of_messages(page) == of_text(families)
        for message, metric in zip(read(page), families, strict=True):
            assert (message.name, message.help) == (
                f"{metric.name}_total" if metric.type == "counter" else metric.name,
                metric.documentation,
            )
            assert message.type == KINDS[metric.type]
            for series in message.metric:
                assert list(labels_of(series)) == sorted(labels_of(series))
                if message.type == HISTOGRAM:
                    bounds = [bucket.upper_bound for bucket in series.histogram.bucket]
                    assert bounds == sorted(set(bounds))
                    assert bounds[-1:] == ([math.inf] if metric.type == "histogram" else [])


@given(
    st.lists(st.lists(st.floats(0, 1e6), max_size=30), max_size=4),
    st.integers(COARSEST, FINEST),
    st.booleans(),
)
def test_native_buckets(series: list[list[float]], schema: int, classic: bool) -> None:
    """Native buckets are those of the distribution, beside classic ones or alone, and tell of the same values."""
    rows = HistogramRows("h", "", ("a",), (0.5, 2), classic=classic)
    cells, made = Cells((0.5, 2), schema), []
    for number, values in enumerate(series):
        distribution = BatchDistribution(cells)
        distribution.observe_all(values)
        made.append(distribution.snapshot())
        rows.add((str(number),), distribution, 1.0)
    (family,) = read(ProtobufEncoder().encode(Fixed([rows])))
    for metric, snapshot in zip(family.metric, made, strict=True):
        found, native = metric.histogram, snapshot.native()
        assert native is not None
        assert (found.schema, found.zero_threshold, found.zero_count) == (
            native.schema,
            ZERO_THRESHOLD,
            native.zero_count,
        )
        assert [(span.offset, span.length) for span in found.positive_span] == native.spans
        assert list(found.positive_delta) == native.deltas
        assert found.created_timestamp.seconds == 1
        assert found.sample_count == sum(snapshot.classic())
        assert found.sample_sum == snapshot.total
        assert [bucket.cumulative_count for bucket in found.bucket] == (
            list(accumulate(snapshot.classic())) if classic else []
        )


@pytest.mark.parametrize("created", [1, 1.5, T0, T0 + 0.000000238, 999_999_999.9999999, 2.0**33, 1e-9])
def test_created(created: float) -> None:
    """Counters and histograms tell when they began, by a series' own time or that of the process; gauges do not."""
    counter = ValueRows("c", "", "counter", ("a",))
    gauge = ValueRows("g", "", "gauge", ("a",))
    histogram = HistogramRows("h", "", ("a",), (1, 2))
    for values in (counter, gauge):
        values.add_metric(("own",), 1, created)
        values.add_metrics([("process",)], [1])
    histogram.add_metric(("own",), (1, 2, 3), 4, created)
    histogram.add_metric(("process",), (1, 2, 3), 4)
    for since in (0.0, 12.25):
        for rows in (counter, gauge, histogram):
            rows.since = since
        page = read(ProtobufEncoder().encode(Fixed([counter, gauge, histogram])))
        for family, kind in zip(page, ("counter", "gauge", "histogram"), strict=True):
            own, process = (getattr(series, kind) for series in family.metric)
            if kind == "gauge":
                assert str(own) == str(process) == "value: 1\n"
                continue
            stamp = own.created_timestamp
            assert stamp.seconds + stamp.nanos / 1e9 == pytest.approx(created, rel=1e-15, abs=1e-9)
            assert process.HasField("created_timestamp") is bool(since)
            assert process.created_timestamp.ToNanoseconds() == since * 1e9


@given(st.lists(metrics(), max_size=4))
def test_any_samples(families: list[Metric]) -> None:
    """Whatever collectors of others yield is read, and of simple families no sample is lost."""
    page = ProtobufEncoder().encode(Fixed(families))
    read(page)
    simple = [
        family
        for family in families
        if family.type in SIMPLE
        and len({(one.name, *sorted(one.labels.items())) for one in family.samples}) == len(family.samples)
    ]
    assert not of_text(simple) - of_messages(page)


@pytest.fixture
def with_created() -> Iterator[None]:
    """Times of creation, which the pipeline disables."""
    enable_created_metrics()  # type: ignore[no-untyped-call]  # the library's
    yield
    disable_created_metrics()  # type: ignore[no-untyped-call]  # likewise


@pytest.mark.usefixtures("with_created")
def test_instruments() -> None:
    """Every kind of prometheus_client's own is a family of its type, with times of creation and exemplars."""
    registry = CollectorRegistry(target_info={"job": "j"})
    instruments(registry)
    page = ProtobufEncoder().encode(registry)
    theirs = of_text(registry.collect())
    renamed = Multiset(one.replace("_gsum", "_sum").replace("_gcount", "_count") for one in theirs.elements())
    assert of_messages(page) == renamed
    families = {family.name: family for family in read(page)}
    kinds = {name: family.type for name, family in families.items()}
    assert kinds == {
        "target_info": GAUGE,
        "things_seconds_total": COUNTER,
        "level": GAUGE,
        "size": HISTOGRAM,
        "wait": SUMMARY,
        "build_info": GAUGE,
        "state": GAUGE,
        "held": GAUGE_HISTOGRAM,
    }
    counters = families["things_seconds_total"]
    assert counters.unit == "seconds"
    assert all(series.counter.HasField("created_timestamp") for series in counters.metric)
    assert labels_of(counters.metric[0].counter.exemplar) == {"trace": 'a"b\\c\nd é'}
    (size,) = families["size"].metric
    assert [labels_of(bucket.exemplar) for bucket in size.histogram.bucket] == [{}, {"id": "x"}, {}]
    assert size.histogram.HasField("created_timestamp")
    assert families["wait"].metric[0].summary.HasField("created_timestamp")


def test_native_histograms_of_others() -> None:
    """A native histogram of the library keeps its buckets, and the exemplars that it has."""
    metric = Metric("n", "", "histogram")
    native = NativeHistogram(
        9, 4.5, 3, 0.25, 2, [BucketSpan(-3, 2), BucketSpan(1, 1)], [BucketSpan(0, 1)], [1, 0, 2], [1]
    )
    exemplar = Exemplar({"id": "x"}, 0.5, Timestamp(12, 500_000_000))
    metric.add_sample(
        "n", {"a": "b"}, 0, native_histogram=native._replace(nh_exemplars=[exemplar]), timestamp=1.5
    )
    (family,) = read(ProtobufEncoder().encode(Fixed([metric])))
    (series,) = family.metric
    made = series.histogram
    assert series.timestamp_ms == 1500
    assert (made.sample_count, made.sample_sum, made.schema) == (9, 4.5, 3)
    assert (made.zero_threshold, made.zero_count) == (0.25, 2)
    assert [(span.offset, span.length) for span in made.positive_span] == [(-3, 2), (1, 1)]
    assert [(span.offset, span.length) for span in made.negative_span] == [(0, 1)]
    assert (list(made.positive_delta), list(made.negative_delta)) == ([1, 0, 2], [1])
    assert made.exemplars[0].timestamp.ToMilliseconds() == 12_500


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**64 - 1), st.integers(-(2**31), 2**31 - 1))
def test_integers(time: int, number: int, small: int) -> None:
    """Integers of any size have the bytes that the official package gives them."""
    ours = wire.message(
        4,
        wire.integer(6, time),
        wire.message(7, wire.integer(1, number), wire.signed(5, small), wire.integer(7, number)),
    )
    family = MetricFamily()
    metric = family.metric.add(timestamp_ms=time)
    metric.histogram.sample_count = metric.histogram.zero_count = number
    metric.histogram.schema = small
    assert family.SerializeToString(deterministic=True) == ours


def test_numbers_that_are_no_integers() -> None:
    """Counts that are fractions, as some collectors yield them, stand in fields of their own."""
    metric = Metric("h", "", "gaugehistogram")
    metric.add_sample("h_bucket", {"le": "1"}, 0.5)
    metric.add_sample("h_bucket", {"le": "+Inf"}, 2.0)
    metric.add_sample("h_gcount", {}, 2.5)
    metric.add_sample("h_gsum", {}, -1)
    (family,) = read(ProtobufEncoder().encode(Fixed([metric])))
    made = family.metric[0].histogram
    assert (made.sample_count_float, made.bucket[0].cumulative_count_float) == (2.5, 0.5)
    assert (made.bucket[1].cumulative_count, made.sample_sum) == (2, -1)


# --- the exporter's own registry ----------------------------------------------------------------------------------


def busy_bench() -> Bench:
    """A pipeline in which something has happened."""
    bench = Bench()
    bench.feed(sent(), received(), task("started"), task("succeeded", at=3.0, runtime=1.0))
    bench.feed(sent("u2"), received("u2"), task("started", "u2"))
    bench.feed(
        task("failed", "u2", at=3.0, exception="KeyError('x')"), worker_event("heartbeat"), {"type": "odd"}
    )
    bench.sample(q=3)
    bench.wait(3)
    return bench


def test_every_family_of_the_text() -> None:
    """The page of messages has every family and every sample of the text, and every counter tells when it began."""
    registry = busy_bench().pipeline.registry
    page, families = ProtobufEncoder().encode(registry), list(registry.collect())
    volatile = "celery_exporter_collector_duration_seconds"
    assert {one for one in of_text(families) - of_messages(page) if volatile not in one} == set()
    assert sum(of_messages(page).values()) == sum(of_text(families).values())
    for family in read(page):
        for series in family.metric:
            if family.type in {COUNTER, HISTOGRAM}:
                value = series.counter if family.type == COUNTER else series.histogram
                assert T0 <= value.created_timestamp.seconds <= T0 + 3, family.name


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["celery_task_runtime_seconds"], {"celery_task_runtime_seconds"}),
        (["celery_task_runtime_seconds_sum"], {"celery_task_runtime_seconds"}),
        (["celery_task_sent", "celery_worker_up"], {"celery_task_sent_total", "celery_worker_up"}),
        (["celery_task_sent_total", "nothing"], {"celery_task_sent_total"}),
        (["celery_exporter_build_info"], {"celery_exporter_build_info"}),
        (["nothing"], set()),
    ],
)
def test_families_by_name(names: list[str], wanted: set[str]) -> None:
    """A scrape for some names gets the families of which these are a part, and these whole."""
    registry, encoder = busy_bench().pipeline.registry, ProtobufEncoder()
    page = encoder.encode(Chosen(registry, names))
    assert {family.name for family in read(page)} == wanted
    whole = {family.name: family.SerializeToString() for family in read(encoder.encode(registry))}
    assert all(whole[family.name] == family.SerializeToString() for family in read(page))


def test_series_that_are_gone_are_forgotten() -> None:
    """Series that come and go for ever do not fill the memory."""
    encoder = ProtobufEncoder()
    for turn in range(20):
        gauge = ValueRows("g", "", "gauge", ("task",))
        for one in range(100):
            gauge.add_metric((f"t{100 * turn + one}",), 1)
        encoder.encode(Fixed([gauge]))
    assert max(len(pairs) for pairs in encoder._pairs.values()) < 20 * 100


@pytest.mark.parametrize("minutes", [1, 11])
def test_who_reads_text_alone_pays_for_no_native_buckets(minutes: int) -> None:
    """After ten minutes; the first page of messages, whenever it comes, has them in all histograms, empty ones too."""
    bench = busy_bench()
    series = bench.pipeline.sources.tasks.counts()
    spare = [each for counts in series for each in counts.histograms if each is not None]
    bench.text()
    bench.wait(60.0 * minutes)
    assert spare
    assert all((each.snapshot().native() is None) == (minutes > 10) for each in spare)
    for _ in range(2):
        histograms = [
            metric.histogram
            for family in read(ProtobufEncoder().encode(bench.pipeline.registry))
            for metric in family.metric
            if metric.HasField("histogram")
        ]
        assert histograms
        for histogram in histograms:
            assert histogram.HasField("schema")
            in_buckets = sum(accumulate(histogram.positive_delta))
            assert histogram.zero_count + in_buckets == histogram.sample_count
        bench.feed(
            sent("u3"), received("u3"), task("started", "u3"), task("succeeded", "u3", 3.0, runtime=2.0)
        )
        bench.wait(60.0 * minutes)
