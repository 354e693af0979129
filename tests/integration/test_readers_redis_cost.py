"""What a reading of Redis costs: exchanges with the server, commands, bytes, by count and never by the clock."""

import json
from typing import Any

import pytest
from redis.connection import AbstractConnection

from tests.integration.redis_reading import producing, reading
from tests.integration.servers import Valkey
from tests.waiting import wait_for

pytestmark = pytest.mark.needs("valkey")

QUEUES = 1000
STEPS = (0, 3, 6, 9)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of what redis-py sends in one piece, which is one exchange with the server each."""
    sizes: list[int] = []
    send: Any = AbstractConnection.send_packed_command

    def counted(self: Any, command: Any, check_health: bool = True) -> None:
        sizes.append(sum(map(len, command)))
        send(self, command, check_health=check_health)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", counted)
    return sizes


def calls(server: Valkey) -> dict[str, int]:
    """How often each command was called since this was asked last."""
    with server.client() as client:
        stats = client.info("commandstats")
        client.config_resetstat()
    return {name.removeprefix("cmdstat_"): int(info["calls"]) for name, info in stats.items()}


def key(queue: str, step: int) -> str:
    """The key of a list."""
    return f"{queue}\x06\x16{step}" if step else queue


def test_a_thousand_queues(valkey: Valkey, sent: list[int]) -> None:
    """One exchange reads 1,000 queues at four priorities; one more only where messages or bindings are new."""
    names = [f"queue-{number}" for number in range(QUEUES)]
    with valkey.client() as client, reading(valkey.url, max_queues=2 * QUEUES) as reader:
        pipeline = client.pipeline(transaction=False)
        for name in names:
            pipeline.sadd(f"_kombu.binding.{name}", f"{name}\x06\x16\x06\x16{name}")
        pipeline.execute()
        reader.read([])
        calls(valkey)
        sent.clear()
        facts = reader.read([])
        assert len(sent) == 1
        assert set(facts.queues) == set(names)
        counts = calls(valkey)
        assert (counts["llen"], counts["smembers"], counts["scan"]) == (4 * QUEUES, QUEUES, 1)
        assert "lindex" not in counts

        for name in names:
            for step in STEPS:
                pipeline.lpush(key(name, step), json.dumps({"headers": {"id": f"{name}/{step}"}}))
        pipeline.sadd("_kombu.binding.more", "more\x06\x16\x06\x16more")
        pipeline.execute()
        sent.clear()
        for exchanges in (2, 3, 4):  # the first finds heads and a table, the second has nothing new
            facts = reader.read([])
            assert len(sent) == exchanges
        assert len(facts.queues) == QUEUES + 1
        for name in names:
            assert facts.queues[name].ready == 4
            assert facts.queues[name].heads == tuple(f"{name}/{step}" for step in STEPS)


def test_the_first_reading(valkey: Valkey, sent: list[int]) -> None:
    """The first reading finds the bindings among tens of thousands of results, in a few exchanges."""
    fill(valkey, 60_000)
    with producing(valkey.url) as producer, reading(valkey.url) as reader:
        producer.send("letters", 0)
        assert reader.read([]).queues["letters"].ready == 1
        assert calls(valkey)["scan"] <= 21


def test_a_huge_database(valkey: Valkey, sent: list[int]) -> None:
    """Among hundreds of thousands of results no reading goes through all; the bindings are found in the end."""
    fill(valkey, 300_000)
    with producing(valkey.url) as producer, reading(valkey.url) as reader:
        for number in range(20):
            producer.send(f"queue-{number}", 0)
        calls(valkey)
        reader.read([])
        assert calls(valkey)["scan"] == 21
        reader.read([])
        assert calls(valkey)["scan"] == 1
        wait_for(lambda: len(reader.read([]).queues) == 20, timeout=30, what="all queues")


def fill(server: Valkey, results: int) -> None:
    """Put this many keys into the database, as a result backend does."""
    script = "for i = 1, ARGV[1] do redis.call('SET', 'celery-task-meta-' .. i, '') end"
    with server.client() as client:
        client.eval(script, 0, results)


def test_big_messages(valkey: Valkey) -> None:
    """A message of a megabyte that waits is fetched once in many readings."""
    with valkey.client() as client, reading(valkey.url) as reader:
        client.lpush("letters", json.dumps({"body": "x" * 1_000_000, "headers": {"id": "big"}}))
        calls(valkey)
        for _ in range(16):
            assert reader.read(["letters"]).queues["letters"].heads == ("big",)
        assert calls(valkey)["lindex"] == 1
        reader.read(["letters"])
        assert calls(valkey)["lindex"] == 1
