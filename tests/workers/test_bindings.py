"""To which queues exchanges deliver, by what workers have bound."""

import time

import pytest

from celery_metrics_exporter.facts import Binding
from celery_metrics_exporter.workers.bindings import MAX_PATTERNS, WorkerBindings

BINDINGS = WorkerBindings(
    [
        Binding("plain", "direct", "direct", "k"),
        Binding("twin", "direct", "direct", "k"),
        Binding("video", "shop", "topic", "video.#"),
        Binding("image", "shop", "topic", "*.image"),
        Binding("exact", "shop", "topic", "a.b"),
        Binding("every", "log", "topic", "#"),
        Binding("bcast.0f8fad5b-d9cb-469f-a165-70867728950e", "news", "fanout", ""),
        Binding("odd", "custom", "x-consistent-hash", "10"),
    ]
)


@pytest.mark.parametrize(
    ("exchange", "key", "queues"),
    [
        ("direct", "k", {"plain", "twin"}),
        ("direct", "other", set()),
        ("shop", "video", {"video"}),
        ("shop", "video.a.b", {"video"}),
        ("shop", "videos", set()),
        ("shop", "video.image", {"video", "image"}),
        ("shop", "x.y.image", set()),
        ("shop", "a.b", {"exact"}),
        ("log", "", {"every"}),
        ("news", "whatever", {"bcast.*"}),
        ("custom", "k", set()),
        ("nowhere", "k", set()),
    ],
)
def test_queues_of_an_exchange(exchange: str, key: str, queues: set[str]) -> None:
    """Direct exchanges compare keys, topic exchanges words, fanout exchanges nothing."""
    assert BINDINGS.queues(exchange, key) == queues


@pytest.mark.parametrize(
    ("pattern", "key", "fits"),
    [
        ("#", "a.b", True),
        ("#.#", "", True),
        ("*", "", True),
        ("*", "a.b", False),
        ("a.#.b", "a.b", True),
        ("a.#.b", "a.x.b.y.b", True),
        ("a.#.b", "a.b.x", False),
        ("#.b.*", "b.b.x", True),
        ("*.#", "a", True),
        ("a*.#", "ab", False),
    ],
)
def test_topic_patterns(pattern: str, key: str, fits: bool) -> None:
    """As RabbitMQ matches them, word by word."""
    assert bool(WorkerBindings([Binding("q", "x", "topic", pattern)]).queues("x", key)) is fits


def test_queues_of_a_delayed_message() -> None:
    """It goes to every exchange but direct ones: by equal keys, else by patterns."""
    assert BINDINGS.delayed_queues("a.b") == {"exact"}
    assert BINDINGS.delayed_queues("video.x") == {"video", "every"}
    assert BINDINGS.delayed_queues("k") == {"every"}


def test_patterns_of_anybody_take_no_time() -> None:
    """A worker may answer anything; the publications of others must not wait for it."""
    hostile = [Binding(f"q{n}", "x", "topic", "#.a." * 60 + f"{n}") for n in range(3 * MAX_PATTERNS)]
    bindings = WorkerBindings(hostile)
    began = time.thread_time()
    assert bindings.queues("x", ".".join("a" * 120)) == set()
    assert time.thread_time() - began < 3
