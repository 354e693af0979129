"""What the reader of Redis asks for, and what happens where it may not see something."""

import contextlib
import threading
from collections.abc import Iterator

import pytest
import redis
from redis.exceptions import NoPermissionError

from tests.integration.redis_reading import producing, reading
from tests.integration.servers import HOST, Valkey
from tests.waiting import wait_for

pytestmark = pytest.mark.needs("valkey")

#: What a user of Redis needs so that the reader sees everything in database 0; docs/permissions.md has the same line.
RIGHTS = ("%R~*", "+ping", "+scan", "+smembers", "+llen", "+lindex", "+hlen", "+zrange")
#: What redis-py sends when it connects; a server that refuses CLIENT SETINFO is served all the same.
CONNECTING = {"HELLO", "CLIENT", "SELECT", "AUTH"}
READING = {"PING", "SCAN", "SMEMBERS", "LLEN", "LINDEX", "HLEN", "ZRANGE"}
LAST = "the-last-command"


@contextlib.contextmanager
def monitored(server: Valkey) -> Iterator[dict[str, list[str]]]:
    """Collect all commands that the server gets meanwhile, by the address of the client."""
    commands: dict[str, list[str]] = {}
    ended = threading.Event()
    with server.client() as client, client.monitor() as monitor:

        def collect() -> None:
            with contextlib.suppress(redis.RedisError):  # the server was stopped, the test has failed
                for entry in monitor.listen():
                    if LAST in entry["command"]:
                        ended.set()
                        return
                    address = f"{entry['client_address']}:{entry['client_port']}"
                    commands.setdefault(address, []).append(entry["command"])

        threading.Thread(target=collect, daemon=True).start()
        yield commands
        with server.client() as other:
            other.echo(LAST)
        assert ended.wait(5)


def limited_user(server: Valkey, *rights: str) -> str:
    """Make a user with these rights and no others, or change it to these; returns the URL with which it connects."""
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "watcher", "reset", "-@all", "on", ">word", *rights)
    return f"redis://watcher:word@{HOST}:{server.port}/0"


def fill(server: Valkey) -> list[str]:
    """Put two messages into a queue, and let a consumer die that had taken a third one; returns the ids of the two."""
    with producing(server.url) as producer:
        producer.send("letters", 0)
        with producer.channel() as channel:
            channel.basic_get("letters")
            channel.qos.restore_at_shutdown = False  # as after kill -9
        return producer.send("letters", 0, 9)


def test_it_writes_nothing(valkey: Valkey) -> None:
    """From connecting to closing, with messages, bindings and unacked ones to look at, only questions are sent."""
    fill(valkey)
    with valkey.client() as client:
        before = {key: client.dump(key) for key in client.scan_iter()}
    with monitored(valkey) as commands:
        with reading(valkey.url) as reader:
            for _ in range(3):
                assert reader.read(["letters", "missing"]).queues["letters"].ready == 2
        # What MONITOR tells arrives when it can.
        address = wait_for(
            lambda: next((each for each, sent in [*commands.items()] if "LLEN letters" in sent), ""),
            timeout=5,
            what="the reader's commands",
        )
        wait_for(lambda: address not in addresses(valkey), timeout=5, what="the end of the connection")
    verbs = {command.split()[0] for command in commands[address]}
    assert verbs - CONNECTING == READING
    with valkey.client() as client:
        assert {key: client.dump(key) for key in client.scan_iter()} == before


def addresses(server: Valkey) -> set[str]:
    """Addresses of all clients of the server."""
    with server.client() as client:
        return {each["addr"] for each in client.client_list()}


def test_a_user_with_few_rights(valkey: Valkey, caplog: pytest.LogCaptureFixture) -> None:
    """With the documented rights alone everything is told, and nothing is complained about."""
    ids = fill(valkey)
    with reading(limited_user(valkey, *RIGHTS)) as reader:
        for _ in range(2):
            facts = reader.read([])
            assert facts.queues["letters"].ready == 2
            assert facts.queues["letters"].heads == tuple(ids)
            assert facts.unacked == 1
            assert facts.oldest_unacked is not None
    assert caplog.records == []


def test_another_database_needs_one_right_more(valkey: Valkey) -> None:
    """In another database than 0 the user must be allowed to SELECT it."""
    url = limited_user(valkey, *RIGHTS).removesuffix("0") + "4"
    with reading(url) as reader:
        with pytest.raises(NoPermissionError):
            reader.read(["letters"])
        limited_user(valkey, *RIGHTS, "+select")
        assert reader.read(["letters"]).queues["letters"].ready == 0


REFUSALS = {
    "+scan": "the list of bindings",
    "+smembers": "the queues of a binding",
    "+lindex": "the next message of a queue",
    "+hlen": "the number of unacknowledged messages",
    "+zrange": "the oldest unacknowledged message",
}


def refusal(what: str, right: str) -> str:
    """The log message for a right that is missing."""
    return f"cannot read {what}: the user needs {right}, and the right to read its key"


@pytest.mark.parametrize("missing", REFUSALS)
def test_a_right_that_is_missing(valkey: Valkey, missing: str, caplog: pytest.LogCaptureFixture) -> None:
    """Each right that is missing costs what it is for and nothing else, is said once, and not asked for again."""
    ids = fill(valkey)
    url = limited_user(valkey, *(right for right in RIGHTS if right != missing))
    with reading(url) as reader, valkey.client() as client:
        facts = [reader.read(["wanted"]) for _ in range(3)][-1]
        assert ("letters" in facts.queues) == (missing not in {"+scan", "+smembers"})
        assert facts.queues["wanted"].ready == 0
        assert (facts.unacked is None) == (missing == "+hlen")
        assert (facts.oldest_unacked is None) == (missing == "+zrange")
        letters = reader.read(["letters"]).queues["letters"]
        assert letters.ready == 2
        assert letters.heads == (None if missing == "+lindex" else tuple(ids))
        assert [record.message for record in caplog.records] == [refusal(REFUSALS[missing], missing)]
        refused = client.info("commandstats")[f"cmdstat_{missing.removeprefix('+')}"]["rejected_calls"]
        assert refused <= 4  # the lists, or tables, of one reading
        limited_user(valkey, *RIGHTS)
        reader.close()  # what is refused is asked for again on another connection
        assert reader.read(["letters"]).queues["letters"].heads == tuple(ids)


@pytest.mark.parametrize("missing", ["+llen", "+ping", "%R~*"])
def test_a_right_that_nothing_works_without(valkey: Valkey, missing: str) -> None:
    """A user that may see the length of no queue, or not even connect as kombu does, gets an error each time."""
    fill(valkey)
    url = limited_user(valkey, *(right for right in RIGHTS if right != missing))
    with reading(url) as reader:
        for _ in range(2):
            with pytest.raises(NoPermissionError):
                reader.read(["letters"])


def test_keys_that_are_out_of_reach(valkey: Valkey, caplog: pytest.LogCaptureFixture) -> None:
    """A queue whose keys the user may not read is left out; the others are told."""
    fill(valkey)
    keys = ("%R~_kombu.binding.*", "%R~unacked", "%R~unacked_index", "%R~letters", "%R~letters\x06\x16*")
    rights = [right for right in RIGHTS if "~" not in right]
    with reading(limited_user(valkey, *rights, *keys)) as reader:
        for _ in range(2):
            facts = reader.read(["parcels"])
            assert set(facts.queues) == {"letters"}
            assert facts.queues["letters"].ready == 2
            assert facts.unacked == 1
    assert [record.message for record in caplog.records] == [refusal("the length of a queue", "+llen")]


def test_keys_of_other_kinds(valkey: Valkey, caplog: pytest.LogCaptureFixture) -> None:
    """Keys that another program uses for something else cost only what they stand for."""
    fill(valkey)
    with valkey.client() as client:
        client.set("parcels", "no list")
        client.set("stamps\x06\x163", "no list")
        client.set("_kombu.binding.strange", "no set")
        client.sadd(
            "_kombu.binding.garbage", "one", "two\x06\x16parts", b"\x06\x16\x06\x16\xff", "\x06\x16\x06\x16"
        )
        client.delete("unacked", "unacked_index")
        client.set("unacked", "no hash")
        client.set("unacked_index", "no sorted set")
        with reading(valkey.url) as reader:
            for _ in range(3):
                facts = reader.read(["parcels", "stamps"])
                assert set(facts.queues) == {"letters"}
                assert facts.queues["letters"].ready == 2
                assert (facts.unacked, facts.oldest_unacked) == (None, None)
            assert len(caplog.records) == 4
            client.delete("unacked", "parcels", "stamps\x06\x163")
            facts = reader.read(["parcels", "stamps"])
            assert set(facts.queues) == {"letters", "parcels", "stamps"}
            assert facts.unacked == 0
