"""Tasks of the process's own worker, whose task-received tells the queue and the time of the publication."""

from __future__ import annotations

from typing import Any

import pytest

from celery_metrics_exporter.events.types import TaskReceived
from tests.pipeline import T0, Bench, received, sent, task

WAIT = "celery_task_queue_wait_seconds"


def receive(
    bench: Bench,
    at: float = 1.0,
    *,
    queue: str | None = "q",
    published: float | None = 0.0,
    uuid: str = "u",
    name: str = "t",
    **more: Any,
) -> None:
    """Let the worker in this process receive a task; times are seconds after T0."""
    published = None if published is None else T0 + published
    event = TaskReceived(
        uuid, T0 + at, "w@h", name=name, **{"retries": 0, **more}, queue=queue, published=published
    )
    with bench.pipeline.dispatcher.writing():
        bench.pipeline._tasks.on_received(event)


def waits(bench: Bench, queue: str = "q", name: str = "t") -> tuple[float | None, float | None]:
    """Number and sum of the queue waits."""
    return (
        bench.value(f"{WAIT}_count", task=name, queue=queue),
        bench.value(f"{WAIT}_sum", task=name, queue=queue),
    )


def test_without_task_sent() -> None:
    """The queue is certain and the wait is known at once; nothing is counted as sent."""
    bench = Bench()
    receive(bench, 1)
    assert bench.counts() == {"received": 1}
    assert waits(bench) == (0, 0)  # shown before its first value, so that no increase is missed
    bench.feed(task("started", at=3), task("succeeded", at=4, runtime=1.0))
    assert bench.counts() == {"received": 1, "started": 1, "succeeded": 1}
    assert waits(bench) == (1, 3)
    assert bench.value("celery_task_sent_total", task="t", queue="q") == 0
    assert bench.value("celery_task_prefetch_wait_seconds_sum", task="t", queue="q") == 2


def test_an_eta() -> None:
    """A task is due at its eta, if that is later than its publication."""
    bench = Bench()
    receive(bench, 1, uuid="later", eta="2023-11-14T22:13:30+00:00")  # T0 + 10
    receive(bench, 1, uuid="past", eta="2023-11-14T22:13:10+00:00")
    bench.feed(task("started", "later", at=10.5), task("started", "past", at=2))
    assert waits(bench) == (2, 2.5)


def test_clocks_that_differ() -> None:
    """A publisher's clock may be ahead: a wait is never negative."""
    bench = Bench()
    receive(bench, 1, published=5)
    bench.feed(task("started", at=2))
    assert waits(bench) == (1, 0)


def test_a_retry_and_a_replacement() -> None:
    """Each publication under the uuid has its own wait and its own queue."""
    bench = Bench()
    receive(bench, 1)
    bench.feed(task("started", at=2), task("retried", at=3))
    receive(bench, 4, published=3, retries=1, parent_id="u", queue="again")
    bench.feed(task("started", at=7))
    receive(bench, 9, published=8, parent_id="u", name="other", queue="third")
    bench.feed(task("started", at=13), task("succeeded", at=14, runtime=1.0))
    assert waits(bench) == (1, 2)
    assert waits(bench, "again") == (1, 4)
    assert waits(bench, "third", "other") == (1, 5)
    assert bench.counts(queue="again") == {"received": 1, "started": 1}
    assert bench.counts("other", "third") == {"received": 1, "started": 1, "succeeded": 1}
    bench.wait(1)
    assert bench.value("celery_task_in_progress", task="t", queue="again") == 0


def test_a_message_that_is_delivered_again() -> None:
    """Its wait goes on from its publication, whether or not the first execution has ended."""
    bench = Bench()
    receive(bench, 1)
    bench.feed(task("started", at=2))
    receive(bench, 4)
    bench.feed(
        task("started", at=5), task("succeeded", at=6, runtime=1.0), task("succeeded", at=7, runtime=1.0)
    )
    assert bench.counts() == {"received": 2, "started": 2, "succeeded": 2}
    assert waits(bench) == (2, 7)


def test_one_publication_in_two_queues_of_the_worker() -> None:
    """What an exchange put into two queues runs twice, each time under its own queue."""
    bench = Bench()
    receive(bench, 1, queue="left")
    receive(bench, 2, queue="right")
    bench.feed(task("started", at=3), task("started", at=4))
    bench.feed(task("succeeded", at=5, runtime=1.0), task("succeeded", at=6, runtime=1.0))
    for queue, wait in (("left", 3), ("right", 4)):
        assert bench.counts(queue=queue) == {"received": 1, "started": 1, "succeeded": 1}
        assert waits(bench, queue) == (1, wait)
        assert bench.value("celery_task_in_progress", task="t", queue=queue) == 0


def test_a_redelivery_of_one_of_two_queues() -> None:
    """A second message of one of them is of that one."""
    bench = Bench()
    for at, queue in ((1, "left"), (2, "right"), (3, "left")):
        receive(bench, at, queue=queue)
    assert bench.counts(queue="left") == {"received": 2}
    assert bench.counts(queue="right") == {"received": 1}
    assert bench.value("celery_exporter_in_flight_tasks") == 1


@pytest.mark.parametrize("name", ["bcast.{}", "letters.{}"])
def test_queues_of_one_process_each(name: str) -> None:
    """They have one label, and a message of one of them that comes again is the same."""
    bench = Bench()
    queue = name.format("a9b2f0a5-d9cb-469f-a165-70867728950e")
    receive(bench, 1, queue=queue)
    receive(bench, 2, queue=queue)
    bench.feed(task("started", at=3), task("succeeded", at=4, runtime=1.0))
    assert bench.counts(queue=name.format("").rstrip(".") + ".*") == {
        "received": 2,
        "started": 1,
        "succeeded": 1,
    }


@pytest.mark.parametrize("late", [False, True], ids=["first", "late"])
@pytest.mark.parametrize(
    "publication",
    [
        {"queue": "q"},
        {"queue": "claimed"},
        {"queue": None, "exchange": "x", "routing_key": "k"},
        {"queue": "claimed", "exchange": "x", "routing_key": "k"},
        {"queue": "claimed", "exchange": "", "routing_key": "elsewhere"},
    ],
)
def test_beside_task_sent(late: bool, publication: dict[str, Any]) -> None:
    """A task-sent, early or late, counts once and observes no second wait; the worker's own queue stays right."""
    bench = Bench()
    told = sent(at=0, exchange="", routing_key="q") | publication
    if not late:
        bench.feed(told)
    receive(bench, 1)
    bench.feed(task("started", at=3))
    if late:
        bench.feed(told)
    bench.feed(task("succeeded", at=4, runtime=1.0))
    bench.wait(3)
    assert bench.counts() == {"sent": 1, "received": 1, "started": 1, "succeeded": 1}
    assert waits(bench) == (1, 3)
    assert bench.samples("celery_task_sent_total") == {'celery_task_sent_total{queue="q",task="t"}': 1}


def test_a_queue_without_a_stamp_beside_task_sent() -> None:
    """The worker's own queue takes the place of the one that the client believed."""
    bench = Bench()
    bench.feed(sent(at=0, queue="claimed"))
    receive(bench, 1, published=None)
    bench.feed(task("started", at=3))
    assert bench.counts() == {"sent": 1, "received": 1, "started": 1}
    assert waits(bench) == (1, 3)


def test_a_queue_that_the_worker_is_not_known_to_consume() -> None:
    """What its answers told before does not matter."""
    bench = Bench()
    bench.answer(queues=("other",))
    bench.feed(sent(at=0, exchange="x", routing_key="k"))
    receive(bench, 1)
    assert bench.counts() == {"sent": 1, "received": 1}


def test_a_second_start_without_a_delivery() -> None:
    """It is of the same message: the same queue, the same publication, even if a late task-sent names another queue."""
    bench = Bench()
    receive(bench, 1)
    bench.feed(task("started", at=2), task("started", at=5))
    assert waits(bench) == (2, 7)
    bench.feed(sent(at=0, queue="claimed"))
    bench.feed(task("succeeded", at=6, runtime=1.0), task("succeeded", at=7, runtime=1.0))
    assert bench.counts() == {"sent": 1, "received": 1, "started": 2, "succeeded": 2}
    assert waits(bench) == (2, 7)


def test_an_ambiguous_queue() -> None:
    """It is unknown, or what follows from elsewhere as ever; the wait is known all the same."""
    bench = Bench()
    receive(bench, 1, queue=None)
    bench.feed(task("started", at=3), task("succeeded", at=4, runtime=1.0))
    bench.wait(3)
    assert bench.counts(queue="unknown") == {"received": 1, "started": 1, "succeeded": 1}
    assert waits(bench, "unknown") == (1, 3)


def test_a_message_without_a_stamp() -> None:
    """The queue is certain, the wait is not known, and its histogram is not shown."""
    bench = Bench()
    receive(bench, 1, published=None)
    bench.feed(task("started", at=3))
    assert bench.counts() == {"received": 1, "started": 1}
    assert waits(bench) == (None, None)


def test_started_before_received() -> None:
    """The wait is observed once, when its publication becomes known, and not again by a late task-sent."""
    bench = Bench()
    bench.feed(task("started", at=3))
    receive(bench, 1)
    assert waits(bench) == (1, 3)
    bench.feed(sent(at=0))
    assert waits(bench) == (1, 3)
    assert bench.counts() == {"sent": 1, "received": 1, "started": 1}


def test_a_full_table_makes_room() -> None:
    """Tasks that are received and never end are bounded."""
    bench = Bench(max_in_flight=100)
    for number in range(1000):
        receive(bench, 1 + number / 1000, uuid=f"u{number}")
    assert bench.counts() == {"received": 1000}
    assert (bench.value("celery_exporter_in_flight_tasks") or 0) <= 100


@pytest.mark.parametrize("field", ["queue", "published"])
@pytest.mark.parametrize("value", ["stolen", 1_700_000_000.0, 5, None, {}, []])
def test_events_of_the_broker_cannot_claim_them(field: str, value: Any) -> None:
    """A task-received with such fields is one without them."""
    bench = Bench()
    bench.feed(received(at=1, **{field: value}), [received("v", at=1, **{field: value})])
    bench.feed(task("started", at=2), task("started", "v", at=2))
    bench.wait(3)
    assert bench.counts(queue="unknown") == {"received": 2, "started": 2}
    assert waits(bench, "unknown") == (None, None)
    assert "stolen" not in bench.text()
