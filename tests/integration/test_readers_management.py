"""Queues of a real RabbitMQ, found through its management API and read there and over AMQP."""

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from celery_metrics_exporter.facts import QueueFacts
from celery_metrics_exporter.queues.readers.management import ManagementReader
from celery_metrics_exporter.queues.readers.management_api import ManagementError
from tests.integration.amqp_queues import AmqpQueues, broker, error_of, ignoring_unclosed_sockets
from tests.integration.conftest import Vhost
from tests.integration.servers import HOST, RabbitMQ, free_port
from tests.waiting import wait_for

QUORUM: dict[str, object] = {"x-queue-type": "quorum"}
STREAM: dict[str, object] = {"x-queue-type": "stream"}
MISSING = QueueFacts(exists=False, ready=0, unacked=0, consumers=0)

MakeReader = Callable[..., ManagementReader]


def facts(*, ready: int = 0, unacked: int = 0, consumers: int = 0) -> QueueFacts:
    """What there is to know of a queue."""
    return QueueFacts(exists=True, ready=ready, unacked=unacked, consumers=consumers)


@pytest.fixture
def queues(rabbitmq_vhost: Vhost) -> Iterator[AmqpQueues]:
    """The queues of a fresh virtual host, empty as yet."""
    with AmqpQueues(rabbitmq_vhost.url) as queues:
        yield queues


def make(
    url: str, management_url: str, *, accepts: Callable[[str], bool] = lambda _: True, max_queues: int = 100
) -> ManagementReader:
    """A reader that shows what it finds, unless told otherwise."""
    return ManagementReader(broker(url), management_url, accepts=accepts, max_queues=max_queues)


@pytest.fixture
def reader(rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost) -> Iterator[ManagementReader]:
    """A reader of the same virtual host."""
    with closing(make(rabbitmq_vhost.url, rabbitmq.management_url)) as reader:
        yield reader


def test_known_numbers(queues: AmqpQueues, reader: ManagementReader) -> None:
    """Ready messages, consumers and what they hold are told of every queue, classic and quorum, found by itself."""
    queues.declare("mail", "idle")
    queues.declare("orders", arguments=QUORUM)
    queues.publish("mail", 5)
    queues.publish("orders", 7)
    sample = reader.read(())
    assert list(sample.queues) == ["idle", "mail", "orders"]
    assert (sample.queues["idle"], sample.queues["mail"]) == (facts(), facts(ready=5))
    assert (sample.queues["orders"].ready, sample.queues["orders"].consumers) == (7, 0)
    held = queues.hold("mail", 3), queues.hold("orders", 4)
    sample = reader.read(("mail",))
    assert sample.queues["mail"] == facts(ready=2, unacked=3, consumers=1)
    assert (sample.queues["orders"].ready, sample.queues["orders"].consumers) == (3, 1)
    assert (sample.unacked, sample.oldest_unacked, sample.delayed) == (None, None, None)
    assert 0 < sample.round_trip < 3
    wait_for(
        lambda: reader.read(()).queues["orders"] == facts(ready=3, unacked=4, consumers=1),
        timeout=8,  # a quorum queue tells of itself every 5 s (rabbit_quorum_queue.erl, TICK_TIMEOUT)
        what=lambda: f"unacked messages of a quorum queue: {reader.read(())}",
    )
    for channel in held:
        channel.close()
    assert reader.read(()).queues["mail"] == facts(ready=5)


def test_which_queues(rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, queues: AmqpQueues) -> None:
    """Celery's own queues, streams, others' exclusive queues and refused names stay away; wanted ones come first."""
    queues.declare("a", "b", "c", "d", "celeryev.1", "celery@host.celery.pidbox", "secret")
    queues.declare("log", arguments=STREAM)
    queues.declare("own", "wanted-own", exclusive=True, durable=False)
    queues.publish("wanted-own", 2)
    reader = make(
        rabbitmq_vhost.url, rabbitmq.management_url, accepts=lambda name: name != "secret", max_queues=4
    )
    with closing(reader):
        assert list(reader.read(()).queues) == ["a", "b", "c", "d"]
        wanted = ("d", "none", "wanted-own", "secret")
        seen = reader.read((*wanted, "log")).queues
        assert set(seen) == {*wanted, "a"}
        assert seen["none"] == MISSING
        assert seen["wanted-own"] == QueueFacts(exists=True, ready=2, unacked=0)


def test_deleted_and_made_again(queues: AmqpQueues, reader: ManagementReader) -> None:
    """What is deleted is missing in the next reading, what is made is there."""
    queues.declare("mail", "idle")
    assert reader.read(("mail",)).queues == {"mail": facts(), "idle": facts()}
    queues.delete("mail", "idle")
    assert reader.read(("mail",)).queues == {"mail": MISSING}
    queues.declare("mail")
    queues.publish("mail", 1)
    assert reader.read(("mail",)).queues == {"mail": facts(ready=1)}


def test_a_queue_may_expire(queues: AmqpQueues, reader: ManagementReader) -> None:
    """Looking at a queue with x-expires does not keep it alive."""
    queues.declare("guests", arguments={"x-expires": 500})
    queues.publish("guests", 1)
    assert reader.read(()).queues["guests"] == QueueFacts(exists=True, ready=1, unacked=0)
    wait_for(lambda: not reader.read(()).queues, timeout=5, what="the end of an unused queue")


def test_native_delayed_delivery(queues: AmqpQueues, reader: ManagementReader) -> None:
    """Messages in the queues for delayed delivery are summed, with and without a prefix, and not shown otherwise."""
    queues.declare("mail", "celery_delayed_0", "celery_delayed_27", "shop_celery_delayed_3")
    queues.publish("celery_delayed_27", 2)
    queues.publish("shop_celery_delayed_3", 1)
    sample = reader.read(())
    assert sample.delayed == 3
    assert set(sample.queues) == {"mail"}


@pytest.mark.parametrize("vhost", ["/", "a/b c%2F", "ü"])
def test_names_of_virtual_hosts(rabbitmq: RabbitMQ, vhost: str) -> None:
    """The virtual host is that of the broker URL, whatever characters it has."""
    url = rabbitmq.url if vhost == "/" else rabbitmq.add_vhost(vhost)
    queue = "test-brokers-management"
    try:
        with AmqpQueues(url) as queues, closing(make(url, rabbitmq.management_url)) as reader:
            queues.declare(queue)
            assert reader.read(()).queues[queue] == facts()
            queues.delete(queue)
    finally:
        if vhost != "/":
            rabbitmq.delete_vhost(vhost)


def test_a_limited_user(rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, queues: AmqpQueues) -> None:
    """The tag management and no permission at all suffice; the broker URL's user is taken where none is given."""
    queues.declare("mail")
    queues.publish("mail", 4)
    rabbitmq.api("PUT", "users/viewer", {"password": "p@ss/word", "tags": "management"})
    rabbitmq.set_permissions(rabbitmq_vhost.name, "viewer", configure="^$", write="^$", read="^$")
    url = rabbitmq.vhost_url(rabbitmq_vhost.name, user="viewer", password="p%40ss%2Fword")
    host = rabbitmq.management_url.rpartition("@")[2]
    for management_url in (f"http://{host}", f"http://{host}/", f"http://viewer:p%40ss%2Fword@{host}"):
        with closing(make(url, management_url)) as reader:
            # Where AMQP hides the queue, consumers come from the API, which counts them once a second.
            wait_for(
                lambda: reader.read(("mail",)).queues == {"mail": facts(ready=4)},
                timeout=5,
                what=lambda: f"all numbers: {reader.read(('mail',))}",
            )


def test_refusals(rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost) -> None:
    """Wrong passwords, users without the tag and unknown virtual hosts are named in one line without secrets."""
    host = rabbitmq.management_url.rpartition("@")[2]
    rabbitmq.add_user("stranger", "known-to-nobody")
    rabbitmq.set_permissions(rabbitmq_vhost.name, "stranger")
    for url, user, reason in (
        (rabbitmq_vhost.url, "guest:known-to-nobody@", "401 Unauthorized ("),
        (rabbitmq_vhost.url, "stranger:known-to-nobody@", "401 Unauthorized ("),
        (rabbitmq.vhost_url("nowhere"), "guest:guest@", "404 Not Found"),
    ):
        reader = make(url, f"http://{user}{host}")
        with closing(reader), pytest.raises(ManagementError) as raised:
            reader.read(())
        assert str(raised.value).startswith(f"the management API answers {reason}")
        assert "known-to-nobody" not in str(raised.value)


@ignoring_unclosed_sockets
def test_failing_amqp(rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, queues: AmqpQueues) -> None:
    """A broker whose API answers but that takes no connection fails the reading."""
    queues.declare("mail")
    url = rabbitmq.vhost_url(rabbitmq_vhost.name, password="known-to-nobody")
    with closing(make(url, rabbitmq.management_url)) as reader:
        error = error_of(lambda: reader.read(()))
    assert error.startswith("AccessRefused: ")
    assert "known-to-nobody" not in error


def test_nobody_at_the_api(rabbitmq_vhost: Vhost) -> None:
    """The address of the API is named, not only what the system says."""
    port = free_port()
    with closing(make(rabbitmq_vhost.url, f"http://u:known-to-nobody@{HOST}:{port}")) as reader:
        error = error_of(lambda: reader.read(()))
    assert f"no answer from the management API at http://{HOST}:{port}: ConnectionRefusedError" in error
    assert "known-to-nobody" not in error
