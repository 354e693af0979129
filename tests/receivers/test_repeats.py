"""Messages that come again after a reconnect are counted once."""

import json
import logging
from dataclasses import dataclass, field

import pytest

from celery_metrics_exporter.receivers.repeats import WithoutRepeats
from tests.integration.receiving import Received
from tests.pipeline import Bench

SPAN = 10


@dataclass(slots=True)
class Rig:
    """A sink without repeats before one that keeps everything."""

    received: Received = field(default_factory=Received)
    sink: WithoutRepeats = field(init=False)

    def __post_init__(self) -> None:
        self.sink = WithoutRepeats(self.received, span=SPAN)

    def feed(self, *numbers: int) -> None:
        """Feed bodies that hold these numbers, in one read."""
        self.sink.feed_all([b"%d" % number for number in numbers])

    @property
    def numbers(self) -> list[int]:
        """What came through."""
        return [int(body) for body in self.received.bodies]


def test_what_was_not_acknowledged_comes_again() -> None:
    """Of the messages that a broker delivers anew, only those are fed that were not before."""
    rig = Rig()
    rig.feed(1, 2, 3)
    rig.feed(4)
    rig.feed(2, 3, 4, 5, 6)
    assert rig.numbers == [1, 2, 3, 4, 5, 6]


def test_a_batch_may_hold_a_message_twice() -> None:
    """A message that comes twice in one read, or alone, is fed once."""
    rig = Rig()
    rig.feed(1, 1)
    rig.sink.feed(b"1")
    assert rig.numbers == [1]


def test_all_that_can_come_again_is_known() -> None:
    """As many messages as a broker delivers ahead are known, wherever in the stream they stand."""
    rig = Rig()
    for start in range(3 * SPAN):
        rig.feed(start)
        rig.feed(*range(max(0, start - SPAN + 1), start + 1))
    assert rig.numbers == list(range(3 * SPAN))


def test_memory_is_bounded() -> None:
    """What is far behind is forgotten: the same message counts again then."""
    rig = Rig()
    rig.feed(*range(3 * SPAN))
    rig.feed(0)
    assert rig.numbers[-1] == 0


def test_losses_are_passed_on() -> None:
    """A message without a body is reported each time."""
    rig = Rig()
    rig.sink.drop("oversized", "more than 16 MB")
    rig.sink.drop("oversized", "more than 16 MB")
    assert rig.received.reasons == ["oversized", "oversized"]


def test_events_are_counted_once(caplog: pytest.LogCaptureFixture) -> None:
    """A list of events that comes again leaves the counters as they are, and the log says that it came."""
    caplog.set_level(logging.INFO)
    bench = Bench()
    sink = WithoutRepeats(bench.pipeline.dispatcher, span=SPAN)
    now = bench.time.clock().wall()
    body = json.dumps(
        [{"type": "task-sent", "uuid": str(n), "name": "t", "queue": "q", "timestamp": now} for n in range(3)]
    ).encode()
    sink.feed_all([body])
    sink.feed_all([body])
    bench.wait(5)
    assert bench.value("celery_task_sent_total", task="t", queue="q") == 3
    assert [record.getMessage() for record in caplog.records] == ["messages came again that are counted"]
