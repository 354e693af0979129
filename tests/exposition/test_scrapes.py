"""What the encoders remember between scrapes, and scrapes of the exporter's own pipeline while events come."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge, Metric, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from celery_metrics_exporter.collectors import Family, Guard
from celery_metrics_exporter.exposition.rows import HistogramRows, ValueRows
from celery_metrics_exporter.exposition.text import Encoder
from tests.exposition.test_text import SCHEMES, Fixed, assert_same
from tests.lives import arrivals, lives, tell
from tests.pipeline import Bench, FakeTime, received, sent, task, worker_event

Series: TypeAlias = tuple[str, frozenset[tuple[str, str]]]


def rows(series: int, *, since: int = 0, value: int = 0) -> list[ValueRows | HistogramRows]:
    """A gauge and a histogram with this many series."""
    gauge = ValueRows("g", "", "gauge", ("task", "queue"))
    histogram = HistogramRows("h", "", ("task", "queue"), (1, 2))
    for one in range(since, since + series):
        gauge.add_metric((f"t{one}", "q"), value)
        histogram.add_metric((f"t{one}", "q"), (1, 0, value), 0.5)
    return [gauge, histogram]


def test_a_scrape_makes_no_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many series there are, and though all numbers change: no Sample, and prometheus_client is not asked."""
    encoder = Encoder()
    encoder.text(Fixed(rows(100)))
    encoder.openmetrics(Fixed(rows(100)))
    asked: list[object] = []
    for module in ("rows", "text"):
        monkeypatch.setattr(
            f"celery_metrics_exporter.exposition.{module}.Sample", lambda *parts: asked.append(parts)
        )
    monkeypatch.setattr(
        "celery_metrics_exporter.exposition.text.generate_latest", lambda *parts, **_: asked.append(parts)
    )
    monkeypatch.setattr(openmetrics, "generate_latest", lambda *parts, **_: asked.append(parts))
    assert encoder.text(Fixed(rows(100, value=7))).count(b" 7.0\n") == 100
    assert encoder.openmetrics(Fixed(rows(100, value=7))).count(b" 7.0\n") == 100
    assert asked == []


def test_a_known_line_of_others_is_not_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """prometheus_client writes a line of somebody else's family once; then we know all of it but the number."""
    registry, encoder = CollectorRegistry(), Encoder()
    gauge = Gauge("g", "", ["a"], registry=registry)
    for one in range(50):
        gauge.labels(str(one)).set(one)
    encoder.text(registry)
    monkeypatch.setattr(
        "celery_metrics_exporter.exposition.text.generate_latest", partial(pytest.fail, "asked")
    )
    gauge.labels("7").set(70)
    assert b'g{a="7"} 70.0\n' in encoder.text(registry)


@pytest.mark.parametrize("foreign", [False, True])
def test_series_that_are_gone_are_forgotten(*, foreign: bool) -> None:
    """Series that come and go for ever do not fill the memory."""
    encoder = Encoder()
    for turn in range(20):
        families: Sequence[Metric] = rows(100, since=100 * turn)
        if foreign:
            twins = []
            for family in families:
                twins.append(Metric(family.name, "", family.type))
                twins[-1].samples = list(family.samples)
            families = twins
        assert encoder.text(Fixed(families)) == generate_latest(Fixed(families))
    kept = [len(texts) for texts in encoder._label_texts.values()]
    kept += [len(form._prefixes) for form in encoder._formats.values()]
    assert kept
    assert max(kept) < 20 * 100


# --- the exporter's own registry ----------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(st.data(), lives())
def test_the_pipeline(data: st.DataObject, made: list) -> None:  # type: ignore[type-arg]  # of Life
    """Whatever has happened, each family of the exporter is written as prometheus_client writes it, by one encoder."""
    bench, encoder, clock = Bench(max_series=5), Encoder(), count(1)
    told = [one for life in made for one in tell(life, clock)]
    for number, one in enumerate(data.draw(arrivals(told, repeat=True))):
        bench.feed(one.event)
        if number % 20 == 0:
            assert_same(bench.pipeline.registry, encoder, SCHEMES[:2])
    bench.feed(worker_event("heartbeat"))
    bench.sample(q=3)
    bench.wait(3)
    assert_same(bench.pipeline.registry, encoder)
    for names in (["celery_task_sent_total"], ["celery_task_runtime_seconds_bucket", "celery_worker_up"]):
        assert_same(bench.pipeline.registry.restricted_registry(names), encoder)


def test_odd_labels_in_the_pipeline() -> None:
    """Names that hold what is escaped, or what means something in a template, are escaped and nothing else."""
    bench, encoder = Bench(), Encoder()
    for number, name in enumerate(['a"b', "c\\d", "e\nf", "%d%s%%", "{}", "\0", "é€", ""]):
        uuid = f"u{number}"
        bench.feed(sent(uuid, name=name, queue=name), received(uuid, name=name), task("started", uuid))
        bench.feed(task("succeeded", uuid, 3.0, runtime=1.0))
    bench.wait(3)
    for _ in range(2):
        assert_same(bench.pipeline.registry, encoder)


def test_a_changed_number_shows() -> None:
    """What happened since the latest scrape is in the next."""
    bench, encoder = Bench(), Encoder()
    line = b'celery_task_sent_total{queue="q",task="t"} %d.0\n'
    for number in (1, 2, 3):
        bench.feed(sent(f"u{number}"), received(f"u{number}"))
        assert line % number in encoder.text(bench.pipeline.registry)
        assert line % number in encoder.openmetrics(bench.pipeline.registry)


def test_scrapes_while_events_come() -> None:
    """Two threads scrape beside the events: no counter falls, and each _count is the infinite bucket of its page."""
    bench, encoder = Bench(), Encoder()
    done = threading.Event()

    def scrape() -> list[bytes]:
        pages = []
        while not done.is_set():
            pages.append(encoder.text(bench.pipeline.registry))
        return pages

    with ThreadPoolExecutor(2) as pool:
        scrapes = [pool.submit(scrape) for _ in range(2)]
        try:
            for number in range(600):
                uuid, name = f"u{number}", f"t{number % 50}"
                bench.feed(sent(uuid, name=name), received(uuid, name=name), task("started", uuid))
                bench.feed(task("succeeded", uuid, 3.0, runtime=number % 50))
        finally:
            done.set()
    for scraped in scrapes:
        pages = scraped.result()
        assert len(pages) > 1
        latest: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for page in pages[:: 1 + len(pages) // 10]:
            rising = dict(_rising(page))
            assert [series for series, number in latest.items() if rising[series] < number] == []
            latest = rising


def _rising(page: bytes) -> Iterator[tuple[Series, float]]:
    """The series of counters and histograms; a histogram's _count has to be its infinite bucket."""
    for family in text_string_to_metric_families(page.decode()):
        if family.type in ("counter", "histogram"):
            found = {(one.name, frozenset(one.labels.items())): one.value for one in family.samples}
            for (name, labels), value in found.items():
                if name.endswith("_count"):
                    assert found[name.removesuffix("_count") + "_bucket", labels | {("le", "+Inf")}] == value
            yield from found.items()


class Gives:
    """A collector of one family, which fails after it when told to."""

    def __init__(self, name: str, *, fails: bool) -> None:
        self.name = name
        self.families = (Family(f"celery_test_{name}", "gauge", "A test."),)
        self._fails = fails

    def collect(self) -> Iterator[Metric]:
        """Yield the family, or a part of what there should be."""
        (family,) = self.families
        metric = family.empty()
        metric.add_metric((), 42)
        yield metric
        if self._fails:
            raise OSError("disk on fire")


def test_a_failing_collector_costs_only_itself() -> None:
    """Our encoders write the rest of the page, and that it failed."""
    registry, encoder = CollectorRegistry(), Encoder()
    collectors = (Gives("bad", fails=True), Gives("good", fails=False))
    registry.register(Guard(collectors, FakeTime().clock()))
    for encode in (encoder.text, encoder.openmetrics):
        page = encode(registry)
        assert b"celery_test_bad" not in page
        assert b"celery_test_good 42.0\n" in page
        assert b'celery_exporter_collector_success{collector="bad"} 0.0\n' in page
        assert b'celery_exporter_collector_success{collector="good"} 1.0\n' in page
    assert_same(registry, encoder)


def test_a_scrape_for_some_names_leaves_the_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """All families come from one collector; samples are made of those alone that are wanted in part."""
    bench, encoder = Bench(), Encoder()
    bench.feed(sent(), received(), task("started"), task("succeeded", at=3.0, runtime=1.0))
    registry = bench.pipeline.registry
    expected = generate_latest(registry.restricted_registry(["celery_task_runtime_seconds_sum"]))
    made: set[str] = set()

    def note(name: str, labels: dict[str, str], value: float, **more: Any) -> Sample:
        made.add(name)
        return Sample(name, labels, value, **more)

    monkeypatch.setattr("celery_metrics_exporter.exposition.rows.Sample", note)
    assert encoder.text(registry)
    assert encoder.text(registry.restricted_registry(["celery_task_sent_total", "celery_worker_up"]))
    assert made == set()
    assert encoder.text(registry.restricted_registry(["celery_task_runtime_seconds_sum"])) == expected
    assert made == {f"celery_task_runtime_seconds_{part}" for part in ("bucket", "count", "sum")}
