"""What is read from an answer, and what is not believed."""

from typing import Any

import msgspec
import pytest

from celery_metrics_exporter.control.answers import MAX_NAME, MAX_QUEUES, facts_of, tasks_in
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


@pytest.mark.parametrize(
    ("entries", "queues"),
    [
        pytest.param([{"name": "a"}, {"name": "b\nc"}], ("a", "b\nc"), id="line"),
        pytest.param([{"name": "b\0"}, {"name": "a"}], ("b\0", "a"), id="nul"),
        pytest.param([{"name": "\ud800"}, {"name": "a"}], ("\ud800", "a"), id="surrogate"),
        pytest.param([{"name": ""}, {"name": "a"}], ("a",), id="empty"),
        pytest.param(
            [{"name": 5}, {"name": None}, {}, 5, None, [], "q", {"name": "a"}], ("a",), id="no-name"
        ),
        pytest.param([{"name": "x" * 9000}, {"name": "a"}], ("x" * MAX_NAME, "a"), id="long"),
        pytest.param([{"name": "a"}] * 20_000 + [{"name": "b"}], ("a", "b"), id="again"),
    ],
)
def test_odd_queues(entries: list[Any], queues: tuple[str, ...]) -> None:
    """A name is kept as it is, within bounds, and what is none costs itself alone."""
    assert facts_of("active_queues", {W: entries}) == WorkerFacts(W, queues=queues)


def test_queues_of_an_answer_are_bounded() -> None:
    """Of a hundred thousand the first are kept."""
    entries = [{"name": str(n)} for n in range(100_000)]
    queues = facts_of("active_queues", {W: entries}).queues
    assert queues == tuple(str(n) for n in range(MAX_QUEUES))


@pytest.mark.parametrize("odd", [-1, 10**30, "N/A", 2.5, True, [], {}, None], ids=repr)
def test_one_odd_number(odd: Any) -> None:
    """It leaves the others as they are."""
    stats = {"pool": {"max-concurrency": odd, "processes": [1, 2]}, "prefetch_count": 8}
    assert facts_of("stats", {W: stats}) == WorkerFacts(W, pool_size=2, prefetch_limit=8)
    stats = {"pool": {"max-concurrency": 4, "processes": odd}, "prefetch_count": odd}
    assert facts_of("stats", {W: stats}) == WorkerFacts(W, pool_size=4)
    assert facts_of("stats", {W: {"pool": odd, "prefetch_count": 8}}) == WorkerFacts(W, prefetch_limit=8)


@pytest.mark.parametrize("name", ["w\t@h", "\x1b[31m", "\ud800@h", "w\0@h"], ids=repr)
def test_odd_workers(name: str) -> None:
    """The name of a worker is kept as it is, as it stands in the worker's events."""
    assert facts_of("stats", {name: {"prefetch_count": 8}}) == WorkerFacts(name, prefetch_limit=8)


def test_tasks() -> None:
    """The names that a worker registers, without the settings that stand beside some."""
    answer = {W: ["mail.read", "mail.send [rate_limit=10/m]"]}
    assert tasks_in(answer) == (W, frozenset({"mail.read", "mail.send"}))


def test_odd_tasks() -> None:
    """What is shown to people is cleaned, and what is no name left out."""
    assert tasks_in({"w\t@h": ["mail.\x1bread", 5, "", None]}) == (
        "w\N{REPLACEMENT CHARACTER}@h",
        frozenset({"mail.\N{REPLACEMENT CHARACTER}read"}),
    )


@pytest.mark.parametrize("answer", [{W: "mail.read"}, {W: {"error": "no"}}])
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
