"""Queues that RabbitMQ 4.2.6 and later do not let us look at: what is said and shown of them, and what they cost."""

import logging
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from celery_metrics_exporter.facts import QueueFacts
from celery_metrics_exporter.queues.readers.amqp import AmqpReader
from celery_metrics_exporter.queues.readers.amqp_rights import PAUSE, RETRIES
from celery_metrics_exporter.queues.readers.amqp_session import TRIPS, WIDTH
from celery_metrics_exporter.queues.readers.management import ManagementReader
from tests.integration.amqp_queues import AmqpQueues, broker
from tests.integration.conftest import Vhost
from tests.integration.newer_rabbitmq import NewerRabbitMQ
from tests.integration.servers import RabbitMQ
from tests.waiting import wait_for

#: What a user without any permission may look at.
NOTHING = "^$"
TWELVE = [f"queue-{number}" for number in range(12)]
MANY = [f"queue-{number}" for number in range(400)]

Read = Callable[[list[str]], list[str]]


@pytest.fixture
def queues(rabbitmq_vhost: Vhost) -> Iterator[AmqpQueues]:
    """The queues of a fresh virtual host: ``mail`` with two messages, of which one is held, and ``idle``."""
    with AmqpQueues(rabbitmq_vhost.url) as queues:
        queues.declare("mail", "idle")
        queues.publish("mail", 2)
        queues.hold("mail", 1)
        yield queues


@pytest.fixture
def newer(rabbitmq: RabbitMQ) -> Iterator[NewerRabbitMQ]:
    """The broker as a newer version, for a user without any permission."""
    with NewerRabbitMQ(rabbitmq.port, NOTHING) as front:
        yield front


@pytest.fixture
def url(rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, newer: NewerRabbitMQ) -> str:
    """The broker URL of the virtual host, by way of the front."""
    return rabbitmq_vhost.url.replace(str(rabbitmq.port), str(newer.port))


@pytest.fixture
def reader(url: str) -> Iterator[AmqpReader]:
    """A reader by way of the front."""
    with closing(AmqpReader(broker(url))) as reader:
        yield reader


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What has been logged since the last call."""
    messages = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return messages


def refuses(number: str) -> str:
    """The one line about so many queues."""
    return (
        f"cannot read queue lengths: RabbitMQ refuses passive declares of {number} (403); grant read on them or give "
        "--management-url"
    )


@pytest.mark.usefixtures("queues")
def test_some_are_allowed(newer: NewerRabbitMQ, reader: AmqpReader, caplog: pytest.LogCaptureFixture) -> None:
    """Allowed queues have their numbers, also a missing one; forbidden ones have none, whether or not they exist."""
    newer.permits = "^(idle|mail|none)$"
    wanted = ["idle", *TWELVE, "mail", "none"]
    for _ in range(PAUSE - 1):
        facts = reader.read(wanted)
        assert facts.queues == {
            "idle": QueueFacts(exists=True, ready=0, consumers=0),
            "mail": QueueFacts(exists=True, ready=1, consumers=1),
            "none": QueueFacts(exists=False, ready=0, consumers=0),
        }
        assert facts.forbidden == tuple(TWELVE)
        assert facts.delayed is None
    assert lines(caplog) == [refuses("12 queues")]
    assert sorted(newer.refusals) == sorted([*TWELVE, "celery_delayed_0"])


def test_permission_is_given_and_taken(
    newer: NewerRabbitMQ, queues: AmqpQueues, reader: AmqpReader, caplog: pytest.LogCaptureFixture
) -> None:
    """What is allowed later is read within a minute, all as soon as one is; what is forbidden later is left out."""
    caplog.set_level(logging.INFO)
    queues.declare(*TWELVE)
    assert not reader.read(TWELVE).queues
    newer.permits = "."
    readings = [len(reader.read(TWELVE).queues) for _ in range(PAUSE + 1)]
    assert readings[: PAUSE - 1] == [0] * (PAUSE - 1)
    assert readings[-1] == len(TWELVE)
    assert lines(caplog) == [refuses("12 queues"), "RabbitMQ allows passive declares again"]
    newer.permits = "^queue-[0-4]$"
    newer.cut()  # RabbitMQ remembers what a channel may do
    with pytest.raises(OSError, match=r"."):
        reader.read(TWELVE)
    facts = reader.read(TWELVE)
    assert (list(facts.queues), facts.forbidden) == (TWELVE[:5], tuple(TWELVE[5:]))
    assert lines(caplog) == [refuses("7 queues")]


def test_a_new_connection_tries_again(newer: NewerRabbitMQ, queues: AmqpQueues, reader: AmqpReader) -> None:
    """A broker that comes back with other permissions is not remembered for the old ones."""
    queues.declare(*TWELVE)
    assert reader.read(TWELVE).forbidden == tuple(TWELVE)
    newer.permits = "."
    newer.cut()
    with pytest.raises(OSError, match=r"."):
        reader.read(TWELVE)
    assert len(reader.read(TWELVE).queues) == len(TWELVE)


def test_the_cost_of_many(newer: NewerRabbitMQ, reader: AmqpReader, caplog: pytest.LogCaptureFixture) -> None:
    """Each of many queues is refused once, a few in each reading; then a few of them are tried again in a minute."""
    found_out = -(-len(MANY) // (WIDTH * (TRIPS - 1)))
    for _ in range(found_out):
        newer.refusals.clear()
        reader.read(MANY)
        assert len(newer.refusals) <= WIDTH * TRIPS
    assert set(reader.read(MANY).forbidden) == set(MANY)
    newer.refusals.clear()
    minutes = 3
    for _ in range(minutes * PAUSE):
        assert set(reader.read(MANY).forbidden) == set(MANY)
    assert len(newer.refusals) == len(set(newer.refusals)) == minutes * RETRIES
    first, *more = lines(caplog)
    assert first.startswith("cannot read queue lengths: RabbitMQ refuses passive declares of ")
    assert more == [refuses("400 queues")]  # the first line came before all of them were known


def test_the_management_api_tells(
    rabbitmq: RabbitMQ,
    newer: NewerRabbitMQ,
    queues: AmqpQueues,
    url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With the management API nothing is missing, nothing is said, and no queue is asked for in vain."""
    queues.declare("celery_delayed_0", *TWELVE)
    queues.publish("celery_delayed_0", 3)
    accepts: Callable[[str], bool] = lambda _: True  # noqa: E731
    with closing(
        ManagementReader(broker(url), rabbitmq.management_url, accepts=accepts, max_queues=100)
    ) as reader:
        expected = {
            "idle": QueueFacts(exists=True, ready=0, unacked=0, consumers=0),
            "mail": QueueFacts(exists=True, ready=1, unacked=1, consumers=1),
            "none": QueueFacts(exists=False, ready=0, unacked=0, consumers=0),
        }
        wait_for(
            lambda: expected.items() <= reader.read(["mail", "none"]).queues.items(),
            timeout=15,  # consumers are told with the statistics
            what=lambda: f"{expected}; there is {reader.read(['mail', 'none'])}",
        )
        newer.refusals.clear()
        for _ in range(2 * PAUSE):
            facts = reader.read(["mail", "none"])
            assert (facts.delayed, facts.forbidden) == (3, ())
        assert newer.refusals == []
    assert lines(caplog) == []
