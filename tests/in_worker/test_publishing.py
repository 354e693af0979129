"""What a publishing process tells by itself: the stamps of its messages, and how many it published."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, Task, signals
from kombu import Exchange, Queue
from kombu.common import Broadcast
from kombu.exceptions import EncodeError
from prometheus_client import CollectorRegistry, generate_latest

from celery_metrics_exporter.in_worker.publishing import (
    PUBLISHED_HEADER,
    RETRIES_HEADER,
    publisher,
    stamp_publications,
)
from celery_metrics_exporter.in_worker.request_queue import published_at
from tests.in_worker.deliveries import TASK, application, consuming, kept_signals
from tests.pipeline import Bench

SHOP = Exchange("shop", "topic")
FAN = Exchange("fan", "fanout")
QUEUES = (
    Queue("celery", Exchange("celery"), "celery"),
    Queue("video", SHOP, "video.#"),
    Queue("paper", SHOP, "paper.*"),
    Queue("folder", SHOP, "paper.#"),
    Queue("left", FAN),
    Queue("right", FAN),
    Broadcast("news"),
)


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """Each test begins without a stamp, which others may have left, and leaves Celery's signals as they were."""
    with kept_signals():
        signals.before_task_publish.disconnect(dispatch_uid="celery_exporter_stamp")
        yield


def sent(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
    """The counter's values by (task, queue)."""
    return {
        (sample.labels["task"], sample.labels["queue"]): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "celery_task_sent_total"
    }


@pytest.mark.parametrize("protocol", [1, 2])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"countdown": 5},
        {"priority": 3},
        {"headers": {"mine": 1}},
        {"headers": {PUBLISHED_HEADER: 12.0, RETRIES_HEADER: 7}},
        {"compression": "zlib"},
        {"retries": 2},
        {"retries": 2, "headers": {PUBLISHED_HEADER: 12.0, RETRIES_HEADER: 1}},
    ],
    ids=str,
)
def test_a_stamp(protocol: int, options: dict[str, Any]) -> None:
    """Each message has the time of its own publication, whatever its headers were, by both protocols."""
    app = application(task_protocol=protocol)
    stamp_publications(app)
    stamp_publications(app)
    with consuming(app) as worker:
        before = time.time()
        app.send_task(TASK, **options)
        after = time.time()
        request = worker.next()
        published = published_at(request)
        assert published is not None
        assert before <= published <= after
        assert (RETRIES_HEADER in request.message.headers) is ("retries" in options)
        if "mine" in options.get("headers", {}):
            assert request.message.headers["mine"] == 1


@pytest.mark.parametrize("stamps", [True, False], ids=["stamps", "only copies"])
@pytest.mark.parametrize("protocol", [1, 2])
def test_a_retry(stamps: bool, protocol: int) -> None:
    """Celery copies headers to a retry: it has a stamp of its own, or none that counts."""
    app = application(task_protocol=protocol)

    def fickle(self: Task) -> None:
        raise self.retry(countdown=0)

    app.task(name="fickle", bind=True, shared=False)(fickle)
    stamp_publications(app)
    with consuming(app) as worker:
        app.send_task("fickle")
        request = worker.next()
        first = published_at(request)
        if not stamps:
            signals.before_task_publish.disconnect(dispatch_uid="celery_exporter_stamp")
        app.tasks["fickle"].request_stack.push(context(app, request))
        with pytest.raises(Exception, match="Retry"):
            app.tasks["fickle"].run()
        request = worker.next()
        assert request.request_dict["retries"] == 1
        assert request.message.headers[PUBLISHED_HEADER] is not None
        again = published_at(request)
        assert (again is not None and first is not None and again > first) if stamps else again is None


def context(app: Celery, request: Any) -> Any:
    """The context in which a worker runs the task of a request (``celery/worker/request.py``, ``Request._context``)."""
    made = request._context
    made.update(called_directly=False, is_eager=False)
    return made


@pytest.mark.parametrize(
    ("publication", "queue"),
    [
        ({}, "celery"),
        ({"queue": "made-up"}, "made-up"),
        ({"queue": "video"}, "video"),
        ({"exchange": SHOP, "routing_key": "video.x"}, "video"),
        ({"exchange": "shop", "routing_key": "video.x"}, "video"),
        ({"queue": "paper"}, "paper"),
        ({"queue": "left"}, "left"),
        ({"exchange": SHOP, "routing_key": "paper.x"}, "unknown"),  # paper and folder
        ({"exchange": FAN, "routing_key": "any"}, "unknown"),  # left and right
        ({"queue": "news"}, "bcast.*"),
        ({"exchange": "elsewhere", "routing_key": "x"}, "unknown"),
        ({"queue": Queue("own", Exchange("own", "topic"), "own.#")}, "own"),
        ({"queue": "w@h.dq2"}, "*.dq2"),
    ],
)
def test_what_is_counted(publication: dict[str, Any], queue: str) -> None:
    """A publication is counted by the exporter's labels: the queue that was named, else the one behind the exchange."""
    app, registry = application(task_queues=QUEUES), CollectorRegistry()
    publisher(app, registry=registry)
    for _ in range(2):
        app.send_task(TASK, **publication)
    assert sent(registry) == {(TASK, queue): 2}
    app.close()


def test_the_same_family() -> None:
    """Name, HELP, type and labels are those of the exporter."""
    app, registry = application(), CollectorRegistry()
    publisher(app, registry=registry)
    app.send_task(TASK)
    lines = [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]
    exporter = Bench()
    exporter.feed(
        {"type": "task-sent", "uuid": "u", "name": TASK, "queue": "celery", "timestamp": time.time()}
    )
    shown = exporter.text().splitlines()
    assert lines[:2] == [line for line in shown if line.startswith("#") and "celery_task_sent_total" in line]
    assert lines[2:] == [f'celery_task_sent_total{{queue="celery",task="{TASK}"}} 1.0']
    app.close()


def test_the_name_is_the_one_that_workers_report() -> None:
    """A shadow takes the place of the name, as in the worker's own metrics."""
    app, registry = application(), CollectorRegistry()
    publisher(app, registry=registry)
    app.send_task(TASK, shadow="other")
    app.send_task("not.registered.here")
    assert sent(registry) == {("other", "celery"): 1, ("not.registered.here", "celery"): 1}
    app.close()


def test_what_was_not_published_is_not_counted() -> None:
    """A message that the broker did not take does not count; the next one does."""
    app, registry = application(task_publish_retry=False), CollectorRegistry()
    publisher(app, registry=registry)
    with pytest.raises(EncodeError):
        app.send_task(TASK, args=(object(),), serializer="json", argsrepr="", kwargsrepr="")
    assert sent(registry) == {}
    app.send_task(TASK)
    assert sent(registry) == {(TASK, "celery"): 1}
    app.close()


def test_calls_that_are_repeated() -> None:
    """One registry has one counter, whichever applications publish; another registry has its own."""
    app, other = application(task_queues=QUEUES), application()
    first, second = CollectorRegistry(), CollectorRegistry()
    for _ in range(2):
        publisher(other, registry=first)
        publisher(app, registry=first)
    publisher(app, registry=second)
    app.send_task(TASK, exchange=SHOP, routing_key="video.x")
    other.send_task(TASK)
    assert sent(first) == sent(second) == {(TASK, "video"): 1, (TASK, "celery"): 1}
    app.close()
    other.close()


@pytest.mark.parametrize("stamp", [True, False])
def test_stamping_can_be_left_out(stamp: bool) -> None:
    """A publisher stamps too, unless it is told not to."""
    app = application()
    publisher(app, registry=CollectorRegistry(), stamp=stamp)
    with consuming(app) as worker:
        app.send_task(TASK)
        assert (PUBLISHED_HEADER in worker.next().message.headers) is stamp


def test_label_sets_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """Names that clients make up end in ``other``, which the log says once."""
    app, registry = application(), CollectorRegistry()
    publisher(app, registry=registry, max_series=3)
    with caplog.at_level(logging.WARNING):
        for number in range(10):
            app.send_task(f"task-{number}")
            app.send_task("task-0")
    app.close()
    found = sent(registry)
    assert found == {
        ("task-0", "celery"): 11,
        ("task-1", "celery"): 1,
        ("task-2", "celery"): 1,
        ("other", "other"): 7,
    }
    assert [record.message for record in caplog.records].count(
        "too many label sets: further ones are counted as other"
    ) == 1


def test_names_that_would_break_a_page() -> None:
    """Labels are sanitised as everywhere."""
    app, registry = application(), CollectorRegistry()
    publisher(app, registry=registry)
    app.send_task("x" * 1000, queue="line\nbreak")
    ((task, queue),) = sent(registry)
    assert len(task) == 200
    assert "\n" not in queue
    app.close()


def test_destinations_that_are_made_up() -> None:
    """Routing keys without end do not grow memory; queues that are declared later are found."""
    app, registry = application(task_queues=QUEUES[:2]), CollectorRegistry()
    publisher(app, registry=registry)
    app.send_task(TASK, exchange=SHOP, routing_key="late")
    app.amqp.queues.add(Queue("late", SHOP, "late"))
    app.send_task(TASK, exchange=SHOP, routing_key="late")
    for number in range(1200):
        app.send_task(TASK, exchange=SHOP, routing_key=f"video.{number}")
    assert sent(registry) == {(TASK, "video"): 1200, (TASK, "unknown"): 1, (TASK, "late"): 1}
    app.close()


def test_threads() -> None:
    """Publications of many threads are all counted, each with its own queue."""
    app, registry = application(task_queues=QUEUES), CollectorRegistry()
    publisher(app, registry=registry)
    queues = ["video", "paper", "folder", "left", "right", "celery"]

    def publish(queue: str) -> None:
        for _ in range(50):
            app.send_task(TASK, queue=queue)

    threads = [threading.Thread(target=publish, args=(queue,)) for queue in queues]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sent(registry) == {(TASK, queue): 50 for queue in queues}
    app.close()


def test_a_broken_counter_does_not_stop_a_publication() -> None:
    """Whatever fails here, the message is on its way."""
    app, registry = application(), CollectorRegistry()
    publisher(object(), registry=registry)  # which has no queues
    with consuming(app) as worker:
        app.send_task(TASK)
        assert worker.next()
    assert sent(registry) == {}


def test_who_only_stamps_loads_nothing() -> None:
    """Every process that imports a project's celery.py pays for what is imported here: nothing beyond Celery."""
    script = (
        "import sys; from celery import signals; before = set(sys.modules); "
        "from celery_metrics_exporter.in_worker.publishing import stamp_publications; stamp_publications(None); "
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before} & {'msgspec', 'prometheus_client'})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
