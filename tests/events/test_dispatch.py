"""Every event reaches its handlers or a counter, and nothing stops the stream."""

import json
from collections.abc import Sequence

import pytest

from celery_metrics_exporter.clock import BatchClock
from celery_metrics_exporter.events import types as events
from celery_metrics_exporter.events.dispatch import Dispatcher
from celery_metrics_exporter.events.handlers import HandlerTable
from celery_metrics_exporter.tasks.attribution import WAIT_SECONDS
from tests.pipeline import T0, Bench, FakeTime, received, sent, task, worker_event

DROPPED = "celery_exporter_events_dropped_total"
EVENTS = "celery_exporter_events_total"


class Drops:
    """Counts drops by reason."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def dropped(self, reason: str) -> None:
        """Count one."""
        self.reasons.append(reason)


def wire(content: object) -> bytes:
    """A body."""
    return json.dumps(content).encode()


def test_handlers_get_their_type_in_order() -> None:
    """Each handler sees the events of its type, those of one type in the order of registration."""
    seen: list[str] = []
    table = HandlerTable()
    table.on(events.TaskStarted, lambda event: seen.append(f"first {event.uuid}"))
    table.on(events.TaskStarted, lambda event: seen.append(f"second {event.uuid}"))
    table.on(events.UnknownEvent, lambda event: seen.append(event.type))
    Dispatcher(table, Drops(), BatchClock(FakeTime().clock())).feed(
        wire([task("started", "a"), received("b"), {"type": "custom"}])
    )
    assert seen == ["first a", "second a", "custom"]


def test_a_broken_handler_costs_one_event(caplog: pytest.LogCaptureFixture) -> None:
    """A handler that raises is counted and logged once a minute; other handlers and events go on."""
    seen: list[str] = []

    def broken(event: events.TaskStarted) -> None:
        raise LookupError(event.uuid)

    drops, time, table = Drops(), FakeTime(), HandlerTable()
    table.on(events.TaskStarted, broken)
    table.on(events.TaskStarted, lambda event: seen.append(event.uuid))
    dispatcher = Dispatcher(table, drops, BatchClock(time.clock()))
    for _ in range(100):
        dispatcher.feed(wire(task("started")))
    assert drops.reasons == ["handler_error"] * 100
    assert seen == ["u"] * 100
    assert len(caplog.records) == 1
    time.elapsed += 61
    dispatcher.feed(wire(task("started")))
    assert len(caplog.records) == 2


def test_a_broken_batch_handler_costs_itself(caplog: pytest.LogCaptureFixture) -> None:
    """One that raises when it is told of events together is counted and logged; others are told all the same."""
    seen: list[int] = []

    def broken(batch: Sequence[events.Event]) -> None:
        raise LookupError(batch[0].timestamp)

    drops, table = Drops(), HandlerTable()
    table.on_batch(broken)
    table.on_batch(lambda batch: seen.append(len(batch)))
    dispatcher = Dispatcher(table, drops, BatchClock(FakeTime().clock()))
    dispatcher.feed_all([wire(task("started", "a")), wire([task("started", "b"), received("c")])])
    dispatcher.feed(b"nonsense")
    assert seen == [3]
    assert drops.reasons == ["handler_error", "undecodable"]
    assert [record.getMessage() for record in caplog.records] == [
        "event dropped: handler_error",
        "event dropped: undecodable",
    ]


def test_sweeps_are_handled_in_order() -> None:
    """Each handler of sweeps has its turn, under the lock of the event state, at the time of the sweep."""
    seen: list[tuple[str, float]] = []
    time, table = FakeTime(), HandlerTable()
    now = BatchClock(time.clock())
    table.on_sweep(lambda: seen.append(("first", now.wall)))
    table.on_sweep(lambda: seen.append(("second", now.wall)))
    dispatcher = Dispatcher(table, Drops(), now)
    time.elapsed = 5
    dispatcher.sweep()
    assert seen == [("first", T0 + 5), ("second", T0 + 5)]


def test_bodies_that_are_no_events_are_counted() -> None:
    """What is no event, or could not even be read by the receiver, is counted by reason; the others count."""
    bench = Bench()
    for body in (
        b"nonsense",
        b"null",
        b"7",
        b'"text"',
        b"[]",
        b"{}",
        wire([sent(), None, {"type": 5}, received()]),
    ):
        bench.pipeline.dispatcher.feed(body)
    bench.pipeline.dispatcher.drop("undecodable", "application/x-python-serialize refused")
    assert bench.value(DROPPED, reason="undecodable") == 2
    assert bench.value(DROPPED, reason="invalid") == 6
    assert bench.value(DROPPED, reason="handler_error") == 0
    assert bench.counts() == {"sent": 1, "received": 1}


def test_unknown_types_are_counted_as_other() -> None:
    """Custom events and those of gossip or the future are counted, known types each by name."""
    bench = Bench()
    bench.feed(
        {"type": "order-paid", "uuid": "u"}, {"type": "worker-elect", "hostname": "w@h"}, sent(), [sent("v")]
    )
    assert bench.value(EVENTS, event="other") == 2
    assert bench.value(EVENTS, event="task-sent") == 2
    assert bench.value(EVENTS, event="worker-offline") == 0


def test_lag_and_last_event() -> None:
    """The lag of an event is its age at receipt, never negative; the last receipt is shown."""
    bench = Bench()
    assert bench.value("celery_exporter_last_event_timestamp_seconds") is None
    bench.time.elapsed = 10
    bench.feed(sent(at=7.0), sent("v", at=50.0))
    assert bench.value("celery_exporter_event_lag_seconds_sum") == 3.0
    assert bench.value("celery_exporter_event_lag_seconds_count") == 2
    assert bench.value("celery_exporter_last_event_timestamp_seconds") == 1_700_000_010


RETIMED = "celery_exporter_events_retimed_total"
DAY = 24 * 3600.0


@pytest.mark.parametrize("off", [-29 * DAY, -12 * 3600.0, 0.0, 12 * 3600.0, 23 * 3600.0])
def test_clocks_that_are_hours_off(off: float) -> None:
    """Late events and mistaken time zones keep their times; only gauges of the past never show what is to come."""
    bench = Bench()
    bench.feed(
        sent(at=off),
        received(at=off + 1),
        task("started", at=off + 3),
        task("succeeded", at=off + 4, runtime=1),
    )
    assert bench.counts() == {"sent": 1, "received": 1, "started": 1, "succeeded": 1}
    assert bench.value(RETIMED) == 0
    assert bench.value("celery_task_queue_wait_seconds_sum", task="t", queue="q") == 3
    assert bench.value("celery_task_last_succeeded_timestamp_seconds", task="t", queue="q") == T0 + min(
        off + 4, 0
    )


@pytest.mark.parametrize("off", [-T0 + 1, -T0 + 86_400, -10 * 365 * DAY, -31 * DAY, 25 * 3600.0, 8e9])
def test_times_that_cannot_be(off: float, caplog: pytest.LogCaptureFixture) -> None:
    """Events of 1970 or of years to come count as of their receipt, poison nothing, and the worker's offset tells."""
    bench = Bench()
    heartbeats = [worker_event("heartbeat", at=off + 2 * n) for n in range(3)]
    bench.feed(heartbeats, [sent(at=off), received(at=off + 1), task("started", at=off + 3)])
    bench.time.elapsed = 5
    oldest = bench.value("celery_task_oldest_running_timestamp_seconds", task="t", queue="q")
    assert oldest == pytest.approx(T0, abs=0.001)
    bench.feed(task("failed", at=off + 4, exception="KeyError()"))
    assert bench.counts() == {"sent": 1, "received": 1, "started": 1, "failed": 1}
    assert bench.value(RETIMED) == 7
    assert set(bench.samples(DROPPED).values()) == {0.0}
    for histogram in ("task_queue_wait", "task_prefetch_wait", "exporter_event_lag"):
        waits = [
            value for name, value in bench.samples(f"celery_{histogram}_seconds").items() if "_sum" in name
        ]
        assert sum(waits) < 0.001
    last = bench.value("celery_task_last_failed_timestamp_seconds", task="t", queue="q")
    assert last == pytest.approx(T0 + 5, abs=0.001)
    offset = bench.value("celery_worker_clock_offset_seconds", worker="w@h")
    assert offset == pytest.approx(off, abs=10)
    (record,) = caplog.records
    assert "w@h" in str(vars(record)["fields"])
    bench.time.elapsed = 20
    bench.feed(worker_event("heartbeat", at=20))
    assert bench.value("celery_worker_clock_offset_seconds", worker="w@h") == 0


def test_attempts_stay_apart_without_times() -> None:
    """Several starts of one task in one message, all at an impossible time, are not taken for repetitions."""
    bench = Bench()
    events_of_1970 = [task(kind, at=n - T0 + 1) for n, kind in enumerate(("started", "retried") * 5)]
    bench.feed(sent(), events_of_1970)
    bench.wait(3)
    assert bench.counts() == {"sent": 1, "started": 5, "retried": 5}


def test_a_line_of_log_is_short_and_plain(caplog: pytest.LogCaptureFixture) -> None:
    """Of a hostile message the log shows the beginning, escaped, and once a minute for each reason."""
    bench = Bench()
    feed = bench.pipeline.dispatcher.feed
    hostile = b'{"type": "task-sent", "\x1b[31m\n\xff\xfe\xed\xa0\x80": "' + b"x" * 1_000_000 + b"SECRET"
    for _ in range(100):
        feed(hostile)
        feed(wire({"type": "task-sent", "uuid": "\ud800\x1b" * 100}))
        bench.pipeline.dispatcher.drop("oversized", "\x1b\ud800" * 1000)
    assert len(caplog.records) == 3
    for record in caplog.records:
        line = f"{record.getMessage()} {vars(record).get('fields')}"
        assert len(line) < 1000
        assert line.isascii()
        assert line.isprintable()
        assert "SECRET" not in line


def test_a_bug_in_decoding_costs_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is raised where nothing should be, the receiver never sees it."""
    bench = Bench()
    monkeypatch.setattr("celery_metrics_exporter.events.dispatch.decode", lambda _body: 1 // 0)
    bench.feed(sent())
    monkeypatch.undo()
    bench.feed(received())
    assert bench.value(DROPPED, reason="handler_error") == 1
    bench.wait(WAIT_SECONDS)
    assert bench.counts(queue="unknown") == {"received": 1}
