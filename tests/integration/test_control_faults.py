"""Brokers that go away, freeze or drop connections while workers are asked."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from socket import SHUT_RDWR

import pytest

from celery_metrics_exporter.control.remote import RemoteControl
from celery_metrics_exporter.facts import WorkerFacts
from tests.integration.asking import PidboxNode, asking
from tests.integration.conftest import Vhost
from tests.integration.faults.front import Front
from tests.integration.servers import RabbitMQ, Valkey
from tests.waiting import wait_for

HOUR = 3600.0
INSPECTED = (4, 16, ("celery", "letters"))
AWAY = "cannot ask workers, trying again"
BACK = "workers can be asked again"


class Freezer:
    """A broker of either kind: its URL, and what happens to it."""

    def __init__(self, url: str, server: Valkey | Front, drop: Callable[[RemoteControl], None]) -> None:
        self.url = url
        self.server = server
        self.drop = drop

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Its connections stay open, nothing answers."""
        self.server.pause()
        try:
            yield
        finally:
            self.server.resume()


@pytest.fixture(params=["redis", "amqp"])
def broker(request: pytest.FixtureRequest) -> Iterator[Freezer]:
    """A broker for this test alone; its URL is that of the user ``questioner``."""
    if request.param == "redis":
        valkey: Valkey = request.getfixturevalue("valkey")
        with valkey.client() as client:
            client.execute_command("ACL", "SETUSER", "questioner", "on", ">letmein", "~*", "&*", "+@all")

        def kill(_remote: RemoteControl) -> None:
            with valkey.client() as client:
                assert client.execute_command("CLIENT", "KILL", "USER", "questioner")

        yield Freezer(valkey.url.replace("://", "://questioner:letmein@"), valkey, kill)
        return
    rabbitmq: RabbitMQ = request.getfixturevalue("rabbitmq")
    vhost: Vhost = request.getfixturevalue("rabbitmq_vhost")
    rabbitmq.add_user("questioner", "letmein")
    rabbitmq.set_permissions(vhost.name, "questioner")

    def cut(remote: RemoteControl) -> None:
        # The management plugin takes seconds to learn whose connections there are.
        remote._mailbox._connection.connection.transport.sock.shutdown(SHUT_RDWR)

    url = rabbitmq.vhost_url(vhost.name, user="questioner", password="letmein")
    with Front(rabbitmq.port) as front:
        yield Freezer(url.replace(f":{rabbitmq.port}/", f":{front.port}/"), front, cut)


def _guest(broker: Freezer) -> str:
    """The URL of another user of the same broker."""
    other = "" if isinstance(broker.server, Valkey) else "guest:guest@"
    return broker.url.replace("questioner:letmein@", other)


def test_an_idle_connection_that_is_dropped(broker: Freezer, caplog: pytest.LogCaptureFixture) -> None:
    """A firewall, a timeout or an operator ends it between two questions: the next ones are asked once, in time."""
    caplog.set_level(logging.INFO)
    with (
        PidboxNode(_guest(broker)) as node,
        asking(broker.url, wake=False, interval=HOUR) as (remote, answers),
    ):
        remote.schedule.request_events()
        answers.wait(WorkerFacts(node.name, events_enabled=True))
        wait_for(lambda: remote._listening_until is None, timeout=5, what="the end of the question")
        broker.drop(remote)
        remote.schedule.request_inspection()
        answers.wait(node.facts, timeout=3)
        assert node.commands == ["enable_events", "stats", "active_queues"]
        assert remote.failures == 0
    assert not caplog.records


def test_a_connection_that_is_lost_with_answers(broker: Freezer, caplog: pytest.LogCaptureFixture) -> None:
    """The answers of a worker that is busy may be lost with the connection: all are asked again soon."""
    with (
        PidboxNode(_guest(broker)) as node,
        PidboxNode(_guest(broker), name="busy@localhost") as busy,
        asking(broker.url, wake=False, interval=HOUR) as (remote, answers),
    ):
        with busy.held():
            remote.schedule.wake()
            answers.wait(node.facts)
            broker.drop(remote)
        wait_for(
            lambda: replace(answers.of(busy.name), events_enabled=True) == busy.facts,
            timeout=10,
            what=lambda: f"{busy.facts}; there is {answers.of(busy.name)}",
        )
    assert not caplog.records


def test_a_frozen_broker(broker: Freezer, caplog: pytest.LogCaptureFixture) -> None:
    """It is said once; a stop waits for no answer of it; when it goes on, everything is asked."""
    caplog.set_level(logging.INFO)
    with (
        PidboxNode(_guest(broker)) as node,
        asking(broker.url, wake=False, interval=0.2, timeout=0.7) as (remote, answers),
    ):
        answers.wait(WorkerFacts(node.name, *INSPECTED))
        with broker.frozen():
            wait_for(lambda: remote.failures >= 2, timeout=10, what="failures")
            remote.schedule.request_events()
        answers.wait(node.facts, timeout=10)
        wait_for(lambda: len(caplog.records) == 2, timeout=5, what="two lines")
    assert [record.getMessage() for record in caplog.records] == [AWAY, BACK]
    assert "letmein" not in str(caplog.records[0].__dict__["fields"])


def test_a_stop_while_the_broker_is_frozen(broker: Freezer) -> None:
    """It takes no longer than one answer that does not come, with the default timeout."""
    with PidboxNode(_guest(broker)) as node:
        try:
            with asking(broker.url, interval=0.1, stop_s=3.5) as (_, answers):
                wait_for(lambda: answers.of(node.name).queues, timeout=5, what="answers")
                broker.server.pause()
        finally:
            broker.server.resume()


def test_a_broker_that_comes_later_and_restarts(valkey: Valkey, caplog: pytest.LogCaptureFixture) -> None:
    """Workers are asked as soon as there is a broker; each outage is one line, and one for its end."""
    caplog.set_level(logging.INFO)
    valkey.stop()
    with asking(valkey.url, interval=0.3) as (remote, answers):
        for outage in (1, 2):
            wait_for(lambda: remote.failures >= 2, timeout=10, what="failures")
            valkey.start()
            with PidboxNode(valkey.url, name=f"node-{outage}@localhost") as node:
                remote.schedule.wake()
                answers.wait(node.facts)
            valkey.stop()
            remote.failures = 0
        lines = [record.getMessage() for record in caplog.records]
        assert lines[:3] == [AWAY, BACK, AWAY]
        assert valkey.url.removesuffix("/0") in str(caplog.records[0].__dict__["fields"])
