"""What the receiver of Redis asks of the server: nothing but a subscription, with rights for nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from celery_metrics_exporter.receivers.redis import RedisSubscription
from tests.integration.event_sender import EventSender
from tests.integration.receiving import receiving, subscribed
from tests.integration.servers import HOST, Valkey
from tests.integration.test_least_privilege import rights_known_to
from tests.waiting import wait_for

#: All that a user needs to receive the events of database 0; without the first, ACL LOG fills with refusals.
RIGHTS = ("+client|setinfo", "+ping", "+psubscribe", "&/0.celeryev/*")
#: ... and of another one.
RIGHTS_OF_DATABASE_5 = ("+client|setinfo", "+ping", "+psubscribe", "+select", "&/5.celeryev/*")

PASSWORD = "known-to-nobody"


@contextmanager
def monitored(valkey: Valkey) -> Iterator[list[str]]:
    """Collect the commands that anybody sends to the server, in upper case, without their arguments."""
    seen: list[str] = []
    with valkey.client() as client, client.monitor() as monitor:
        yield seen
        with valkey.client() as last:
            last.echo("the end")
        for entry in monitor.listen():
            command = entry["command"].partition(" ")[0].upper()
            if command == "ECHO":
                return
            seen.append(command)


def reader(valkey: Valkey, *rights: str, database: int = 0) -> str:
    """Make a user who has these rights and no others; the URL that he connects to."""
    known = rights_known_to(valkey, rights)
    with valkey.client() as client:
        client.execute_command("ACL", "SETUSER", "reader", "reset", "on", f">{PASSWORD}", *known)
    return f"redis://reader:{PASSWORD}@{HOST}:{valkey.port}/{database}"


def send(valkey: Valkey, database: int = 0) -> None:
    """Send one event, as a worker does."""
    with EventSender({"broker_url": f"redis://{HOST}:{valkey.port}/{database}"}) as sender:
        sender.send("worker-heartbeat", freq=2.0)


def test_it_writes_nothing(valkey: Valkey) -> None:
    """From connecting to the stop, over a lost connection: a handshake, PING and PSUBSCRIBE, and no key appears."""
    with valkey.client() as client:
        client.set("a key", "of somebody")
        with monitored(valkey) as commands:
            with receiving(valkey.url) as received:
                client.publish("/0.celeryev/worker.heartbeat", "no event")
                wait_for(lambda: received.drops, timeout=5, what="a message")
                client.client_kill_filter(_type="pubsub")
                received.wait_up(connections=2)
            assert client.keys("*") == [b"a key"]
    ours, the_tests = {"PING", "PSUBSCRIBE"}, {"PUBLISH", "KEYS"}
    handshake = {"HELLO", "CLIENT"}
    assert set(commands) - handshake == ours | the_tests
    assert commands.count("PSUBSCRIBE") == 2


@pytest.mark.parametrize(("database", "rights"), [(0, RIGHTS), (5, RIGHTS_OF_DATABASE_5)])
def test_a_user_who_may_only_subscribe(valkey: Valkey, database: int, rights: tuple[str, ...]) -> None:
    """A user with a channel and the commands for it receives, also after a lost connection; he is refused nothing."""
    with receiving(reader(valkey, *rights, database=database)) as received, valkey.client() as client:
        send(valkey, database)
        received.wait_for_types("worker-heartbeat")
        client.client_kill_filter(_type="pubsub")
        received.wait_up(connections=2)
        send(valkey, database)
        received.wait_for_types(*["worker-heartbeat"] * 2)
        assert client.acl_log() == []


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("+ping", ["NoPermission", "ping"]),
        ("+psubscribe", ["NOPERM", "psubscribe", "&/0.celeryev/*"]),
        ("&/0.celeryev/*", ["NOPERM", "channel", "&/0.celeryev/*"]),
    ],
)
def test_a_missing_right_is_named(valkey: Valkey, missing: str, words: list[str]) -> None:
    """The error says in one line what is missing; as soon as the user has it, events flow."""
    url = reader(valkey, *(right for right in RIGHTS if right != missing))
    with subscribed(url, RedisSubscription) as received:
        assert "\n" not in received.wait_down(*words)
        reader(valkey, *RIGHTS)
        received.wait_up()
        send(valkey)
        received.wait_for_types("worker-heartbeat")


def test_a_user_who_loses_the_right(valkey: Valkey) -> None:
    """The server cuts a user off whose rights change; the reason shows with the next try."""
    with receiving(reader(valkey, *RIGHTS)) as received:
        reader(valkey, *RIGHTS[:-1])
        received.wait_down("&/0.celeryev/*")
