"""Heads and bindings of Redis: what the reader remembers between two readings, and how often it looks again."""

import json

import pytest
from kombu.transport.redis import Channel

from celery_metrics_exporter.queues.readers.redis_bindings import Bindings
from celery_metrics_exporter.queues.readers.redis_heads import ListHeads, message_id
from celery_metrics_exporter.queues.readers.redis_layout import Layout

KILOBYTE = 1024


@pytest.fixture
def layout() -> Layout:
    """As kombu has it by default; of a class, since an object would connect."""
    return Layout(Channel)


def message(task: str, size: int = 0) -> bytes:
    """A message of a task, as big as this and a little more."""
    return json.dumps({"body": "x" * size, "headers": {"id": task, "task": "known.add"}}).encode()


def readings_until_due(heads: ListHeads, key: bytes, reading: int) -> int:
    """How many readings it takes after this one until a head is looked at again."""
    return next(number for number in range(1, 100) if key in heads.due(reading + number))


@pytest.mark.parametrize(
    ("size", "readings"),
    [(0, 1), (63 * KILOBYTE, 1), (64 * KILOBYTE, 2), (640 * KILOBYTE, 11), (20_000 * KILOBYTE, 61)],
)
def test_big_heads_are_fetched_less_often(size: int, readings: int) -> None:
    """On average a list costs no more than 64 KiB a reading, and at most five minutes of its age at 5 s each."""
    heads = ListHeads()
    heads.update(b"letters", message("one", size), reading=7)
    assert readings_until_due(heads, b"letters", 7) == readings
    assert heads.of([b"letters"]) == ("one",)


def test_heads_of_lists_that_are_empty_are_forgotten() -> None:
    """Lists that were emptied, by their length or when looked at, have no head; new ones are to be fetched."""
    heads = ListHeads()
    for key in (b"a", b"b", b"c"):
        heads.update(key, message(key.decode()), reading=1)
    heads.update(b"c", None, reading=2)
    assert heads.of([b"c", b"b", b"a"]) == ("b", "a")
    assert heads.keep([b"c", b"a", b"d"]) == [b"c", b"d"]
    assert heads.of([b"a", b"b", b"c", b"d"]) == ("a",)
    assert heads.due(2) == [b"a"]


def test_ids_of_messages() -> None:
    """The id of a task is that in the headers, whatever else is there; an absurd one is as good as none."""
    assert message_id(message("6c3a2d0e")) == "6c3a2d0e"
    assert message_id(b'{"headers": {"id": "\\u00e9", "lang": null}, "body": 5}') == "é"
    assert message_id(b'{"headers": {"id": 42}}') == "42"
    wire = (
        b'{"headers": {"id": {"__type__": "uuid", "__value__": {"hex": "0123456789abcdef0123456789abcdef"}}}}'
    )
    assert message_id(wire) == "01234567-89ab-cdef-0123-456789abcdef"
    assert len(message_id(message("x" * 5000))) == 32
    assert len(message_id(message(""))) == 32


def table(name: str) -> bytes:
    """The key of the bindings of an exchange."""
    return f"_kombu.binding.{name}".encode()


def binding(queue: str) -> bytes:
    """A member of such a table."""
    return f"key\x06\x16\x06\x16{queue}".encode()


def test_big_tables_are_fetched_less_often(layout: Layout) -> None:
    """A table of thousands of bindings is not fetched with each reading, a small one is."""
    bindings = Bindings(layout, "celeryev")
    bindings.add_scanned([b"0", [table("big"), table("small")]])
    assert bindings.due(1) == [table("big"), table("small")]
    bindings.update(table("big"), [binding(f"q{number}") for number in range(3500)], 1)
    bindings.update(table("small"), [binding("q")], 1)
    assert [bindings.due(number) for number in (2, 3, 4, 5)] == [
        [table("small")],
        [table("small")],
        [table("small")],
        [table("big"), table("small")],
    ]
    assert len(bindings.queues) == 3501


def test_queues_come_and_go_with_their_bindings(layout: Layout) -> None:
    """A table that is read again changes what it has changed, and is forgotten when it is empty."""
    bindings = Bindings(layout, "celeryev")
    bindings.add_scanned([b"17", [table("mail")]])
    assert bindings.cursor == 17
    bindings.update(table("mail"), [binding("letters"), binding("parcels")], 1)
    assert list(bindings.queues) == ["letters", "parcels"]
    bindings.add_scanned([b"0", [table("mail")]])
    bindings.update(table("mail"), [binding("letters"), binding("parcels")], 2)
    assert list(bindings.queues) == ["letters", "parcels"]
    bindings.update(table("mail"), [binding("letters")], 3)
    assert list(bindings.queues) == ["letters"]
    bindings.update(table("mail"), [], 4)
    assert list(bindings.queues) == []
    assert bindings.due(5) == []


def test_tables_of_events_and_remote_control_are_never_fetched(layout: Layout) -> None:
    """They may hold thousands of bindings that dead clients left."""
    bindings = Bindings(layout, "happenings")
    names = ("happenings", "celeryev", "celery.pidbox", "reply.celery.pidbox")
    bindings.add_scanned([b"0", [table(name) for name in names]])
    assert bindings.due(1) == []


def test_no_more_tables_than_can_be_celerys(layout: Layout) -> None:
    """However many keys there are that look like tables, ten thousand of them are looked at."""
    bindings = Bindings(layout, "celeryev")
    for step in range(3):
        bindings.add_scanned([b"1", [table(f"{step}-{number}") for number in range(5000)]])
    assert len(bindings.due(1)) == 10_000
