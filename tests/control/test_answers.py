"""What is read from an answer, and what is not believed."""

from typing import Any

import msgspec
import pytest

from celery_metrics_exporter.control.answers import facts_of, tasks_in
from celery_metrics_exporter.facts import Binding, WorkerFacts

W = "celery@host"


@pytest.mark.parametrize(
    ("command", "value", "facts"),
    [
        pytest.param(
            "stats",
            {"pool": {"max-concurrency": 3, "processes": [7, 8, 9, 10]}, "prefetch_count": 12, "pid": 1},
            WorkerFacts(W, pool_size=4, prefetch_limit=12),
            id="prefork that has grown",
        ),
        pytest.param(
            "stats",
            {"pool": {"max-concurrency": 8, "threads": 1}, "prefetch_count": 0},
            WorkerFacts(W, pool_size=8, prefetch_limit=0),
            id="threads, no limit",
        ),
        pytest.param(
            "stats",
            {"pool": {"max-concurrency": 1, "processes": [], "timeouts": []}, "prefetch_count": "N/A"},
            WorkerFacts(W, pool_size=1),
            id="not consuming yet",
        ),
        pytest.param("stats", {"pool": "N/A"}, WorkerFacts(W), id="no pool yet"),
        pytest.param("stats", {}, WorkerFacts(W), id="nothing that we know"),
        pytest.param(
            "active_queues",
            [{"name": "a", "exchange": {"name": "b"}}, {"name": "ü"}, {"name": "a"}],
            WorkerFacts(W, queues=("a", "ü"), bindings=(Binding("a", "b", "direct", ""),)),
            id="queues",
        ),
        pytest.param(
            "active_queues",
            [
                {
                    "name": "a",
                    "exchange": {"name": "x", "type": "topic"},
                    "routing_key": "k.#",
                    "bindings": [],
                },
                {
                    "name": "b",
                    "exchange": None,
                    "bindings": [{"exchange": {"name": "y"}, "routing_key": "k"}],
                },
                {"name": "c", "exchange": {"name": ""}, "routing_key": None, "bindings": None},
                {"name": "d", "exchange": 5, "routing_key": [], "bindings": {}},
            ],
            WorkerFacts(
                W,
                queues=("a", "b", "c", "d"),
                bindings=(Binding("a", "x", "topic", "k.#"), Binding("b", "y", "direct", "k")),
            ),
            id="bindings, as far as they can be read",
        ),
        pytest.param("active_queues", [], WorkerFacts(W, queues=()), id="no queue"),
        pytest.param(
            "enable_events",
            {"ok": "task events already enabled"},
            WorkerFacts(W, events_enabled=True, events_were_on=True),
            id="events",
        ),
    ],
)
def test_facts(command: str, value: Any, facts: WorkerFacts) -> None:
    """The facts are those that the worker told."""
    assert facts_of(command, {W: value}) == facts


@pytest.mark.parametrize("command", ["stats", "active_queues", "enable_events"])
@pytest.mark.parametrize(
    "answer",
    [
        None,
        True,
        5,
        "text",
        b"bytes",
        [],
        {},
        {W: {"error": "event dispatcher unavailable"}},
        {W: None},
        {W: "text"},
        {W: 5},
        {W: [5]},
        {W: [{}]},
        {W: [{"name": 5}]},
        {W: [{"name": ""}]},
        {W: [{"name": "a\nb"}]},
        {W: [{"name": "x" * 1001}]},
        {W: [{"name": "q"}] * 10_001},
        {W: {"pool": {"max-concurrency": -1}}},
        {W: {"pool": {"max-concurrency": 10**30}}},
        {W: {"pool": {"max-concurrency": True}}},
        {W: {"pool": {"max-concurrency": 2.5}}},
        {W: {"pool": {"max-concurrency": "4"}}},
        {W: {"pool": {"processes": ["a"]}}},
        {W: {"prefetch_count": -4}},
        {W: {"prefetch_count": float("nan")}},
        {W: {"ok": 5}},
        {W: {"ok": "x"}, "another@host": {"ok": "x"}},
        {5: {"ok": "x"}},
        {"": {"ok": "x"}},
        {"\x1b[31m": {"ok": "x"}},
        {"\ud800": {"ok": "x"}},
        {"x" * 1001: {"ok": "x"}},
    ],
)
def test_no_facts(command: str, answer: Any) -> None:
    """Anything but a worker's answer is refused as a whole, or tells nothing at all."""
    try:
        facts = facts_of(command, answer)
    except msgspec.ValidationError:
        return
    assert facts == WorkerFacts(W)


def test_tasks() -> None:
    """The names that a worker registers, without the settings that stand beside some."""
    answer = {W: ["mail.read", "mail.send [rate_limit=10/m]"]}
    assert tasks_in(answer) == (W, frozenset({"mail.read", "mail.send"}))


@pytest.mark.parametrize("answer", [{W: "mail.read"}, {W: [1]}, {W: [""]}, {W: {"error": "no"}}, {"a\n": []}])
def test_tasks_that_no_worker_tells(answer: Any) -> None:
    """They are refused."""
    with pytest.raises(msgspec.ValidationError):
        tasks_in(answer)


@pytest.mark.parametrize(
    ("text", "before"), [("task events already enabled", True), ("task events enabled", False)]
)
def test_whether_events_were_sent_before(text: str, *, before: bool) -> None:
    """A worker that was asked to send events says whether it did already."""
    assert facts_of("enable_events", {W: {"ok": text}}).events_were_on is before
