"""Queues of a real RabbitMQ, read by passive declares: known numbers, and what may happen to a queue."""

import logging
from collections.abc import Iterator
from contextlib import closing

import pytest

from celery_metrics_exporter.facts import QueueFacts
from celery_metrics_exporter.queues.readers.amqp import LONGEST_PAUSE, PROBES, AmqpReader
from celery_metrics_exporter.queues.readers.amqp_session import TRIPS, WIDTH, AmqpSession, Answers
from tests.integration.amqp_queues import AmqpQueues, broker
from tests.integration.conftest import Vhost
from tests.integration.servers import RabbitMQ
from tests.integration.shaping_front import ShapingFront
from tests.waiting import wait_for

QUORUM: dict[str, object] = {"x-queue-type": "quorum"}
STREAM: dict[str, object] = {"x-queue-type": "stream"}
MISSING = QueueFacts(exists=False, ready=0, consumers=0)


def empty(*, ready: int = 0, consumers: int = 0) -> QueueFacts:
    """What there is to know of a queue over AMQP."""
    return QueueFacts(exists=True, ready=ready, consumers=consumers)


@pytest.fixture
def queues(rabbitmq_vhost: Vhost) -> Iterator[AmqpQueues]:
    """The queues of a fresh virtual host, empty as yet."""
    with AmqpQueues(rabbitmq_vhost.url) as queues:
        yield queues


@pytest.fixture
def reader(rabbitmq_vhost: Vhost) -> Iterator[AmqpReader]:
    """A reader of the same virtual host."""
    with closing(AmqpReader(broker(rabbitmq_vhost.url))) as reader:
        yield reader


def test_known_numbers(queues: AmqpQueues, reader: AmqpReader) -> None:
    """Ready messages and consumers of classic and quorum queues are told; what a consumer holds is not ready."""
    queues.declare("mail", "idle")
    queues.declare("orders", arguments=QUORUM)
    queues.declare("log", arguments=STREAM)
    wanted = ["mail", "orders", "idle", "log"]
    queues.publish("mail", 5)
    queues.publish("orders", 7)
    facts = reader.read(wanted)
    assert facts.queues == {
        "mail": empty(ready=5),
        "orders": empty(ready=7),
        "idle": empty(),
        "log": empty(),
    }
    assert list(facts.queues) == wanted
    assert 0 < facts.round_trip < 1
    assert (facts.unacked, facts.oldest_unacked, facts.delayed) == (None, None, None)
    held = queues.hold("mail", 3), queues.hold("orders", 4)
    facts = reader.read(wanted)
    assert facts.queues["mail"] == empty(ready=2, consumers=1)
    assert facts.queues["orders"] == empty(ready=3, consumers=1)
    for channel in held:
        channel.close()
    wait_for(
        lambda: reader.read(wanted).queues["orders"] == empty(ready=7), timeout=5, what="returned messages"
    )
    assert reader.read(wanted).queues["mail"] == empty(ready=5)


def test_a_stream(queues: AmqpQueues, reader: AmqpReader) -> None:
    """A stream looks like a queue with all the messages that it keeps, as docs/semantics.md says."""
    queues.declare("log", arguments=STREAM)
    queues.publish("log", 5)
    wait_for(
        lambda: reader.read(["log"]).queues["log"] == empty(ready=5),
        timeout=10,  # with its statistics
        what=lambda: f"five messages; there is {reader.read(['log'])}",
    )


def test_answers_in_pieces(rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, queues: AmqpQueues) -> None:
    """Answers are read however they are cut on their way."""
    queues.declare("mail")
    queues.publish("mail", 300)
    with ShapingFront(rabbitmq.port, piece_bytes=1) as front:
        url = rabbitmq_vhost.url.replace(str(rabbitmq.port), str(front.port))
        with closing(AmqpReader(broker(url))) as reader:
            for _ in range(2):
                assert reader.read(["mail", "none"]).queues == {"mail": empty(ready=300), "none": MISSING}


def test_nothing_is_wanted(rabbitmq_vhost: Vhost, reader: AmqpReader) -> None:
    """Without any queue to ask for, the broker is asked whether it is there."""
    for _ in range(3):
        facts = reader.read([])
        assert facts.queues == {}
        assert facts.round_trip > 0


def test_deleted_and_made_again(queues: AmqpQueues, reader: AmqpReader) -> None:
    """A queue that is deleted takes no other with it, and is seen again soon after it was made again."""
    wanted = [f"queue-{number}" for number in range(9)]
    queues.declare(*wanted)
    assert reader.read(wanted).queues == dict.fromkeys(wanted, empty())
    queues.delete("queue-3", "queue-7")
    expected = {name: MISSING if name in {"queue-3", "queue-7"} else empty() for name in wanted}
    assert reader.read(wanted).queues == expected
    queues.declare("queue-3")
    queues.publish("queue-3", 2)
    assert reader.read(wanted).queues == {**expected, "queue-3": empty(ready=2)}
    readings = 1
    while readings < 4 * LONGEST_PAUSE:  # long enough to be asked for as seldom as can be
        assert reader.read(wanted).queues["queue-7"] == MISSING
        readings += 1
    queues.declare("queue-7")
    found = [reader.read(wanted).queues["queue-7"] for _ in range(LONGEST_PAUSE)]
    assert found[-1] == empty()


def test_nothing_is_made(rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, reader: AmqpReader) -> None:
    """Looking for queues makes none, and lets the broker forget us at once."""
    reader.read(["mail", "orders"])
    assert rabbitmq.api("GET", f"queues/{rabbitmq_vhost.name}") == []
    reader.close()
    reader.close()
    reader.read(["mail"])


def test_names_that_no_queue_can_have(queues: AmqpQueues, reader: AmqpReader) -> None:
    """Names that AMQP cannot say, or that RabbitMQ would take for others, are missing queues; the rest is read."""
    queues.declare("ab", "ü" * 127)
    queues.publish("ab", 1)
    names = ["", "a\nb", "a\rb", "\ud800", "x" * 256, "ü" * 128]
    facts = reader.read([*names, "ab", "ü" * 127])
    assert facts.queues == {**dict.fromkeys(names, MISSING), "ab": empty(ready=1), "ü" * 127: empty()}


def test_an_exclusive_queue(queues: AmqpQueues, reader: AmqpReader, caplog: pytest.LogCaptureFixture) -> None:
    """A queue that another connection has for itself is left out and spoken of once; all others are told."""
    queues.declare("own", exclusive=True, durable=False)
    queues.declare("mail")
    with caplog.at_level(logging.WARNING):
        for _ in range(2 * LONGEST_PAUSE):
            assert reader.read(["own", "mail", "none"]).queues == {"mail": empty(), "none": MISSING}
    (record,) = caplog.records
    assert record.getMessage() == "cannot read a queue, leaving it out"
    assert vars(record)["fields"]["queue"] == "own"
    assert "RESOURCE_LOCKED" in vars(record)["fields"]["error"]
    queues.connection.collect()
    wait_for(
        lambda: reader.read(["own", "mail"]).queues.get("own") == MISSING,
        timeout=5,
        what="the end of an exclusive queue",
    )


def test_native_delayed_delivery(queues: AmqpQueues, reader: AmqpReader) -> None:
    """Messages that kombu's queues for delayed delivery hold are summed, once these queues are there."""
    delayed = pytest.importorskip("kombu.transport.native_delayed_delivery", reason="new in kombu 5.5")
    assert reader.read([]).delayed is None
    delayed.declare_native_delayed_delivery_exchanges_and_queues(queues.connection, "quorum")
    with queues.connection.Producer() as producer:
        for countdown in (600, 3600, 86400):
            producer.publish(
                {},
                exchange=delayed.level_name(delayed.MAX_LEVEL),
                routing_key=delayed.calculate_routing_key(countdown, "mail"),
                delivery_mode="persistent",
            )
    wait_for(lambda: reader.read([]).delayed == 3, timeout=5, what="messages that wait for their time")
    assert reader.read([]).queues == {}
    queues.delete(delayed.level_name(5))
    assert reader.read([]).delayed is None


def test_without_any_permission(rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, queues: AmqpQueues) -> None:
    """A user who may configure, write and read nothing sees the numbers all the same, or none where that is refused."""
    queues.declare("mail")
    queues.publish("mail", 4)
    rabbitmq.add_user("onlooker", "nothing")
    rabbitmq.set_permissions(rabbitmq_vhost.name, "onlooker", configure="^$", write="^$", read="^$")
    url = rabbitmq.vhost_url(rabbitmq_vhost.name, user="onlooker", password="nothing")
    with closing(AmqpReader(broker(url))) as reader:
        seen = reader.read(["mail", "none"])
    if rabbitmq.hides_queues:
        assert (seen.queues, seen.forbidden) == ({}, ("mail", "none"))
    else:
        assert seen.queues == {"mail": empty(ready=4), "none": MISSING}


def test_many_missing_queues(rabbitmq_vhost: Vhost, queues: AmqpQueues, reader: AmqpReader) -> None:
    """The round trips of one reading are bounded, and so is what is asked in vain again and again."""
    queues.declare("mail")
    wanted = ["mail", *(f"none-{number}" for number in range(300))]
    readings = [reader.read(wanted).queues for _ in range(300 // (WIDTH * TRIPS // 2))]
    assert len(readings[0]) < len(wanted)
    assert readings[-1] == {**dict.fromkeys(wanted[1:], MISSING), "mail": empty()}


def test_few_questions_for_missing_queues(
    queues: AmqpQueues, reader: AmqpReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Queues that stay away are asked for a few at a time, ever more seldom, and each of them in its turn."""
    wanted = [f"none-{number}" for number in range(4 * PROBES)]
    reader.read(wanted)
    reader.read(wanted)
    asked: list[set[str]] = []
    ask = AmqpSession.ask

    def recording(session: AmqpSession, sure: list[str], unsure: list[str]) -> Answers:
        asked.append({name for name in unsure if name in wanted})
        return ask(session, sure, unsure)

    monkeypatch.setattr(AmqpSession, "ask", recording)
    for _ in range(4 * LONGEST_PAUSE):
        assert reader.read(wanted).queues == dict.fromkeys(wanted, MISSING)
    assert max(map(len, asked)) <= PROBES
    assert set().union(*asked[-2 * LONGEST_PAUSE :]) == set(wanted)
