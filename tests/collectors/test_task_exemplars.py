"""The latest tasks that metrics show: which ones, how often, and where."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Exemplar, Timestamp

from celery_metrics_exporter.events.types import TaskReceived
from celery_metrics_exporter.exposition.text import Encoder
from tests.exposition.messages import labels_of, read
from tests.pipeline import T0, Bench, received, sent, task

RUNTIME = "celery_task_runtime_seconds_bucket"
QUEUE_WAIT = "celery_task_queue_wait_seconds_bucket"
FAILED = "celery_task_failed_total"
TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PROTOBUF = "application/vnd.google.protobuf"


def exemplars(bench: Bench) -> dict[tuple[str, str], Exemplar]:
    """Those of the OpenMetrics page, by the name of the sample and its bucket."""
    page = Encoder().openmetrics(bench.pipeline.registry)
    assert page == openmetrics.generate_latest(bench.pipeline.registry)  # type: ignore[no-untyped-call]  # theirs
    return {
        (sample.name, sample.labels.get("le", "")): sample.exemplar
        for family in text_string_to_metric_families(page.decode())  # type: ignore[no-untyped-call]  # theirs
        for sample in family.samples
        if sample.exemplar is not None
    }


def run(bench: Bench, uuid: str, runtime: float = 0.5, *, wait: float = 2.0) -> None:
    """A task with these times; its task-sent is known before all else."""
    bench.feed(sent(uuid, 0), received(uuid, wait), task("started", uuid, wait))
    bench.feed(task("succeeded", uuid, wait + runtime, runtime=runtime))


def fail(bench: Bench, uuid: str) -> None:
    """A task that fails after a second."""
    bench.feed(sent(uuid, 0), received(uuid, 2), task("started", uuid, 2))
    bench.feed(task("failed", uuid, 3, exception="KeyError('x')"))


def ids(bench: Bench) -> dict[tuple[str, str], str]:
    """The tasks that are shown."""
    return {place: exemplar.labels["task_id"] for place, exemplar in exemplars(bench).items()}


def test_a_task_is_shown_where_it_is_counted() -> None:
    """In its buckets of run time and queue wait, with its values, and when it was counted."""
    bench = Bench()
    bench.time.elapsed = 10
    run(bench, "a")
    found = exemplars(bench)
    assert found == {
        (RUNTIME, "0.5"): Exemplar({"task_id": "a"}, 0.5, Timestamp(int(T0) + 10, 0)),
        (QUEUE_WAIT, "2.5"): Exemplar({"task_id": "a"}, 2.0, Timestamp(int(T0) + 10, 0)),
    }


def test_the_latest_task_is_shown_but_one_a_second() -> None:
    """Within a second the first one of a bucket stays; other buckets have their own."""
    bench = Bench()
    run(bench, "a")
    bench.wait(0.9)
    run(bench, "b")
    run(bench, "slow", 50.0)
    assert ids(bench) == {(RUNTIME, "0.5"): "a", (RUNTIME, "60.0"): "slow", (QUEUE_WAIT, "2.5"): "a"}
    bench.wait(0.1)
    run(bench, "c")
    assert ids(bench) == {(RUNTIME, "0.5"): "c", (RUNTIME, "60.0"): "slow", (QUEUE_WAIT, "2.5"): "c"}


def test_a_clock_that_is_set_back_stops_nothing() -> None:
    """The pause is measured by a clock that is never set."""
    bench = Bench()
    for uuid in ("a", "b"):
        run(bench, uuid)
        fail(bench, f"failed {uuid}")
        bench.time.start -= 86400
        bench.wait(1)
    assert ids(bench)[RUNTIME, "0.5"] == "b"
    assert ids(bench)[FAILED, ""] == "failed b"


def test_failures_are_shown() -> None:
    """A failed task is shown at its counter, and in the buckets of its own outcome."""
    bench = Bench()
    fail(bench, "a")
    bench.wait(0.5)
    fail(bench, "b")
    assert ids(bench) == {(FAILED, ""): "a", (RUNTIME, "1.0"): "a", (QUEUE_WAIT, "2.5"): "a"}
    assert exemplars(bench)[FAILED, ""].value == 1.0
    bench.wait(0.5)
    fail(bench, "c")
    assert ids(bench)[FAILED, ""] == "c"


def test_a_task_that_waits_for_its_sender_is_shown() -> None:
    """A task whose task-sent comes late, or never, has its place when it is known where it is counted."""
    bench = Bench()
    bench.feed(received("a", 2), task("started", "a", 2), task("failed", "a", 3, exception="E()"))
    assert ids(bench) == {}
    bench.wait(1.5)
    bench.feed(
        received("b", 2), task("started", "b", 2), task("failed", "b", 3, exception="E()"), sent("b", 0)
    )
    bench.wait(3)
    found = ids(bench)
    assert found[QUEUE_WAIT, "2.5"] == "b"
    assert found[FAILED, ""] in {"a", "b"}
    assert found[RUNTIME, "1.0"] in {"a", "b"}


@pytest.mark.parametrize(("length", "shown"), [(121, True), (122, False), (500, False)])
def test_ids_that_are_too_long(length: int, shown: bool) -> None:
    """OpenMetrics allows 128 characters of labels; a longer id is left out, and the values are as they were."""
    bench = Bench()
    run(bench, "x" * length)
    fail(bench, "y" * length)
    assert bool(exemplars(bench)) is shown
    assert bool([1 for one in of_messages(bench) if one]) is shown
    assert bench.value("celery_task_succeeded_total", task="t", queue="q") == 1


def of_messages(bench: Bench) -> list[dict[str, str]]:
    """The labels of all exemplars of the page of messages."""
    encode, _ = Encoder().choose(PROTOBUF)
    found = []
    for family in read(encode(bench.pipeline.registry)):
        for metric in family.metric:
            places = [metric.counter, *metric.histogram.bucket]
            found += [labels_of(each.exemplar) for each in places if each.HasField("exemplar")]
            found += [labels_of(each) for each in metric.histogram.exemplars]
            assert all(each.exemplar.HasField("timestamp") for each in places if each.HasField("exemplar"))
    return found


@pytest.mark.parametrize("uuid", ['a"b\\c\nd', "é€😀", "\ud800", "\0", " "])
def test_odd_ids(uuid: str) -> None:
    """Whatever a sender calls a task: both formats tell it, and controls and surrogates are replaced."""
    bench = Bench()
    run(bench, uuid)
    expected = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in uuid)
    escaped = expected.replace("\\", "\\\\").replace('"', '\\"')
    page = Encoder().openmetrics(bench.pipeline.registry)
    assert page.count(f' # {{task_id="{escaped}"}} '.encode()) == 2
    assert {labels["task_id"] for labels in of_messages(bench)} == {expected}


@pytest.mark.parametrize("classic", [True, False])
def test_messages_have_them_too(classic: bool) -> None:
    """At classic buckets where these are shown, else at the native histogram; the text has none then."""
    bench = Bench(classic_histograms=classic)
    run(bench, "a")
    fail(bench, "b")
    bench.wait(1)
    run(bench, "c", 50.0)
    found = [labels["task_id"] for labels in of_messages(bench)]
    assert sorted(found) == ["a", "b", "b", "c", "c"]
    assert {name for name, _ in exemplars(bench)} == ({RUNTIME, QUEUE_WAIT, FAILED} if classic else {FAILED})


def test_none_without_the_option() -> None:
    """Without exemplars the page is as before, and nothing is kept."""
    bench = Bench(exemplars=False)
    run(bench, "a")
    fail(bench, "b")
    assert exemplars(bench) == {}
    assert of_messages(bench) == []


def test_the_text_format_has_none() -> None:
    """Only OpenMetrics and messages have a place for them."""
    bench = Bench()
    fail(bench, "a")
    assert " # " not in "".join(line for line in bench.text().splitlines() if not line.startswith("#"))


def receive(bench: Bench, uuid: str, trace: str | None, **more: Any) -> None:
    """Let the worker in this process receive a task of a trace."""
    event = TaskReceived(
        uuid, T0 + 1, "w@h", name="t", retries=0, queue="q", published=T0, trace=trace, **more
    )
    with bench.pipeline.dispatcher.writing():
        bench.pipeline._tasks.on_received(event)


@pytest.mark.parametrize("is_known", [False, True])
def test_the_trace_of_a_task_of_the_own_worker(is_known: bool) -> None:
    """Where the message told its trace, the exemplar leads to it, of run time, wait and failure alike."""
    bench = Bench()
    if is_known:
        bench.feed(sent("a", 0))
    receive(bench, "a", f"{TRACE_ID}-{SPAN_ID}")
    bench.feed(task("started", "a", 2), task("failed", "a", 3, exception="E()"))
    bench.wait(3)
    found = exemplars(bench)
    assert {name for name, _ in found} == {RUNTIME, QUEUE_WAIT, FAILED}
    labels = {"task_id": "a", "trace_id": TRACE_ID, "span_id": SPAN_ID}
    assert all(exemplar.labels == labels for exemplar in found.values())
    assert of_messages(bench) == [labels] * 3


def test_an_id_that_leaves_no_room_for_the_trace() -> None:
    """Then the task is shown alone."""
    bench = Bench()
    receive(bench, "a" * 80, f"{TRACE_ID}-{SPAN_ID}")
    bench.feed(task("started", "a" * 80, 2))
    assert [exemplar.labels for exemplar in exemplars(bench).values()] == [{"task_id": "a" * 80}]
