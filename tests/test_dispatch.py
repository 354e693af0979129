"""Every event reaches its handlers or a counter, and nothing stops the stream."""

import json

import pytest

from exporter import events
from exporter.dispatch import Dispatcher
from tests.pipeline import Bench, FakeTime, received, sent, task

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
    dispatcher = Dispatcher(Drops(), FakeTime().clock())
    dispatcher.on(events.TaskStarted, lambda event: seen.append(f"first {event.uuid}"))
    dispatcher.on(events.TaskStarted, lambda event: seen.append(f"second {event.uuid}"))
    dispatcher.on(events.UnknownEvent, lambda event: seen.append(event.type))
    dispatcher.feed(wire([task("started", "a"), received("b"), {"type": "custom"}]))
    assert seen == ["first a", "second a", "custom"]


def test_a_broken_handler_costs_one_event(caplog: pytest.LogCaptureFixture) -> None:
    """A handler that raises is counted and logged once a minute; other handlers and events go on."""
    seen: list[str] = []

    def broken(event: events.TaskStarted) -> None:
        raise LookupError(event.uuid)

    drops, time = Drops(), FakeTime()
    dispatcher = Dispatcher(drops, time.clock())
    dispatcher.on(events.TaskStarted, broken)
    dispatcher.on(events.TaskStarted, lambda event: seen.append(event.uuid))
    for _ in range(100):
        dispatcher.feed(wire(task("started")))
    assert drops.reasons == ["handler_error"] * 100
    assert seen == ["u"] * 100
    assert len(caplog.records) == 1
    time.elapsed += 61
    dispatcher.feed(wire(task("started")))
    assert len(caplog.records) == 2


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
