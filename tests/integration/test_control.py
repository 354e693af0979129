"""Asking workers: what is asked when, what comes back, and what is left on the broker."""

import json
from collections import Counter
from collections.abc import Callable

import pytest
from kombu import Connection
from prometheus_client.parser import text_string_to_metric_families

from celery_metrics_exporter.facts import WorkerFacts
from tests.integration.asking import ANSWERS, PidboxNode, asking
from tests.integration.conftest import Vhost
from tests.integration.servers import ExporterProcess, RabbitMQ, Valkey
from tests.waiting import wait_for

Listing = Callable[[], object]

HOUR = 3600.0


@pytest.fixture
def listing(request: pytest.FixtureRequest, broker_url: str) -> Listing:
    """Lists everything that is on the broker."""
    if broker_url.startswith("redis"):
        valkey: Valkey = request.getfixturevalue("valkey")

        def keys() -> object:
            with valkey.client() as client:
                return Counter(client.keys("*"))

        return keys
    rabbitmq: RabbitMQ = request.getfixturevalue("rabbitmq")
    vhost: Vhost = request.getfixturevalue("rabbitmq_vhost")

    def objects() -> object:
        found = Counter[str]()
        for kind, names in (
            ("queues", ["name"]),
            ("exchanges", ["name"]),
            ("bindings", ["source", "destination"]),
        ):
            rows = rabbitmq.api("GET", f"{kind}/{vhost.name}")
            assert isinstance(rows, list)
            found.update(f"{kind} {[row[name] for name in names]}" for row in rows)
        return found

    return objects


def test_a_wake_asks_everything(broker_url: str) -> None:
    """Once events are received, workers show themselves, send task events, and tell of their pools and queues."""
    with PidboxNode(broker_url) as node, asking(broker_url, interval=HOUR) as (_, answers):
        answers.wait(node.facts)
        assert node.commands == ["heartbeat", "enable_events", "stats", "active_queues"]
        assert answers.count == 3


def test_what_is_switched_off_is_not_asked(broker_url: str) -> None:
    """Without inspection and without turning events on, a wake is a heartbeat and no more."""
    with (
        PidboxNode(broker_url) as node,
        asking(broker_url, enable_events=False, inspect=False) as (remote, answers),
    ):
        node.wait("heartbeat")
        remote.schedule.request_events()
        remote.schedule.request_inspection()
        remote.schedule.wake()
        node.wait("heartbeat", "heartbeat")
        assert answers.workers == set()


def test_one_question_an_interval(broker_url: str) -> None:
    """The regular inspection asks about pools and queues in turn, and needs no wake."""
    with (
        PidboxNode(broker_url) as node,
        asking(broker_url, wake=False, interval=0.3) as (_, answers),
    ):
        wait_for(lambda: len(node.commands) >= 6, timeout=5, what="six questions")
        assert node.commands[:6] == ["stats", "active_queues"] * 3
        answers.wait(WorkerFacts(node.name, 4, 16, ("celery", "letters")))


def test_requests(broker_url: str) -> None:
    """Many requests at once cost one broadcast of each kind."""
    with PidboxNode(broker_url) as node, asking(broker_url, wake=False, interval=HOUR) as (remote, answers):
        for _ in range(50):
            remote.schedule.request_events()
            remote.schedule.request_inspection()
        answers.wait(node.facts)
        assert node.commands == ["enable_events", "stats", "active_queues"]


def test_nothing_is_left_on_the_broker(broker_url: str, listing: Listing) -> None:
    """After the exporter's end the broker holds what it held before, with several workers and questions."""
    others = [PidboxNode(broker_url, name=f"node-{number}@localhost") for number in range(3)]
    with others[0] as first, others[1] as second, others[2] as third:
        before = listing()
        with asking(broker_url, interval=0.2) as (_, answers):
            for node in (first, second, third):
                answers.wait(node.facts)
            wait_for(lambda: len(third.commands) >= 8, timeout=5, what="more questions")
        assert answers.workers == {node.name for node in others}
        wait_for(lambda: listing() == before, timeout=5, what=lambda: f"{before}; there is {listing()}")


def test_a_worker_that_comes_and_one_that_goes(broker_url: str) -> None:
    """A worker that does not answer holds nobody up; a new one is asked like the others."""
    with asking(broker_url, wake=False, interval=0.5) as (remote, answers):
        with PidboxNode(broker_url, name="first@localhost") as first:
            remote.schedule.wake()
            answers.wait(first.facts)
        with PidboxNode(broker_url, name="second@localhost") as second:
            answers.wait(WorkerFacts(second.name, 4, 16, ("celery", "letters")))
        assert answers.of(first.name) == first.facts


def test_a_worker_that_knows_no_such_command(broker_url: str) -> None:
    """An answer that tells of an error is no fact, and the other answers of that worker count."""
    told = {**ANSWERS, "enable_events": {"error": "event dispatcher unavailable"}}
    with PidboxNode(broker_url, answers=told) as node, asking(broker_url, interval=HOUR) as (remote, answers):
        answers.wait(WorkerFacts(node.name, 4, 16, ("celery", "letters")))
        wait_for(lambda: remote.invalid_answers == 1, timeout=5, what="an answer that tells nothing")


def test_workers_that_speak_msgpack(valkey: Valkey) -> None:
    """An application's serializer is used, both ways."""
    conf = {"task_serializer": "msgpack", "accept_content": ["msgpack"]}
    with PidboxNode(valkey.url, serializer="msgpack") as node, asking(valkey.url, conf=conf) as (_, answers):
        answers.wait(node.facts)


def test_workers_that_speak_pickle(valkey: Valkey) -> None:
    """They are asked in JSON, and their answers are never loaded."""
    conf = {"task_serializer": "pickle", "accept_content": ["pickle", "json"]}
    with (
        PidboxNode(valkey.url, serializer="pickle") as node,
        asking(valkey.url, conf=conf) as (remote, answers),
    ):
        wait_for(lambda: remote.invalid_answers == 3, timeout=5, what="answers that are not loaded")
        assert node.commands == ["heartbeat", "enable_events", "stats", "active_queues"]
        assert answers.workers == set()


def test_answers_of_strangers(broker_url: str) -> None:
    """Whatever anybody sends to the queue of answers: it is dropped, and workers' answers are read."""
    envelopes = [
        ({"ticket": "1.stats"}, "application/json", "utf-8", b'{"a@b": {"prefetch_count": -1}}'),
        ({"ticket": "1.stats"}, "application/json", "utf-8", b"[" * 100_000),
        ({"ticket": "1.stats"}, "application/json", "utf-8", b"\xff\xfe"),
        ({"ticket": "1.stats"}, "application/x-python-serialize", "binary", b"cos\nsystem\n(S'true'\ntR."),
        ({"ticket": "1.stats"}, "application/data", "binary", b"text"),
        ({"ticket": "1.stats", "compression": "application/x-gzip"}, "application/json", "utf-8", b"{}"),
        ({"ticket": "9.stats"}, "application/json", "utf-8", b'{"a@b": {"prefetch_count": 1}}'),
        ({"ticket": 5}, "application/json", "utf-8", b'{"a@b": {"prefetch_count": 1}}'),
        ({}, "application/json", "utf-8", b'{"a@b": {"prefetch_count": 1}}'),
        ({"ticket": "1.stats"}, "application/json", "utf-8", json.dumps({"x" * 3_000_000: {}}).encode()),
    ]
    with PidboxNode(broker_url) as node, asking(broker_url, interval=0.3) as (remote, answers):
        answers.wait(node.facts)
        queue = remote._mailbox._queue
        with Connection(broker_url) as connection, connection.channel() as channel:
            for headers, content_type, content_encoding, body in envelopes:
                message = channel.prepare_message(
                    body,
                    content_type=content_type,
                    content_encoding=content_encoding,
                    headers=headers,
                    properties={"delivery_mode": 1},
                )
                channel.basic_publish(message, exchange="", routing_key=queue)
        wait_for(lambda: remote.invalid_answers >= 5, timeout=5, what="answers that tell nothing")
        count = answers.count
        wait_for(lambda: answers.count > count + 1, timeout=5, what="answers of the node")
        assert answers.workers == {node.name}
        assert remote.failures == 0


def test_odd_names_in_answers(broker_url: str, start_exporter: Callable[..., ExporterProcess]) -> None:
    """A name that can be no label is cleaned on the page, and costs none of the others."""
    names = ["fine", "line\nfeed", "nul\0", "\ud800", "", "x" * 300, "fine"]
    odd = {**ANSWERS, "active_queues": [*({"name": name} for name in names), {"name": 5}, 5]}
    with PidboxNode(broker_url, name="tab\t@localhost", answers=odd), PidboxNode(broker_url):
        exporter = start_exporter("--broker-url", broker_url)

        def queues(worker: str) -> set[str]:
            families = text_string_to_metric_families(exporter.text())
            samples = [sample for family in families for sample in family.samples]
            return {
                sample.labels["queue"]
                for sample in samples
                if sample.name == "celery_worker_queue_info" and sample.labels["worker"] == worker
            }

        mark = "\N{REPLACEMENT CHARACTER}"
        shown = {"fine", f"line{mark}feed", f"nul{mark}", mark, "x" * 200}
        wait_for(lambda: queues(f"tab{mark}@localhost") == shown, timeout=15, what=f"{shown}")
        wait_for(lambda: queues("node@localhost") == {"celery", "letters"}, timeout=15, what="the other's")
        exporter.kill()
