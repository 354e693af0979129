"""Bodies become typed events, and one bad event never loses another."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_metrics_exporter.events import types as events
from celery_metrics_exporter.events.decode import MAX_EXCERPT, decode
from celery_metrics_exporter.events.types import MAX_NAME, Undecodable, UnknownEvent
from tests.pipeline import received, sent, task, worker_event

DEEP = 20_000  # some versions of Python and msgspec read it, others do not


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
        {"type": "task-started", "uuid": {"hex": "0"}, "timestamp": 1.0},
        {"type": "task-started", "uuid": [3], "timestamp": 1.0},
        {"type": "worker-heartbeat", "hostname": "w@h", "timestamp": 1.0, "processed": "many"},
    ],
    ids=repr,
)
def test_one_bad_item_loses_nothing_else(bad: object) -> None:
    """In a list, what is no event is marked invalid, the events around it are kept."""
    decoded = list(decode(body([received(), bad, task("started")])))
    assert [type(event) for event in decoded] == [events.TaskReceived, Undecodable, events.TaskStarted]
    assert isinstance(decoded[1], Undecodable)
    assert decoded[1].reason == "invalid"


@pytest.mark.parametrize(
    "raw",
    [b"", b"   ", b"{", b"[", b"nonsense", b"\x80\x04K\x05.", b"\xff\xfe", bytes(100), b"\xef\xbb\xbf"],
)
def test_what_is_no_json_is_undecodable(raw: bytes) -> None:
    """A body that cannot be read at all is one loss."""
    (lost,) = decode(raw)
    assert isinstance(lost, Undecodable)
    assert lost.reason == "undecodable"


@pytest.mark.parametrize("depth", [DEEP, 500_000])
def test_deep_nesting_does_not_escape(depth: int) -> None:
    """However deep an event is nested, it is decoded or one loss, as the decoder can; its neighbours are read."""
    nested = b"[" * depth + b"]" * depth
    deep = b'{"type": "task-started", "uuid": "deep", "timestamp": 1.0, "x": ' + nested + b"}"
    (alone,) = decode(deep)
    before, among, after = decode(b"[%s, %s, %s]" % (body(received("one")), deep, body(received("two"))))
    assert isinstance(alone, Undecodable | events.TaskStarted)
    assert isinstance(among, Undecodable | events.TaskStarted)
    assert isinstance(before, events.TaskReceived)
    assert isinstance(after, events.TaskReceived)
    assert (before.uuid, after.uuid) == ("one", "two")
    (unclosed,) = decode(b"[" * depth)
    assert isinstance(unclosed, Undecodable)


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


@pytest.mark.parametrize("coding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_other_codings(coding: str) -> None:
    """A byte order mark or UTF-16 costs nothing, in an event, a list, and a list without events."""
    for content, number in ((sent(), 1), ([sent("a"), sent("b")], 2), ([], 0)):
        decoded = list(decode(json.dumps(content).encode(coding)))
        assert [type(event) for event in decoded] == [events.TaskSent] * number


@pytest.mark.parametrize(
    "bad",
    [
        b"nonsense",
        b"",
        b"nan",
        b"{'type': 'task-sent'}",
        b'{"type": "task-sent", "uuid": "\xff", "timestamp": 1.5}',
        b'{"type": "task-sent", "uuid": "]},[{", "timestamp": "\\\\"}',
        b'{"uuid": "\\ud800", "x": NaN, "y": -}',
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"9" * 100_000,
        b"[[[[" + b"1e400" + b"]]]]",
    ],
    ids=lambda bad: repr(bad[:20]),
)
def test_broken_json_in_a_list_loses_nothing_else(bad: bytes) -> None:
    """The events beside what is no JSON at all are kept, and what is torn off at the end costs only itself."""
    good = body(received())
    for wire, number in ((b"[%s, %s, %s]", 1), (b"[%s,%s,%s,", 2), (b'[%s,%s,%s,{"type": "task-st', 2)):
        decoded = list(decode(wire % (good, bad, good)))
        assert [type(event) for event in decoded if not isinstance(event, Undecodable)] == [
            events.TaskReceived
        ] * 2
        assert len(decoded) == 2 + number


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("uuid", ""),
        ("uuid", "u" * (MAX_NAME + 1)),
        ("uuid", "u" * 1_000_000),
        ("hostname", "h" * 1_000_000),
        ("timestamp", 0),
        ("timestamp", -62e9),
        ("timestamp", 1.7e12),
        ("timestamp", 95_617_584_000),
        ("timestamp", 10**4000),
        ("timestamp", float("nan")),
        ("timestamp", float("inf")),
        ("timestamp", True),
        ("pid", -1),
        ("pid", 2**64),
        ("pid", "7"),
        ("processed", 10**400),
        ("freq", 1e300),
        ("loadavg", [float("nan"), 0, 0]),
        ("loadavg", [1, 2]),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_values_that_nobody_sends(field: str, value: object) -> None:
    """What would be kept and is out of bounds makes its event invalid, and no other one."""
    event = {**worker_event("heartbeat"), field: value} if field != "uuid" else {**received(), field: value}
    first, second = decode(body([event, sent()]))
    assert isinstance(first, Undecodable)
    assert first.reason == "invalid"
    assert isinstance(second, events.TaskSent)


@pytest.mark.parametrize("field", ["clock", "utcoffset", "args", "root_id", "signum", "result"])
@pytest.mark.parametrize(
    "value", [None, "x", [], {}, 10**400, float("nan"), "x" * 1_000_000], ids=lambda v: repr(v)[:9]
)
def test_what_is_not_read_costs_nothing(field: str, value: object) -> None:
    """Fields that nobody uses may hold anything."""
    (event,) = decode(body({**received(), field: value}))
    assert isinstance(event, events.TaskReceived)


@pytest.mark.parametrize(
    ("wire", "text"),
    [
        (
            {"__type__": "uuid", "__value__": {"hex": "0123456789abcdef0123456789abcdef"}},
            "01234567-89ab-cdef-0123-456789abcdef",
        ),
        ({"__type__": "decimal", "__value__": "1.50"}, "1.50"),
        (42, "42"),
        (-1.5, "-1.5"),
        (True, "True"),
        (0, "0"),
    ],
    ids=repr,
)
def test_an_id_of_any_kind_is_read_as_text(wire: object, text: str) -> None:
    """As uuid and as parent, in an event of its own and in a list beside others."""
    one = decode(body(sent(wire, parent_id=wire)))  # type: ignore[arg-type]  # no string
    several = decode(body([received("plain"), task("started", wire), task("failed", wire)]))  # type: ignore[arg-type]
    assert [event.uuid for event in one if isinstance(event, events.TaskSent)] == [text]
    assert [event.parent_id for event in one if isinstance(event, events.TaskSent)] == [text]
    assert [event.uuid for event in several if isinstance(event, events.WorkerTaskEvent)] == [
        "plain",
        text,
        text,
    ]


def test_the_way_of_a_publication_costs_no_event() -> None:
    """Exchange and routing key may be of any type and length."""
    ways: tuple[object, ...] = (5, [], {"name": "x"}, "x" * 1_000_000)
    for way in ways:
        (event,) = decode(body(sent(exchange=way, routing_key=way)))
        assert isinstance(event, events.TaskSent)
        assert event.queue == "q"


def test_a_long_name_is_cut() -> None:
    """A task name or queue of a megabyte is no reason to lose the event: its label ends earlier anyway."""
    (event,) = decode(body(sent(name="n" * 1_000_000, queue="q" * 1_000_000)))
    assert isinstance(event, events.TaskSent)
    assert (event.name, event.queue) == ("n" * MAX_NAME, "q" * MAX_NAME)


def test_the_last_of_two_equal_keys_counts() -> None:
    """As in Python's own ``json``."""
    (event,) = decode(b'{"type": "task-started", "uuid": "a", "uuid": "b", "timestamp": 1.5}')
    assert isinstance(event, events.TaskStarted)
    assert event.uuid == "b"


def test_long_lists() -> None:
    """100,000 events are decoded, one bad among them or not; millions of scraps are no list of events."""
    good = body(received())
    wire = b",".join([b'{"type":"task-started","uuid":"u","timestamp":1.5}'] * 100_000)
    assert len(list(decode(b"[%s]" % wire))) == 100_000
    decoded = list(decode(b"[null,%s,%s]" % (wire, good)))
    assert sum(isinstance(event, Undecodable) for event in decoded) == 1
    assert isinstance(decoded[-1], events.TaskReceived)
    (lost,) = decode(b"[%s]" % b",".join([b"{}"] * 2_000_000))
    assert isinstance(lost, Undecodable)
    assert lost.reason == "oversized"


@pytest.mark.parametrize(
    "scrap", [b'"', b'\\"', b"[", b"]", b"}", b"{", b'"a":', b" ", b"\\", b"9"], ids=repr
)
def test_no_time_is_wasted_on_scraps(scrap: bytes) -> None:
    """A megabyte of any sign takes time in proportion to its length, where trying again and again would take hours."""
    for wire in (b"[" + scrap * (1_000_000 // len(scrap)), b'["' + scrap * (1_000_000 // len(scrap))):
        assert all(isinstance(event, Undecodable) for event in decode(wire))


def test_a_lost_event_shows_its_beginning() -> None:
    """What is kept of it for the log is short."""
    (lost,) = decode(b'{"type": "task-sent", "args": "%s"}' % (b"x" * 1_000_000))
    assert isinstance(lost, Undecodable)
    assert lost.excerpt == b'{"type": "task-sent", "args": "' + b"x" * (MAX_EXCERPT - 31)
    assert len(lost.detail) <= 200


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
    decoded = list(decode(body([*junk[:place], received("good"), *junk[place:]])))
    assert isinstance(decoded[place], events.TaskReceived)
    assert len(decoded) == len(junk) + 1


@pytest.mark.parametrize(
    "wrap", [lambda event: event, lambda event: [event], lambda event: [event, {"type": 5}]]
)
def test_what_only_the_own_worker_knows_is_not_on_the_wire(wrap: Callable[[Any], Any]) -> None:
    """No body sets the queue, the publication and the trace of a task-received, under whatever usual name and type."""
    names = (
        "queue",
        "published",
        "_queue",
        "_published",
        "celery_exporter_published_at",
        "trace",
        "traceparent",
    )
    event = {"type": "task-received", "uuid": "u", "hostname": "w@h", "timestamp": 1.5}
    first = decode(json.dumps(wrap({**event, **dict.fromkeys(names, 5.0)})).encode())[0]
    assert isinstance(first, events.TaskReceived)
    assert (first.queue, first.published, first.trace) == (None, None, None)


def test_wire_names_that_nobody_can_guess() -> None:
    """They are new in each process, and not what another process has."""
    told = (
        "from celery_metrics_exporter.events.types import TaskReceived as t; "
        "print(*t.__struct_encode_fields__[-3:])"
    )
    other = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True).stdout
    own = events.TaskReceived.__struct_encode_fields__[-3:]
    assert events.TaskReceived.__struct_fields__[-3:] == ("queue", "published", "trace")
    assert all(len(name) == 64 for name in own)
    assert not {*own} & {*other.split()}
