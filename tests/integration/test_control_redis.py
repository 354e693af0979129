"""What asking workers writes on a Redis broker, what it may leave there, and what it has to be allowed."""

import json
import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis

from celery_metrics_exporter.facts import WorkerFacts
from tests.integration.asking import PidboxNode, asking
from tests.integration.known_tasks import APP, environment
from tests.integration.servers import CeleryWorker, Sentinels, Valkey
from tests.waiting import wait_for

StartWorker = Callable[..., CeleryWorker]

HOUR = 3600.0
DAY = 86_400
ANSWERS = "*.reply.celery-exporter.pidbox"
#: All that the documentation asks an administrator for.
RIGHTS = f"~{ANSWERS} &/*.celery.pidbox -@all +ping +publish +multi +exec +lrange +ltrim +rpush +expire +del +select"


def _keys(valkey: Valkey, pattern: str = "*") -> list[bytes]:
    with valkey.client() as client:
        return sorted(client.keys(pattern))


def _wait_for_no_answers(valkey: Valkey) -> None:
    wait_for(lambda: not _keys(valkey, ANSWERS), timeout=5, what=lambda: f"no list: {_keys(valkey, ANSWERS)}")


@contextmanager
def _user(valkey: Valkey, rights: str) -> Iterator[tuple[str, Any]]:
    """A user with these rights: the broker URL, and a client of an administrator."""
    with valkey.client() as client:
        client.execute_command("ACL", "SETUSER", "asker", "on", ">letmein", *rights.split())
        yield valkey.url.replace("://", "://asker:letmein@"), client


@contextmanager
def _monitored(valkey: Valkey) -> Iterator[list[str]]:
    """All commands of all clients meanwhile, without their arguments beyond the first."""
    seen: list[str] = []
    with valkey.client() as client, client.monitor() as monitor:
        stop = threading.Event()

        def listen() -> None:
            while not stop.is_set():
                try:
                    entry = monitor.next_command()
                except redis.TimeoutError:
                    continue
                seen.append(f"{entry['client_port']} {entry['command']}")

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield seen
        finally:
            stop.set()
            with valkey.client() as another:
                another.ping()  # ends the wait for the next command
            thread.join()


def test_what_is_written(valkey: Valkey) -> None:
    """Nothing but the questions and our own list of answers, which is gone once all have answered."""
    with PidboxNode(valkey.url) as node, valkey.client() as client:
        before = _keys(valkey)
        with _monitored(valkey) as seen, asking(valkey.url) as (remote, answers):
            answers.wait(node.facts)
            _wait_for_no_answers(valkey)
            ours = next(line.split()[0] for line in seen if " PUBLISH /0.celery.pidbox " in line)
            queue = remote._mailbox._queue
        assert _keys(valkey) == before
        assert client.dbsize() == len(before)
    told = {
        " ".join(line.split()[1:3]).replace(queue, "LIST")
        for line in seen
        if line.startswith(f"{ours} ") and not re.match(r"\d+ (HELLO|CLIENT|AUTH|SELECT) ", line)
    }
    # PING is kombu's and redis-py's check of a connection; not every pair of versions makes it on this one.
    assert {line.strip() for line in told} - {"PING"} == {
        "MULTI",
        "EXEC",
        "LRANGE LIST",
        "LTRIM LIST",
        "RPUSH LIST",
        "EXPIRE LIST",
        "DEL LIST",
        "PUBLISH /0.celery.pidbox",
    }


def test_a_worker_that_is_busy(valkey: Valkey, start_worker: StartWorker) -> None:
    """Its answer comes late, is used at the next question, and leaves no key."""
    worker = start_worker(APP, pool="solo", concurrency=1, env=environment({"broker_url": valkey.url}))
    with PidboxNode(valkey.url) as node, asking(valkey.url, interval=0.5) as (_, answers):
        worker.pause()
        answers.wait(node.facts)
        facts = WorkerFacts(worker.nodename, 1, 4, ("celery",), events_enabled=True)
        asked = len(node.commands)
        wait_for(lambda: len(node.commands) > asked + 2, timeout=5, what="more questions")
        worker.resume()
        answers.wait(facts)
        _wait_for_no_answers(valkey)
    worker.kill()


def test_a_worker_that_answers_after_our_end(valkey: Valkey, start_worker: StartWorker) -> None:
    """While an answer is missing the list has a time to live, which a stop and a late answer leave alone."""
    worker = start_worker(APP, pool="solo", concurrency=1, env=environment({"broker_url": valkey.url}))
    with valkey.client() as client:  # a worker says that it is ready before it subscribes to questions
        wait_for(client.pubsub_numpat, timeout=5, what="a worker that would hear us")
    worker.pause()
    with (
        PidboxNode(valkey.url) as node,
        valkey.client() as client,
        asking(valkey.url, interval=HOUR) as (_, answers),
    ):
        answers.wait(node.facts)
        # As a SIGKILL would leave it.
        (key,) = client.keys(ANSWERS)
        assert 0 < client.ttl(key) <= DAY
    with valkey.client() as client:
        assert client.lrange(key, 0, -1) == [b""]
        worker.resume()
        wait_for(lambda: client.llen(key) == 4, timeout=5, what=lambda: f"answers: {client.llen(key)}")
        assert 0 < client.ttl(key) <= DAY
    worker.kill()


def test_a_worker_that_never_answers(valkey: Valkey) -> None:
    """A worker that died with our question is not waited for once all that are left have answered another."""
    with PidboxNode(valkey.url) as node, valkey.client() as client:
        with client.pubsub() as dead:
            dead.psubscribe("/0.celery.pidbox")
            assert dead.get_message(timeout=5) is not None
            with asking(valkey.url, wake=False, interval=0.5) as (remote, answers):
                remote.schedule.wake()
                answers.wait(node.facts)
                assert _keys(valkey, ANSWERS)
                dead.punsubscribe()
                _wait_for_no_answers(valkey)
        assert not _keys(valkey, ANSWERS)


def test_a_prefix(valkey: Valkey) -> None:
    """With global_keyprefix questions and answers are those of its own workers, and all keys carry it."""
    options = {"global_keyprefix": "shop-"}
    with (
        PidboxNode(valkey.url, name="other@localhost"),
        PidboxNode(valkey.url, transport_options=options) as node,
        valkey.client() as client,
    ):
        before = _keys(valkey)
        with client.pubsub() as dead:
            dead.psubscribe("shop-/0.celery.pidbox")
            assert dead.get_message(timeout=5) is not None
            with asking(valkey.url, transport_options=options) as (_, answers):
                answers.wait(node.facts)
                (key,) = client.keys(ANSWERS)
                assert key.startswith(b"shop-")
                assert answers.workers == {node.name}
                client.delete(key)
        assert _keys(valkey) == sorted([*before, key])  # an answer is missing
        assert client.ttl(key) > 0


def test_a_flood_of_answers(valkey: Valkey, caplog: pytest.LogCaptureFixture) -> None:
    """Of more answers than any fleet gives the rest is thrown away; workers are asked as before."""
    body = json.dumps({"body": "", "headers": {}, "properties": {}})
    with PidboxNode(valkey.url) as node, asking(valkey.url, interval=0.5) as (remote, answers):
        answers.wait(node.facts)
        with valkey.client() as client:
            for _ in range(30):
                client.lpush(remote._mailbox._queue, *[body] * 1000)
        _wait_for_no_answers(valkey)
        assert 0 < remote.invalid_answers <= 11_000
        asked = answers.count
        wait_for(lambda: answers.count > asked + 1, timeout=5, what="answers of the node")
    assert not caplog.records


def test_least_rights(valkey: Valkey, caplog: pytest.LogCaptureFixture) -> None:
    """A user who may do what the documentation lists, and nothing else, is enough."""
    with (
        PidboxNode(valkey.url) as node,
        _user(valkey, RIGHTS) as (url, _),
        asking(url, interval=0.3) as (remote, answers),
    ):
        answers.wait(node.facts)
        wait_for(lambda: len(node.commands) >= 6, timeout=5, what="more questions")
        _wait_for_no_answers(valkey)
        assert remote.failures == 0
    assert not caplog.records


def test_no_right_to_ask(valkey: Valkey, caplog: pytest.LogCaptureFixture) -> None:
    """A refusal is said once, without a password, and given up on only for the moment."""
    caplog.set_level(logging.INFO)
    rights = RIGHTS.replace("&/*.celery.pidbox", "resetchannels")
    with (
        PidboxNode(valkey.url) as node,
        _user(valkey, rights) as (url, administrator),
        asking(url, interval=0.2) as (remote, answers),
    ):
        wait_for(lambda: remote.failures >= 3, timeout=5, what="further tries")
        assert not node.commands
        (record,) = caplog.records
        assert record.getMessage().startswith("cannot ask workers: the broker refuses our command")
        shown = str(record.__dict__["fields"])
        assert "permissions to access" in shown
        assert "channel" in shown
        assert "letmein" not in shown
        _wait_for_no_answers(valkey)
        administrator.execute_command("ACL", "SETUSER", "asker", "&/*.celery.pidbox")
        answers.wait(WorkerFacts(node.name, 4, 16, ("celery", "letters")))
        caplog.clear()
        administrator.execute_command("ACL", "SETUSER", "asker", "resetchannels")
        wait_for(lambda: caplog.records, timeout=5, what="another warning")


def test_no_right_to_answers(valkey: Valkey, caplog: pytest.LogCaptureFixture) -> None:
    """Without a list of answers workers still show themselves and send task events; that is said once."""
    with (
        PidboxNode(valkey.url) as node,
        _user(valkey, RIGHTS.replace(f"~{ANSWERS}", "")) as (url, _),
        asking(url, interval=0.2) as (remote, answers),
    ):
        node.wait("heartbeat", "enable_events")
        wait_for(lambda: remote.failures >= 3, timeout=5, what="further tries")
        assert answers.workers == set()
        assert node.commands == ["heartbeat", "enable_events"]
    (record,) = caplog.records
    assert record.getMessage().startswith("workers cannot answer: the broker refuses our reply queue")


def test_a_full_broker(valkey: Valkey, caplog: pytest.LogCaptureFixture) -> None:
    """A broker without memory left takes no list of answers; when there is room again workers are asked again."""
    with valkey.client() as client, PidboxNode(valkey.url) as node:
        client.config_set("maxmemory", 1)
        with asking(valkey.url, interval=0.2) as (_, answers):
            node.wait("heartbeat", "enable_events")
            client.config_set("maxmemory", 0)
            answers.wait(WorkerFacts(node.name, 4, 16, ("celery", "letters")))
    (record,) = caplog.records
    assert record.getMessage().startswith("workers cannot answer: the broker refuses our reply queue")


def test_sentinel(sentinels: Sentinels) -> None:
    """Workers are asked through the master and its successor, on both topics of kombu, and answer once."""
    options = {"master_name": sentinels.master_name, "sentinel_fanout_compat": True}
    with asking(sentinels.url, wake=False, transport_options=options) as (remote, answers):
        for server in (sentinels.master, sentinels.replica):
            with PidboxNode(sentinels.url, name=f"{server.port}@host", transport_options=options) as node:
                remote.schedule.wake()
                answers.wait(node.facts, timeout=15)
                _wait_for_no_answers(server)
            if server is sentinels.master:
                assert answers.count == 3
                sentinels.fail_over()
