"""Tasks under the name of ``shadow``: workers report that name, task-sent the task's own."""

from itertools import permutations
from typing import Any

import pytest

from celery_metrics_exporter.tasks.attribution import WAIT_SECONDS
from tests.pipeline import Bench, received, sent, task

SHADOW = {"task": "shadow", "queue": "q"}
QUEUE_WAIT = "celery_task_queue_wait_seconds"
RETRY: dict[str, Any] = {"exception": "KeyError('x')", "traceback": None}


def runs(worker: str = "w@h", *, after: float = 0.0, **more: Any) -> list[dict[str, Any]]:
    """A worker receives, starts and ends the task, one second after the other."""
    return [
        received(at=after + 1, worker=worker, **{"name": "shadow", **more}),
        task("started", at=after + 2, worker=worker),
        task("succeeded", at=after + 3, worker=worker, runtime=1.0),
    ]


def of_workers(bench: Bench, name: str = "shadow") -> dict[str, float]:
    """What is counted of the events of workers, with the queue that task-sent tells."""
    return {kind: number for kind, number in bench.counts(name).items() if kind != "sent"}


@pytest.mark.parametrize("place", range(4))
def test_the_queue_and_the_wait_are_known(place: int) -> None:
    """Wherever the task-sent comes, what workers tell counts under their name and its queue."""
    bench = Bench()
    events = runs()
    bench.feed(*events[:place], sent(name="real"), *events[place:])
    bench.wait(3)
    assert of_workers(bench) == {"received": 1, "started": 1, "succeeded": 1}
    assert bench.value(QUEUE_WAIT + "_sum", **SHADOW) == 2.0
    assert bench.value("celery_task_in_progress", **SHADOW) == 0
    bench.wait(61)
    assert bench.value("celery_exporter_in_flight_tasks") == 0


@pytest.mark.parametrize("order", list(permutations(range(2))))
def test_each_retry_has_its_wait(order: tuple[int, ...]) -> None:
    """Its task-sent has the task's own name again, and its parent may be another task."""
    for parent in ("u", "another"):
        bench = Bench()
        again: dict[str, Any] = {"retries": 1, "parent_id": parent}
        first = None if parent == "u" else parent
        bench.feed(sent(name="real", parent_id=first), *runs(parent_id=first)[:2])
        bench.feed(task("retried", at=3.0, **RETRY))
        delivery, *rest = runs(after=6.0, **again)
        publication = sent(at=4.0, name="real", **again)
        bench.feed(*((publication, delivery)[place] for place in order), *rest)
        bench.wait(3)
        assert of_workers(bench) == {"received": 2, "started": 2, "retried": 1, "succeeded": 1}
        assert bench.value(QUEUE_WAIT + "_sum", **SHADOW) == 2.0 + 4.0


def test_a_message_that_is_delivered_again() -> None:
    """To the same worker and to another one, it has the same name."""
    bench = Bench()
    bench.feed(sent(name="real"), *runs()[:2], task("rejected", at=3.0, requeue=True))
    bench.feed(*runs(after=3.0), *runs("x@h", after=5.0))
    bench.wait(3)
    assert of_workers(bench) == {"received": 3, "started": 3, "rejected true": 1, "succeeded": 2}
    assert bench.value(QUEUE_WAIT + "_sum", **SHADOW) == 2.0 + 5.0 + 7.0


@pytest.mark.parametrize("order", list(permutations(range(2))))
def test_a_replacement_with_a_shadow(order: tuple[int, ...]) -> None:
    """It is told by its parent, and ends what it replaces, which has a shadow too."""
    bench = Bench()
    again: dict[str, Any] = {"parent_id": "u"}
    bench.feed(sent(name="real"), *runs()[:2])
    delivery, *rest = runs("x@h", after=4.0, name="shadow2", **again)
    publication = sent(at=4.0, name="real2", queue="q2", **again)
    bench.feed(*((publication, delivery)[place] for place in order), *rest)
    bench.wait(3)
    assert of_workers(bench) == {"received": 1, "started": 1}
    assert bench.counts("shadow2", "q2").items() >= {"received": 1, "started": 1, "succeeded": 1}.items()
    assert bench.value("celery_task_in_progress", **SHADOW) == 0


def test_two_publications_under_one_id_and_two_shadows() -> None:
    """Neither replaces the other."""
    bench = Bench()
    bench.feed(sent(name="real"), *runs(name="one")[:2])
    bench.feed(sent(at=3.0, name="real"), *runs("x@h", after=3.0, name="two"), runs(name="one")[2])
    bench.wait(3)
    for name in ("one", "two"):
        assert of_workers(bench, name) == {"received": 1, "started": 1, "succeeded": 1}
        assert bench.value(QUEUE_WAIT + "_sum", task=name, queue="q") == 2.0


@pytest.mark.parametrize("order", list(permutations(range(4))), ids=str)
def test_one_name_throughout(order: tuple[int, ...]) -> None:
    """Whatever comes first, the task-sent counts under the name that workers report."""
    bench = Bench()
    life = [sent(name="real"), *runs()]
    bench.feed(*(life[place] for place in order))
    bench.wait(WAIT_SECONDS)
    assert bench.counts("shadow")["received"] == 1
    if order.index(1) < min(order.index(2), order.index(3)):  # no earlier event of a worker names it
        assert bench.counts("shadow") == {"sent": 1, "received": 1, "started": 1, "succeeded": 1}
        assert bench.counts("real") == {}


def test_a_shadow_that_waits_for_long() -> None:
    """Its task-sent counts under the real name, until workers have been seen to report the shadow."""
    bench = Bench()
    for uuid in ("first", "second"):
        bench.feed(sent(uuid, name="real"))
        bench.wait(WAIT_SECONDS)
        bench.feed(received(uuid, 1.0, name="shadow"), task("started", uuid, 2.0))
    assert bench.counts("real") == {"sent": 1}
    assert bench.counts("shadow") == {"sent": 1, "received": 2, "started": 2}
