"""What is read from an answer about tasks, and what is not believed."""

from typing import Any

import msgspec
import pytest

from celery_metrics_exporter.control.task_answers import MAX_TASKS, held_tasks, is_json_only
from celery_metrics_exporter.facts import HeldTask

W = "celery@host"
#: As a worker of Celery 5.7 tells of a task.
ENTRY: dict[str, Any] = {
    "id": "u",
    "name": "shadow",
    "args": [1, "x"],
    "kwargs": {},
    "type": "proj.task",
    "hostname": W,
    "time_start": None,
    "acknowledged": False,
    "delivery_info": {"exchange": "", "routing_key": "q", "priority": 0, "redelivered": None},
    "worker_pid": None,
}
HELD = HeldTask("u", "shadow", "", "q")


def read(command: str, *entries: Any, raw: bool) -> list[HeldTask]:
    """The tasks of an answer, deserialized or with the entries as they came."""
    value: Any = msgspec.Raw(msgspec.json.encode(entries)) if raw else list(entries)
    worker, tasks = held_tasks(command, {W: value})
    assert worker == W
    return tasks


@pytest.mark.parametrize("raw", [True, False])
def test_answers_of_workers(raw: bool) -> None:
    """The id, the name that events carry, where its message was published, its start and its eta."""
    assert read("reserved", ENTRY, raw=raw) == [HELD]
    started = HeldTask("u", "shadow", "", "q", started=5.0)
    assert read("active", {**ENTRY, "time_start": 5.0}, raw=raw) == [started]
    eta = "2026-01-01T00:00:00+00:00"
    scheduled = read("scheduled", {"eta": eta, "priority": 6, "request": ENTRY}, raw=raw)
    assert scheduled == [HeldTask("u", "shadow", "", "q", eta=eta)]
    assert read("active", raw=raw) == []


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, True),
        ({"accept_content": ["json"], "result_accept_content": ["pickle"]}, True),
        ({"accept_content": "application/json"}, True),
        ({"accept_content": None}, True),
        ({"accept_content": ["json", "pickle"]}, False),
        ({"CELERY_ACCEPT_CONTENT": ["msgpack"]}, False),
        ({"accept_content": 5}, None),
    ],
)
def test_accepted_content(settings: dict[str, Any], told: bool | None, raw: bool) -> None:
    """Whether a worker accepts JSON alone, by its own settings; None: that is no setting of Celery."""
    answer = {W: msgspec.Raw(msgspec.json.encode(settings)) if raw else settings}
    if told is None:
        with pytest.raises(msgspec.ValidationError):
            is_json_only(answer)
    else:
        assert is_json_only(answer) == (W, told)


@pytest.mark.parametrize("raw", [True, False])
def test_odd_entries(raw: bool) -> None:
    """Each costs itself alone; ids and names of other kinds are read as those of events."""
    odd: list[Any] = [
        None,
        5,
        [],
        {},
        {"id": None},
        {"id": ""},
        {"id": "x" * 501},
        {**ENTRY, "time_start": "now"},
    ]
    odd += [{**ENTRY, "time_start": -1.0}, {**ENTRY, "delivery_info": 5}, {**ENTRY, "name": 5}]
    assert read("reserved", *odd, ENTRY, raw=raw) == [HELD]
    number = {"id": 5, "name": "x" * 600}
    assert read("reserved", number, raw=raw) == [HeldTask("5", "x" * 500)]
    assert read("active", ENTRY, raw=raw) == []  # not started
    assert read("scheduled", ENTRY, {"request": None}, {"request": ENTRY, "eta": 5}, raw=raw) == []


def test_a_lone_surrogate() -> None:
    """msgspec reads no such JSON, so that the mailbox gives it deserialized; labels replace it later."""
    assert read("reserved", {**ENTRY, "name": "\ud800"}, raw=False) == [HeldTask("u", "\ud800", "", "q")]


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {},
        {W: [], "x": []},
        {W: None},
        {W: {"error": "no"}},
        {W: [None] * (MAX_TASKS + 1)},
        {W: msgspec.Raw(b"5")},
        {W: msgspec.Raw(b"[" + b"0," * MAX_TASKS + b"0]")},
        {W: msgspec.Raw(b"[" * 100_000)},
    ],
)
def test_no_answer(answer: Any) -> None:
    """What no worker would answer, and too much of it, raises one kind of error."""
    with pytest.raises((msgspec.ValidationError, RecursionError)):
        held_tasks("reserved", answer)
