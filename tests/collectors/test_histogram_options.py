"""Which buckets histograms have, as options say."""

from __future__ import annotations

from typing import Any

import pytest

from celery_metrics_exporter.exposition.text import Encoder
from celery_metrics_exporter.pipeline import NATIVE_SECONDS
from tests.exposition.messages import read
from tests.exposition_lint import lint_openmetrics, lint_text
from tests.pipeline import Bench, received, sent, task

HISTOGRAMS = (
    "celery_exporter_event_lag_seconds",
    "celery_task_prefetch_wait_seconds",
    "celery_task_queue_wait_seconds",
    "celery_task_runtime_seconds",
)


def bench_of(**settings: Any) -> Bench:
    """A pipeline with these settings, after one task."""
    bench = Bench(**settings)
    bench.feed(sent("a", 0), received("a", 1), task("started", "a", 2))
    bench.feed(task("succeeded", "a", 3, runtime=0.7))
    return bench


def histograms(bench: Bench) -> dict[str, list[Any]]:
    """The messages of the histograms, by family."""
    encode, _ = Encoder().choose("application/vnd.google.protobuf")
    families = {family.name: family for family in read(encode(bench.pipeline.registry))}
    return {name: [metric.histogram for metric in families[name].metric] for name in HISTOGRAMS}


@pytest.mark.parametrize("schema", [-4, 0, 3, 8])
def test_both_kinds_of_buckets(schema: int) -> None:
    """Each histogram has both, of the resolution that was asked for, and they tell of the same values."""
    for found in histograms(bench_of(native_histogram_schema=schema)).values():
        for each in found:
            assert each.schema == schema
            assert each.bucket[-1].cumulative_count == each.sample_count
            number = total = 0
            for delta in each.positive_delta:
                number += delta
                total += number
            assert each.zero_count + total == each.sample_count
    assert [each.sample_count for each in found] == [1]


def test_classic_buckets_alone() -> None:
    """Without native histograms messages have the buckets of the text, and no resolution."""
    bench = bench_of(native_histograms=False)
    for found in histograms(bench).values():
        for each in found:
            assert each.bucket
            assert not each.HasField("schema")
            assert not each.HasField("zero_threshold")
            assert list(each.positive_span) == list(each.positive_delta) == []
    assert (
        bench.value("celery_task_runtime_seconds_bucket", le="1.0", outcome="succeeded", queue="q", task="t")
        == 1
    )


def test_native_buckets_alone() -> None:
    """Without classic buckets the texts have counts and sums, in good form; messages have native buckets."""
    bench = bench_of(classic_histograms=False)
    text = bench.text()
    assert "_bucket" not in text
    for name in HISTOGRAMS:
        assert f"# TYPE {name} summary\n" in text
    assert lint_text(text) == []
    assert lint_openmetrics(Encoder().openmetrics(bench.pipeline.registry).decode()) == []
    labels = {"outcome": "succeeded", "queue": "q", "task": "t"}
    assert bench.value("celery_task_runtime_seconds_count", **labels) == 1
    assert bench.value("celery_task_runtime_seconds_sum", **labels) == 0.7
    for found in histograms(bench).values():
        assert all(each.HasField("schema") and not each.bucket for each in found)
    assert found[0].sample_count == 1


@pytest.mark.parametrize(
    ("settings", "asked", "exact"),
    [
        ({}, False, False),
        ({}, True, True),
        ({"classic_histograms": False}, False, True),
    ],
)
def test_native_buckets_that_nobody_asks_for(*, settings: dict[str, Any], asked: bool, exact: bool) -> None:
    """After a while values are at the bounds of their classic buckets, unless there are none, or somebody has asked."""
    bench = bench_of(**settings)
    if asked:
        histograms(bench)
    bench.wait(NATIVE_SECONDS + 1)
    (runtime,) = histograms(bench)["celery_task_runtime_seconds"]
    bound = 2 ** ((runtime.positive_span[0].offset - 1) / 2**runtime.schema)  # of the one bucket
    assert bound == pytest.approx(0.7 if exact else 1.0, rel=0.1)
    assert runtime.sample_count == 1
