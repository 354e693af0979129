"""Bodies become typed events, and one bad event never loses another."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter import events
from exporter.events import Undecodable, UnknownEvent, decode
from tests.pipeline import received, sent, task, worker_event


def body(content: object) -> bytes:
    """The wire form of an event or list of events."""
    return json.dumps(content).encode()


def test_one_event() -> None:
    """A body that is an object gives one event of its type."""
    (event,) = decode(body(sent("u1", queue="fast", eta="2026-01-01T00:00:00+00:00")))
    assert isinstance(event, events.TaskSent)
    assert (event.uuid, event.name, event.queue, event.retries) == ("u1", "t", "fast", 0)


def test_a_list_keeps_its_order() -> None:
    """A task.multi body gives its events in their order."""
    decoded = decode(body([received(), task("started"), task("succeeded", runtime=0.5)]))
    assert [type(event) for event in decoded] == [
        events.TaskReceived,
        events.TaskStarted,
        events.TaskSucceeded,
    ]


@pytest.mark.parametrize("kind", events.WIRE_NAMES, ids=lambda kind: kind.__name__)
def test_every_type_is_decoded(kind: type[events.Event]) -> None:
    """Each known wire name gives its own struct, from the fields that all events have."""
    wire = {"type": events.WIRE_NAMES[kind], "uuid": "u", "hostname": "w@h", "timestamp": 1.5}
    (event,) = decode(body(wire))
    assert type(event) is kind


def test_null_where_celery_sends_it() -> None:
    """Nulls that real events carry are no reason to lose them."""
    wire = [
        sent(name=None, queue=None, retries=None),  # type: ignore[arg-type]  # as a broken client sends it
        task("succeeded", runtime=None, clock=None),
        task("failed", exception=None, traceback=None),
        task("revoked", terminated=None, expired=None, signum="SIGTERM"),
        worker_event("heartbeat", loadavg=None, active=None),
    ]
    assert not [event for event in decode(body(wire)) if isinstance(event, Undecodable | UnknownEvent)]


def test_an_empty_list_is_no_loss() -> None:
    """Celery up to 5.6 can send an empty list."""
    assert list(decode(b"[]")) == []


def test_custom_events_are_unknown_not_invalid() -> None:
    """A type without a struct keeps its name and sender."""
    (event,) = decode(body({"type": "order-paid", "hostname": "w@h", "timestamp": 1.0, "uuid": "u"}))
    assert event == UnknownEvent("order-paid", "w@h")


@pytest.mark.parametrize(
    "bad",
    [
        7,
        None,
        "text",
        [],
        {},
        {"type": 5},
        {"type": None},
        {"type": ["task-sent"]},
        {"type": "task-started", "timestamp": 1.0},
        {"type": "task-started", "uuid": "u"},
        {"type": "task-started", "uuid": "u", "timestamp": "1"},
        {"type": "task-started", "uuid": "u", "timestamp": None},
        {"type": "task-started", "uuid": "u", "timestamp": -1},
        {"type": "task-started", "uuid": 3, "timestamp": 1.0},
        {"type": "worker-heartbeat", "hostname": "w@h", "timestamp": 1.0, "processed": "many"},
    ],
    ids=repr,
)
def test_one_bad_item_loses_nothing_else(bad: object) -> None:
    """In a list, what is no event is marked invalid, the events around it are kept."""
    decoded = decode(body([received(), bad, task("started")]))
    assert [type(event) for event in decoded] == [events.TaskReceived, Undecodable, events.TaskStarted]
    assert isinstance(decoded[1], Undecodable)
    assert decoded[1].reason == "invalid"


@pytest.mark.parametrize(
    "raw",
    [b"", b"   ", b"{", b"[1,", b"nonsense", b"\x80\x04K\x05."],
)
def test_what_is_no_json_is_undecodable(raw: bytes) -> None:
    """A body that cannot be read at all is one loss."""
    (lost,) = decode(raw)
    assert isinstance(lost, Undecodable)
    assert lost.reason == "undecodable"


def test_deep_nesting_does_not_escape() -> None:
    """Nesting beyond the decoder's depth costs its own item only."""
    deep = b'{"type": "task-started", "uuid": "u", "timestamp": 1.0, "x": ' + b"[" * 5000 + b"]" * 5000 + b"}"
    assert all(isinstance(event, Undecodable) for event in decode(deep))
    assert len(decode(b"[" * 100_000)) == 1


def test_not_quite_json_loses_only_itself() -> None:
    """NaN, infinity and lone surrogates, which Python writes into JSON, cost at most their own event."""
    wire = b"[%s, %s, %s, %s]" % (
        body(received("good")),
        body(task("succeeded", runtime=float("nan"))),
        body({"type": "custom", "value": float("inf")}),
        body(received("surrogate", name="\ud800")),
    )
    good, nan, custom, surrogate = decode(wire)
    assert isinstance(good, events.TaskReceived)
    assert isinstance(nan, Undecodable)
    assert custom == UnknownEvent("custom")
    assert isinstance(surrogate, events.TaskReceived)


@given(st.binary())
def test_no_bytes_raise(raw: bytes) -> None:
    """Whatever comes, decode returns."""
    assert isinstance(list(decode(raw)), list)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)


@given(st.lists(JSON, max_size=5), st.integers(0, 5))
def test_a_good_event_survives_any_company(junk: list[object], place: int) -> None:
    """An event is found again whatever JSON stands around it."""
    place = min(place, len(junk))
    decoded = decode(body([*junk[:place], received("good"), *junk[place:]]))
    assert isinstance(decoded[place], events.TaskReceived)
    assert len(decoded) == len(junk) + 1
