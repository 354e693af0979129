"""One bad collector never sinks a scrape, and the catalogue is what is served."""

from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, GCCollector, Metric, generate_latest

from celery_metrics_exporter.collectors import CATALOGUE, Family, Guard
from celery_metrics_exporter.facts import QueueFacts
from tests.pipeline import T0, Bench, FakeTime, received, sent, task, worker_event

ANSWER = Family("celery_test_answer", "gauge", "The answer to everything.")


class Works:
    """A collector that works."""

    name = "works"
    families = (ANSWER,)

    def collect(self) -> Iterator[Metric]:
        """Yield the answer."""
        metric = ANSWER.empty()
        metric.add_metric((), 42)
        yield metric


class Fails(Works):
    """A collector that yields something, then fails."""

    name = "fails"

    def collect(self) -> Iterator[Metric]:
        """Fail half way."""
        yield from super().collect()
        raise OSError("disk on fire")


def test_a_failing_collector_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """Its families are left out whole, its failure is shown and logged once, the others are served."""
    registry = CollectorRegistry()
    registry.register(Guard((Fails(), Works()), FakeTime().clock()))
    text, *_ = [generate_latest(registry).decode() for _ in range(3)]
    assert text.count("celery_test_answer 42.0") == 1
    assert 'celery_exporter_collector_success{collector="fails"} 0.0' in text
    assert 'celery_exporter_collector_success{collector="works"} 1.0' in text
    assert 'celery_exporter_collector_duration_seconds{collector="fails"}' in text
    assert len(caplog.records) == 1


def everything() -> Bench:
    """A pipeline in which every family has a sample."""
    bench = Bench(max_series=3, queue_priorities=True)
    failure: dict[str, Any] = {"exception": "ValueError()", "traceback": None}
    bench.feed(
        worker_event("heartbeat"), sent(), received(), task("started"), task("failed", at=3.0, **failure)
    )
    bench.feed(
        sent("v"), task("started", "v"), task("succeeded", "v", 3.0, runtime=1.0), task("started", "w")
    )
    bench.feed(*(sent(f"x{number}", name=f"t{number}") for number in range(5)))
    bench.feed(task("rejected", "x0", 4.0, requeue=True), worker_event("heartbeat", 5.0))
    bench.answer(pool_size=4, prefetch_limit=16, queues=("q",))
    facts = QueueFacts(
        exists=True, ready=2, unacked=1, delayed=1, consumers=1, heads=("u",), by_priority={0: 2}
    )
    bench.sample(unacked=3, oldest_unacked=T0, delayed=0, q=facts)
    bench.wait(3)
    return bench


def test_the_catalogue_is_what_is_served() -> None:
    """Every family of the catalogue is served with its kind, help and labels, and no other is."""
    served = {}
    for metric in everything().pipeline.registry.collect():
        labels = {frozenset(sample.labels) - {"le"} for sample in metric.samples}
        name = metric.name + ("_total" if metric.type == "counter" else "")
        served[name] = (metric.type, metric.documentation, labels)
    declared = {family.name: (family.kind, family.help, {frozenset(family.labels)}) for family in CATALOGUE}
    assert served == declared


def test_the_filter_by_name_knows_the_families() -> None:
    """A scrape for one name gets that family alone."""
    registry = everything().pipeline.registry
    for name in ("celery_task_sent_total", "celery_worker_up", "celery_task_runtime_seconds_bucket"):
        text = generate_latest(registry.restricted_registry([name])).decode()
        samples = {line.partition("{")[0] for line in text.splitlines() if not line.startswith("#")}
        assert samples == {name}


def test_the_filter_by_name_gives_a_whole_histogram() -> None:
    """Its own name stands for all of its samples, as in a message."""
    registry = everything().pipeline.registry
    text = generate_latest(registry.restricted_registry(["celery_task_runtime_seconds"])).decode()
    samples = {line.partition("{")[0] for line in text.splitlines() if not line.startswith("#")}
    assert samples == {f"celery_task_runtime_seconds_{part}" for part in ("bucket", "count", "sum")}


def test_the_filter_by_name_knows_other_collectors() -> None:
    """Those of prometheus_client do not tell their names by themselves."""
    registry = everything().pipeline.registry
    GCCollector(registry)
    assert (
        "python_gc" in generate_latest(registry.restricted_registry(["python_gc_collections_total"])).decode()
    )
