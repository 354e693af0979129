"""What the reader of Redis tells of queues is what Celery and kombu have put there."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from celery.events.receiver import EventReceiver
from kombu import Exchange, Producer, Queue
from kombu.transport.redis import Channel, SentinelChannel

from celery_metrics_exporter.facts import QueueFacts
from tests.integration.known_tasks import APP, environment
from tests.integration.redis_reading import producing, reading
from tests.integration.servers import HOST, CeleryWorker, Valkey
from tests.waiting import wait_for

pytestmark = pytest.mark.needs("valkey")

#: Transport options, the path of the database in the URL, and where kombu puts priorities 0, 5, 7 and 9.
LAYOUTS: list[tuple[str, Mapping[str, object], dict[int, int]]] = [
    ("/0", {}, {0: 1, 3: 1, 6: 1, 9: 1}),
    ("/7", {}, {0: 1, 3: 1, 6: 1, 9: 1}),
    ("/0", {"global_keyprefix": "shop[1]*:"}, {0: 1, 3: 1, 6: 1, 9: 1}),
    ("/0", {"sep": ":"}, {0: 1, 3: 1, 6: 1, 9: 1}),
    ("/0", {"priority_steps": [0, 5]}, {0: 1, 5: 3}),
    ("/0", {"priority_steps": list(range(10))}, {**dict.fromkeys(range(10), 0), 0: 1, 5: 1, 7: 1, 9: 1}),
    ("/0", {"unacked_key": "held", "unacked_index_key": "held-since"}, {0: 1, 3: 1, 6: 1, 9: 1}),
    ("/3", {"global_keyprefix": "a:", "sep": "|", "priority_steps": [0, 9]}, {0: 3, 9: 1}),
]


@pytest.mark.parametrize(("path", "options", "by_priority"), LAYOUTS)
def test_lengths_by_priority(
    valkey: Valkey, path: str, options: Mapping[str, object], by_priority: dict[int, int]
) -> None:
    """Known messages at known priorities are counted in the lists of their steps, whatever kombu's options are."""
    url = f"redis://{HOST}:{valkey.port}{path}"
    with producing(url, options) as producer, reading(url, options) as reader:
        ids = producer.send("letters", 0, 5, 7, 9)
        facts = reader.read([])
        assert set(facts.queues) == {"letters"}
        letters = facts.queues["letters"]
        assert letters.exists
        assert letters.ready == 4
        assert dict(letters.by_priority) == by_priority
        assert letters.heads is not None
        assert set(letters.heads) <= set(ids)
        assert len(letters.heads) == sum(1 for number in by_priority.values() if number)
        assert (letters.unacked, letters.consumers) == (None, None)
        assert (facts.unacked, facts.oldest_unacked, facts.delayed) == (0, None, None)
        assert 0 < facts.round_trip < 3

        with producer.channel() as channel:
            before = time.time()
            assert channel.basic_get("letters") is not None
            after = time.time()
            facts = reader.read([])
            assert facts.queues["letters"].ready == 3
            assert facts.unacked == 1
            assert facts.oldest_unacked is not None
            assert before <= facts.oldest_unacked <= after
        wait_for(lambda: reader.read([]).queues["letters"].ready == 4, timeout=5, what="a message given back")
        assert reader.read([]).unacked == 0


def test_over_a_unix_socket(tmp_path: Path) -> None:
    """redis+socket:// works, with another database than 0."""
    path = tmp_path / "valkey.sock"
    with Valkey(tmp_path / "valkey", config={"unixsocket": str(path)}):
        url = f"redis+socket://{path}?virtual_host=2"
        with producing(url) as producer, reading(url) as reader:
            producer.send("letters", 0)
            assert reader.read([]).queues["letters"].ready == 1


def test_heads_are_what_workers_get_next(valkey: Valkey) -> None:
    """The first head is the message that the next worker gets, until all are gone; the others lead their lists."""
    with producing(valkey.url) as producer, reading(valkey.url) as reader:
        urgent = producer.send("letters", 0, 0)
        late = producer.send("letters", 9, 9, 9)
        for expected in (
            (urgent[0], late[0]),
            (urgent[1], late[0]),
            (late[0],),
            (late[1],),
            (late[2],),
        ):
            assert reader.read([]).queues["letters"].heads == expected
            assert producer.next_id("letters") == expected[0]
        assert reader.read([]).queues["letters"] == QueueFacts(
            exists=True, ready=0, heads=(), by_priority=dict.fromkeys((0, 3, 6, 9), 0)
        )


def test_heads_of_other_messages(valkey: Valkey) -> None:
    """A message without the header of a task has a digest: the same for the same message, another for another."""
    payloads = [
        b"nonsense",
        b"[]",
        b'{"headers": {"id": [5]}}',
        b'{"headers": {}}',
        b"\xff" * 10,
        b"[" * 100_000,
    ]
    with valkey.client() as client, reading(valkey.url) as reader:
        client.lpush("letters", *payloads)
        seen = []
        for _ in payloads:
            (head,) = reader.read(["letters"]).queues["letters"].heads or ()
            assert reader.read(["letters"]).queues["letters"].heads == (head,)
            seen.append(head)
            client.rpop("letters")
        assert len(set(seen)) == len(payloads)
        assert {len(head) for head in seen} == {32}


def test_what_is_wanted_need_not_exist(valkey: Valkey) -> None:
    """A queue that is asked for is looked at without a binding, and shown at 0 when the broker does not know it."""
    with valkey.client() as client, reading(valkey.url) as reader:
        client.lpush("unbound", "message")
        names = ["unbound", "missing", "\ud800", "", "sp ace\r\n"]
        queues = reader.read(names).queues
        assert list(queues) == names
        assert (queues["unbound"].exists, queues["unbound"].ready) == (True, 1)
        for name in names[1:]:
            assert (queues[name].exists, queues[name].ready, queues[name].heads) == (False, 0, ())


def test_bound_queues_come_and_go(valkey: Valkey) -> None:
    """A queue is known by its binding without a message, goes with it, and comes back with it."""
    with producing(valkey.url) as producer, reading(valkey.url) as reader, producer.channel() as channel:
        assert reader.read([]).queues == {}
        exchange = Exchange("mail", type="topic")
        queues = [Queue(name, exchange, routing_key=f"mail.{name}.#") for name in ("letters", "parcels")]
        for queue in queues:
            queue(channel).declare()
        wait_for(lambda: set(reader.read([]).queues) == {"letters", "parcels"}, timeout=5, what="both queues")
        assert reader.read([]).queues["letters"].exists

        Producer(channel, exchange).publish("hello", routing_key="mail.letters.today")
        assert reader.read([]).queues["letters"].ready == 1
        queues[0](channel).delete()
        wait_for(lambda: set(reader.read([]).queues) == {"parcels"}, timeout=5, what="one queue")
        assert not reader.read(["letters"]).queues["letters"].exists
        queues[1](channel).delete()
        wait_for(lambda: not reader.read([]).queues, timeout=5, what="no queue")

        (task,) = producer.send("letters", 3)
        wait_for(lambda: "letters" in reader.read([]).queues, timeout=5, what="the first queue again")
        letters = reader.read([]).queues["letters"]
        assert (letters.ready, letters.heads, letters.by_priority[3]) == (1, (task,), 1)


def test_queues_of_celerys_own_are_not_shown(valkey: Valkey, start_worker: Any) -> None:
    """Mailboxes, reply queues and event queues are no queues of tasks, whatever they are called."""
    settings = {"broker_url": valkey.url, "event_exchange": "happenings", "event_queue_prefix": "observer"}
    start_worker(APP, pool="solo", env=environment(settings))
    with (
        producing(valkey.url, event_exchange="happenings", event_queue_prefix="observer") as producer,
        producer.channel() as channel,
    ):
        receiver = EventReceiver(channel, app=producer.app)
        receiver.queue(channel).declare()
        assert producer.app.control.ping(timeout=1.0)
        with valkey.client() as client:
            tables = {key.decode() for key in client.scan_iter("_kombu.binding.*")}
            assert tables >= {"_kombu.binding.happenings", "_kombu.binding.celery.pidbox"}
        with producing(valkey.url) as other, other.channel() as its_channel:
            EventReceiver(its_channel, app=other.app).queue(its_channel).declare()
        with reading(valkey.url, event_exchange="happenings") as reader:
            assert set(reader.read([]).queues) == {"celery"}


def test_what_is_not_accepted_is_not_looked_at(valkey: Valkey) -> None:
    """A queue that is bound but not accepted is left out, unless it is asked for."""
    with producing(valkey.url) as producer:
        producer.send("letters", 0)
        producer.send("parcels", 0)
        with reading(valkey.url, accepts=lambda name: name != "parcels") as reader:
            assert set(reader.read(["stamps"]).queues) == {"letters", "stamps"}
            assert reader.read(["parcels"]).queues["parcels"].ready == 1


def test_no_more_queues_than_allowed(valkey: Valkey, caplog: pytest.LogCaptureFixture) -> None:
    """Of too many queues those that are wanted are read, the cut is said once, and those read stay the same."""
    with producing(valkey.url) as producer, reading(valkey.url, max_queues=3) as reader:
        for number in range(5):
            producer.send(f"queue-{number}", 0)
        shown = set(reader.read(["wanted"]).queues)
        assert len(shown) == 3
        assert "wanted" in shown
        producer.send("a", 0)
        for _ in range(3):
            assert set(reader.read(["wanted"]).queues) == shown
        assert [record.message for record in caplog.records].count(
            "too many queues, leaving out the rest: raise --max-series or use --queue-exclude"
        ) == 1


def test_a_worker_that_acknowledges_late(valkey: Valkey, start_worker: Any) -> None:
    """Tasks that a worker has fetched are unacked, since the worker took the first of them."""
    settings = {"broker_url": valkey.url, "task_acks_late": True}
    worker: CeleryWorker = start_worker(APP, pool="solo", env=environment(settings))
    with producing(valkey.url) as producer, reading(valkey.url) as reader:
        assert (reader.read([]).queues["celery"].ready, reader.read([]).unacked) == (0, 0)
        before = time.time()
        for _ in range(3):
            producer.app.send_task("known.add", args=(1, 2), queue="celery", countdown=600)
        wait_for(
            lambda: reader.read([]).unacked == 3,
            timeout=20,
            what=lambda: f"three tasks that the worker holds: {worker.output}",
        )
        facts = reader.read([])
        assert facts.queues["celery"].ready == 0
        assert facts.oldest_unacked is not None
        assert before <= facts.oldest_unacked <= time.time()
    worker.kill()


@pytest.mark.parametrize("channel", [Channel, SentinelChannel])
def test_what_it_takes_from_kombu_is_there(channel: type) -> None:
    """A kombu whose channel lacks these, or has other defaults, keeps queues elsewhere: the layout must follow."""
    attributes = {
        "global_keyprefix": "",
        "sep": "\x06\x16",
        "priority_steps": [0, 3, 6, 9],
        "keyprefix_queue": "_kombu.binding.%s",
        "unacked_key": "unacked",
        "unacked_index_key": "unacked_index",
        "ack_emulation": True,
    }
    assert {name: getattr(channel, name) for name in attributes} == attributes
    assert isinstance(channel.async_pool, property)  # type: ignore[attr-defined]  # of kombu, untyped
