"""From which queue a request came, and when its message was published."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import pytest
from kombu import Consumer, Exchange, Queue, binding
from kombu.common import Broadcast

from celery_metrics_exporter.in_worker.publishing import PUBLISHED_HEADER, RETRIES_HEADER
from celery_metrics_exporter.in_worker.request_queue import RequestQueues, published_at, trace_of
from tests.in_worker.deliveries import TASK, Consuming, alter, application, consuming

SHOP = Exchange("shop", "topic")
PLAIN = Exchange("plain", "direct")
NEWS = Exchange("news", "fanout")
QUEUES = (
    Queue("celery", Exchange("celery"), "celery"),
    Queue("video", SHOP, "video.#"),
    Queue("image", SHOP, "image.*"),
    Queue("exact", SHOP, "video"),
    Queue("both", [binding(SHOP, "paper"), binding(PLAIN, "paper")]),
    Queue("left", PLAIN, "hand"),
    Queue("right", PLAIN, "hand"),
    Queue("letters", NEWS),
)


@pytest.fixture
def worker() -> Iterator[Consuming]:
    """A consumer of these queues, which has one message of the default queue."""
    app = application(task_queues=QUEUES)
    with consuming(app) as made:
        app.send_task(TASK)
        yield made


@pytest.mark.parametrize(
    ("exchange", "key", "queue"),
    [
        ("", "celery", "celery"),
        ("", "video", "video"),
        ("", "elsewhere", None),
        ("celery", "celery", "celery"),
        ("shop", "video.a.b", "video"),
        ("shop", "video.", "video"),
        ("shop", "video", "exact"),  # kombu's "#" is not AMQP's: the dot before it must be there
        ("shop", "image.x", "image"),
        ("shop", "imagexx", None),
        ("shop", "paper", "both"),
        ("plain", "paper", "both"),
        ("plain", "hand", None),  # left and right
        ("plain", "video.a", None),
        ("news", "any", "letters"),
        ("nowhere", "celery", None),
        ("shop", "video." + "x" * 1000, None),
    ],
)
def test_by_exchange_and_key(worker: Consuming, exchange: str, key: str, queue: str | None) -> None:
    """Where a delivery tells no queue, it is the only one to which kombu routes this exchange and key."""
    queues, request = RequestQueues(worker), worker.next()
    for _ in range(2):  # from memory too
        assert queues.queue_of(alter(request, exchange=exchange, routing_key=key)) == queue


@pytest.mark.parametrize(
    ("publication", "queue"),
    [
        ({}, "celery"),
        ({"queue": "image"}, "image"),
        ({"queue": "left"}, "left"),
        ({"exchange": SHOP, "routing_key": "video.x", "declare": [SHOP]}, "video"),
        ({"exchange": PLAIN, "routing_key": "paper"}, "both"),
    ],
)
def test_as_kombu_delivers(publication: dict[str, Any], queue: str) -> None:
    """The answer for a real message is the queue that kombu put it into."""
    app = application(task_queues=QUEUES)
    with consuming(app) as worker:
        app.send_task(TASK, **publication)
        assert RequestQueues(worker).queue_of(worker.next()) == queue


def test_a_tag_that_the_sender_claims(worker: Consuming) -> None:
    """Over kombu's virtual transports what is said of a delivery is the sender's: the tags there are not believed."""
    queues, request = RequestQueues(worker), worker.next()
    tag = worker.task_consumer._active_tags["image"]
    assert queues.queue_of(alter(request, consumer_tag=tag)) == "celery"


def test_kombu_keeps_its_tags_where_they_are_read() -> None:
    """The one private attribute of kombu that this needs: tags by queue, which are never given twice."""
    app = application(task_queues=QUEUES)
    with consuming(app) as worker:
        before = dict(worker.task_consumer._active_tags)
        assert set(before) == {queue.name for queue in QUEUES}
        worker.connect()
        assert isinstance(worker.task_consumer, Consumer)
        assert not set(before.values()) & set(worker.task_consumer._active_tags.values())


def test_queues_come_and_go(worker: Consuming) -> None:
    """Queues that are added, cancelled and exchanged are followed, and so is a reconnect."""
    queues, request = RequestQueues(worker), worker.next()
    late = alter(request, exchange="", routing_key="late")
    assert queues.queue_of(late) is None
    worker.task_consumer.add_queue(Queue("late", SHOP, "late"))
    worker.task_consumer.consume()
    assert queues.queue_of(late) == "late"
    assert queues.queue_of(alter(request, exchange="shop", routing_key="late")) == "late"
    worker.task_consumer.cancel_by_queue("late")
    worker.task_consumer.add_queue(Queue("later", SHOP, "later"))
    worker.task_consumer.consume()
    assert queues.queue_of(alter(request, exchange="", routing_key="late")) is None
    assert queues.queue_of(alter(request, exchange="", routing_key="later")) == "later"
    worker.connect(Queue("other", PLAIN, "other"))
    assert queues.queue_of(request) is None
    assert queues.queue_of(alter(request, exchange="plain", routing_key="other")) == "other"
    worker.task_consumer = None
    assert queues.queue_of(request) is None


def test_a_broadcast_queue() -> None:
    """A queue of one process each has its own name."""
    app = application(task_queues=(Broadcast("posts"),))
    with consuming(app) as worker:
        app.send_task(TASK, queue="posts")
        name = RequestQueues(worker).queue_of(worker.next())
    assert name is not None
    assert name.startswith("bcast.")


@pytest.mark.parametrize("hostile", [None, 5, [], {}, "x" * 1000, ("a",)])
@pytest.mark.parametrize("field", ["exchange", "routing_key", "sqs_queue", "consumer_tag"])
def test_deliveries_that_are_no_deliveries(worker: Consuming, field: str, hostile: Any) -> None:
    """Whatever a message claims of its delivery, the answer is at most None."""
    queues, request = RequestQueues(worker), worker.next()
    assert queues.queue_of(alter(request, **{field: hostile})) in (None, "celery")
    request.message.delivery_info = hostile
    assert queues.queue_of(request) is None


def test_what_is_remembered_is_bounded(worker: Consuming) -> None:
    """A client that makes up routing keys cannot grow memory, and the answers stay right."""
    queues, request = RequestQueues(worker), worker.next()
    for number in range(3000):
        assert queues.queue_of(alter(request, exchange="shop", routing_key=f"image.{number}")) == "image"
    assert len(queues._by_destination) == 1000


NOW = time.time()


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, "", "1700000000", b"1", [], {}, [NOW], {"a": NOW}, complex(1)),
        *(math.nan, math.inf, -math.inf, 0, -1.0, 1.0, 10**400, -(10**400), NOW * 1000),
        *(NOW + 2 * 86400, NOW - 31 * 86400),
    ],
    ids=lambda value: type(value).__name__,
)
def test_hostile_stamps(worker: Consuming, value: Any) -> None:
    """What is no plausible time of a publication is None; nothing raises."""
    assert published_at(alter(worker.next(), headers={PUBLISHED_HEADER: value})) is None


@pytest.mark.parametrize("headers", [[], "x", 5, [("celery_exporter_published_at", NOW)]])
def test_headers_that_are_none(worker: Consuming, headers: Any) -> None:
    """Headers of any other type carry no stamp."""
    assert published_at(alter(worker.next(), headers=headers)) is None


@pytest.mark.parametrize(
    "value", [NOW, int(NOW), NOW - 86400, NOW + 3600], ids=["now", "whole seconds", "a day ago", "ahead"]
)
def test_plausible_stamps(worker: Consuming, value: float) -> None:
    """Clocks may differ, and messages wait for days."""
    published = published_at(alter(worker.next(), headers={PUBLISHED_HEADER: value}))
    assert published == value
    assert type(published) is float


TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("value", "is_known"),
    [
        (f"00-{TRACE_ID}-{SPAN_ID}-01", True),
        (f"cc-{TRACE_ID}-{SPAN_ID}-01", True),
        (f"cc-{TRACE_ID}-{SPAN_ID}-01-what-the-future-brings", True),
        (f"00-{TRACE_ID}-{SPAN_ID}-01-more", False),
        (f"ff-{TRACE_ID}-{SPAN_ID}-01", False),
        (f"cc-{TRACE_ID}-{SPAN_ID}-01.", False),
        (f"00-{'0' * 32}-{SPAN_ID}-01", False),
        (f"00-{TRACE_ID}-{'0' * 16}-01", False),
        (f"00-{TRACE_ID.upper()}-{SPAN_ID}-01", False),
        (f" 00-{TRACE_ID}-{SPAN_ID}-01", False),
        (f"00-{TRACE_ID}-{SPAN_ID}-01\n", False),
        (f"00-{TRACE_ID}-{SPAN_ID}", False),
        (f"00-{TRACE_ID}-{SPAN_ID}-03", True),
        (f"00-{TRACE_ID}-{SPAN_ID}-00", False),
        (f"00-{TRACE_ID}-{SPAN_ID}-02", False),
        (f"00-{TRACE_ID}{SPAN_ID}-01", False),
        *(("", False), ("x" * 100_000, False), (None, False), (5, False), (b"00", False), ([], False)),
    ],
)
def test_the_trace_of_a_message(worker: Consuming, value: Any, is_known: bool) -> None:
    """Ids of a sampled trace, as W3C's Trace Context has it, are told, and nothing of any other header."""
    found = trace_of(alter(worker.next(), headers={"traceparent": value}))
    assert found == (f"{TRACE_ID}-{SPAN_ID}" if is_known else None)


@pytest.mark.parametrize("headers", [None, [], "x", {"Traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01"}])
def test_headers_without_a_trace(worker: Consuming, headers: Any) -> None:
    """Headers of any type may be there; those of Celery keep their case."""
    assert trace_of(alter(worker.next(), headers=headers)) is None


@pytest.mark.parametrize(
    ("retries", "told", "is_known"),
    [(0, None, True), (None, None, True), (2, 2, True), (2, None, False), (2, 1, False), (2, [], False)],
)
def test_a_stamp_of_an_earlier_attempt(worker: Consuming, retries: Any, told: Any, is_known: bool) -> None:
    """A retry by a worker that does not stamp has the stamp of the attempt before, and that is not its own."""
    request = alter(worker.next(), headers={PUBLISHED_HEADER: NOW, RETRIES_HEADER: told})
    request.request_dict["retries"] = retries
    assert (published_at(request) == NOW) is is_known
