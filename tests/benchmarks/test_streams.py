"""What the benchmarks publish: the stream of every shape, and the block that is sent over and over."""

import json
import re
from base64 import b64decode
from collections import Counter

import pytest
from hiredis import Reader
from prometheus_client.samples import Sample

from benchmarks.load.block import LAPS, Block, aligned, digits, make_block
from benchmarks.metrics import total
from benchmarks.scrapes.filling import FilledRegistry, kinds_for
from benchmarks.stream import KINDS, Workload, make_stream
from celery_metrics_exporter.events.decode import decode
from celery_metrics_exporter.events.types import WIRE_NAMES, AnyEvent, Event, Undecodable

START = 1_800_000_000.0
WORKLOAD = Workload(tasks=200, list_size=3, rate=1000.0)


def events_of(bodies: list[bytes]) -> list[AnyEvent | Undecodable]:
    """All events of bodies."""
    return [event for body in bodies for event in decode(body)]


@pytest.mark.parametrize("list_size", [1, 3, 24])
@pytest.mark.parametrize("sent", [True, False])
def test_stream_holds_what_it_says(list_size: int, *, sent: bool) -> None:
    """Lists are full but for the last of each worker, no event is lost, and there is no task-sent without it."""
    workload = Workload(tasks=200, list_size=list_size, rate=1000.0, sent=sent)
    stream = make_stream(workload, START)
    lists = [json.loads(each.body) for each in stream.messages if each.routing_key == "task.multi"]
    assert sum(map(len, lists)) == 3 * workload.tasks
    assert sum(len(each) != list_size for each in lists) <= 10
    assert stream.events["task-sent"] == (workload.tasks if sent else 0)
    told = Counter(
        WIRE_NAMES[type(event)]
        for event in events_of([each.body.encode() for each in stream.messages])
        if isinstance(event, Event)
    )
    assert told == {kind: number for kind, number in stream.events.items() if number}


def test_workload_has_as_many_names_and_other_ids() -> None:
    """Kinds are names of tasks; another seed gives other ids."""

    def ids_and_names(workload: Workload) -> tuple[set[str], set[str]]:
        bodies = [
            json.loads(each.body)
            for each in make_stream(workload, START).messages
            if each.routing_key == "task.sent"
        ]
        return {body["uuid"] for body in bodies}, {body["name"] for body in bodies}

    ids, names = ids_and_names(WORKLOAD)
    others, many = ids_and_names(Workload(tasks=200, list_size=3, rate=1000.0, kinds=50, seed=7))
    assert len(ids) == 200
    assert not ids & others
    assert len(names) == KINDS
    assert len(many) == 50


def bodies_of(block: Block) -> list[bytes]:
    """The bodies in a block, as a server and a consumer would take it apart."""
    reader = Reader()
    reader.feed(bytes(block.data))
    bodies = []
    while (command := reader.gets()) is not False:
        word, channel, payload = command
        assert word == b"PUBLISH"
        assert channel.startswith(b"/0.celeryev/")
        bodies.append(b64decode(json.loads(payload)["body"]))
    return bodies


def written(block: Block, lap: int) -> set[str]:
    """Let a block tell of the tasks of a lap; returns their ids."""
    for place in block.ids:
        block.data[place : place + 4] = digits(lap)
    bodies = bodies_of(block)
    ids = [set(re.findall(rb'"uuid": *"([^"]*)"', body)) for body in bodies]
    roots = [set(re.findall(rb'"root_id": *"([^"]*)"', body)) for body in bodies]
    assert all(root <= own for root, own in zip(roots, ids, strict=True))
    return {one.decode() for found in ids for one in found}


def test_block_tells_of_other_tasks_in_each_lap() -> None:
    """Only ids change, all events of a task keep one id, and every body can still be decoded."""
    block = make_block(WORKLOAD, START)
    kinds = Counter(type(event) for event in events_of(bodies_of(block)))
    first, last = written(block, 1), written(block, LAPS - 1)
    assert len(first) == len(last) == WORKLOAD.tasks
    assert not first & last
    assert {one[3:] for one in first} == {one[3:] for one in last}
    assert Counter(type(event) for event in events_of(bodies_of(block))) == kinds
    assert sum(kinds.values()) == block.events[-1] == 4 * WORKLOAD.tasks


def test_block_knows_its_messages() -> None:
    """Each message ends where it says, with as many ids before it."""
    block = make_block(WORKLOAD, START)
    assert len(block.ends) == len(block.events) == len(block.ids_until)
    assert block.ends[-1] == len(block.data)
    assert block.ids_until[-1] == len(block.ids)
    for end, until in zip(block.ends, block.ids_until, strict=True):
        assert block.data[end - 2 : end] == b"\r\n"
        assert sum(place < end for place in block.ids) == until


def test_ids_are_brought_to_multiples_of_three() -> None:
    """Spaces come before an id, and nothing else changes."""
    identity = "0f3c2a5e-0000-4000-8000-000000000000"
    text = json.dumps([{"uuid": identity, "n": 1, "root_id": identity, "name": "id"}] * 3)
    body, places = aligned(text)
    assert json.loads(body) == json.loads(text)
    assert len(places) == 6
    assert all(place % 3 == 0 and body[place:].startswith(identity) for place in places)


def test_registry_has_about_as_many_series_as_wanted() -> None:
    """As many kinds of tasks are chosen, and a change leaves their number as it is, but for rare exceptions."""
    filled = FilledRegistry(kinds_for(2000))
    before = filled.series()
    assert before == pytest.approx(2000, rel=0.1)
    filled.change()
    assert filled.series() == pytest.approx(before, rel=0.05)


def test_total_is_of_the_samples_that_carry_the_labels() -> None:
    """Others of the name, and other names, are not added."""
    found = [Sample("a", {"x": "1", "y": "1"}, 1), Sample("a", {"x": "2"}, 2), Sample("b", {"x": "1"}, 4)]
    assert total(found, "a") == 3
    assert total(found, "a", x="1") == 1
