"""Tasks that an application announces: zeros before their first event, and what its routes may say of queues."""

import pytest

from celery_metrics_exporter.collectors import TaskCollector
from celery_metrics_exporter.facts import QueueFacts
from celery_metrics_exporter.tasks.attribution import WAIT_SECONDS
from tests.pipeline import Bench, received, sent, task

COUNTERS = {family.name for family in TaskCollector.families if family.kind == "counter"} - {
    "celery_task_exceptions_total"
}


def series(bench: Bench) -> set[tuple[str, str]]:
    """The (task, queue) that the counters of starts have."""
    rows = [name.split('"') for name in bench.samples("celery_task_started_total")]
    return {(row[3], row[1]) for row in rows}


def lines(bench: Bench, name: str) -> list[str]:
    """The lines of the text about a task."""
    return [line for line in bench.text().splitlines() if f'task="{name}"' in line]


def test_an_expected_task_is_at_zero_from_the_start() -> None:
    """All counters of outcomes are there before any event, and nothing else, which would be many lines."""
    bench = Bench(expected={"t": "q"})
    assert {line.partition("{")[0] for line in lines(bench, "t")} == COUNTERS
    assert {line.rpartition(" ")[2] for line in lines(bench, "t")} == {"0.0"}
    assert len(lines(bench, "t")) == len(COUNTERS) + 1 + 2  # two values of requeue, three reasons


def test_its_first_event_goes_on_from_zero() -> None:
    """The series that events count in are those that were there, and the histograms come."""
    bench = Bench(expected={"t": "q"})
    before = {line.rpartition(" ")[0] for line in lines(bench, "t")}
    bench.feed(sent(queue="q"))
    bench.wait(WAIT_SECONDS)
    after = {line.rpartition(" ")[0] for line in lines(bench, "t")}
    assert before < after
    assert bench.value("celery_task_sent_total", task="t", queue="q") == 1
    assert bench.value("celery_task_runtime_seconds_count", task="t", queue="q", outcome="succeeded") == 0


def test_a_task_that_is_met_elsewhere_leaves_no_zeros_behind() -> None:
    """A task that its client sends to another queue is not shown on the expected one."""
    bench = Bench(expected={"t": "q", "other": "q"})
    bench.feed(sent(queue="elsewhere"))
    bench.wait(WAIT_SECONDS)
    assert series(bench) == {("t", "elsewhere"), ("other", "q")}
    bench.feed(sent("u2", queue="q"))
    bench.wait(WAIT_SECONDS)
    assert series(bench) == {("t", "elsewhere"), ("t", "q"), ("other", "q")}


def test_a_task_whose_queue_cannot_be_told_is_expected_on_an_unknown_one() -> None:
    """Where a route depends on arguments there is a zero all the same, until the task is seen."""
    bench = Bench(expected={"t": None})
    assert series(bench) == {("t", "unknown")}
    bench.feed(sent(queue="q"))
    bench.wait(WAIT_SECONDS)
    assert series(bench) == {("t", "q")}


def test_names_are_cleaned() -> None:
    """A label never breaks a scrape, whoever named the task."""
    bench = Bench(expected={"broken\ud800": "q\n"})
    assert series(bench) == {("broken\N{REPLACEMENT CHARACTER}", "q\N{REPLACEMENT CHARACTER}")}
    bench.feed(sent(name="broken\ud800", queue="q"))
    bench.wait(WAIT_SECONDS)
    assert series(bench) == {("broken\N{REPLACEMENT CHARACTER}", "q")}


def test_expected_tasks_make_room_for_those_that_are_seen() -> None:
    """--max-series bounds both together; an expected task never folds one that is seen."""
    bench = Bench(expected={f"t{n}": "q" for n in range(5)}, max_series=3)
    assert series(bench) == {("t0", "q"), ("t1", "q"), ("t2", "q")}
    bench.feed(*(sent(name=f"seen{n}") for n in range(3)))
    bench.wait(WAIT_SECONDS)
    assert series(bench) == {(f"seen{n}", "q") for n in range(3)}
    assert bench.value("celery_exporter_series_overflowed_total", family="celery_task") is None


def no_sent(bench: Bench, uuid: str = "u", worker: str = "w@h") -> None:
    """A task without task-sent, and the wait for it."""
    bench.feed(received(uuid, worker=worker), task("started", uuid, worker=worker))
    bench.wait(3)


def test_a_route_labels_what_nothing_else_does(caplog: pytest.LogCaptureFixture) -> None:
    """Without task-sent, on a worker of several queues, the route is believed; the log says so once."""
    caplog.set_level("INFO", logger="celery_metrics_exporter")
    bench = Bench(expected={"t": "q"})
    bench.answer(queues=("p", "q"))
    no_sent(bench)
    no_sent(bench, "u2")
    assert bench.counts() == {"received": 2, "started": 2}
    assert series(bench) == {("t", "q")}
    assert [record.fields for record in caplog.records if "routes" in record.message] == [  # type: ignore[attr-defined]
        {"task": "t", "queue": "q"}
    ]


def test_a_worker_of_another_single_queue_beats_the_route() -> None:
    """What is consumed from one queue only comes from there."""
    bench = Bench(expected={"t": "q"})
    bench.answer(queues=("p",))
    no_sent(bench)
    assert series(bench) == {("t", "p")}


def test_a_worker_that_does_not_consume_its_queue_contradicts_the_route() -> None:
    """A route that cannot be true is not taken."""
    bench = Bench(expected={"t": "q"})
    bench.answer(queues=("p", "r"))
    no_sent(bench)
    assert series(bench) == {("t", "unknown")}


def test_a_worker_that_tells_nothing_does_not_contradict_it() -> None:
    """Without answers of workers the route is all there is."""
    bench = Bench(expected={"t": "q"})
    no_sent(bench)
    assert series(bench) == {("t", "q")}


def test_what_was_seen_beats_the_route() -> None:
    """A task-sent of this task told of another queue: that is where it is assumed to be."""
    bench = Bench(expected={"t": "q"})
    bench.feed(sent("u0", queue="p"))
    no_sent(bench)
    assert series(bench) == {("t", "p")}


def test_several_queues_silence_the_route() -> None:
    """A task that is known to use several queues has none that could be assumed."""
    bench = Bench(expected={"t": "q"})
    bench.feed(sent("u0", queue="p"), sent("u1", queue="q"))
    no_sent(bench)
    assert series(bench) == {("t", "p"), ("t", "q"), ("t", "unknown")}


def test_a_late_task_sent_corrects_the_route() -> None:
    """What follows a late task-sent is counted under its queue."""
    bench = Bench(expected={"t": "q"})
    no_sent(bench)
    bench.feed(sent(queue="p", at=0.5), task("succeeded", at=9, runtime=1.0))
    assert bench.counts(queue="p") == {"sent": 1, "succeeded": 1}


def test_without_an_application_nothing_is_assumed() -> None:
    """No route, no guess."""
    bench = Bench()
    no_sent(bench)
    assert series(bench) == {("t", "unknown")}


def test_departures_are_not_guessed_from_routes() -> None:
    """The age of a queue that is told by counting is left out, rather than wrong by a task that took another way."""
    bench = Bench(expected={"t": "q"})
    bench.answer(queues=("q", "p"), events_enabled=True)
    name, labels = "celery_queue_oldest_message_timestamp_seconds", {"queue": "q"}
    bench.sample(q=QueueFacts(exists=True, ready=2, consumers=1))
    bench.sample(q=QueueFacts(exists=True, ready=2, consumers=1))
    assert bench.value(name, **labels) is not None
    no_sent(bench)
    bench.sample(q=QueueFacts(exists=True, ready=2, consumers=1))
    assert bench.value(name, **labels) is None
