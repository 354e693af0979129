"""Reading queues from a RabbitMQ that refuses, freezes, cuts the line or loses the virtual host."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial

import pytest
from amqp.exceptions import ConnectionError as AmqpConnectionError

from celery_metrics_exporter.facts import QueueFacts
from celery_metrics_exporter.queues.readers.amqp import AmqpReader
from tests.integration.amqp_queues import AmqpQueues, broker, error_of, ignoring_unclosed_sockets
from tests.integration.conftest import Vhost
from tests.integration.cutting_front import CuttingFront
from tests.integration.faults.front import Front
from tests.integration.servers import HOST, Certificates, RabbitMQ, free_port
from tests.integration.servers.tls_front import TlsFront

TIMEOUT = 1.0
#: Seconds in which whatever waits for that timeout, twice while connecting, has to be back.
SOON = 4 * TIMEOUT
MAIL = {"mail": QueueFacts(exists=True, ready=2, consumers=0)}


@pytest.fixture
def vhost(rabbitmq_vhost: Vhost) -> Vhost:
    """A virtual host with two messages in the queue ``mail``."""
    with AmqpQueues(rabbitmq_vhost.url) as queues:
        queues.declare("mail")
        queues.publish("mail", 2)
    return rabbitmq_vhost


@contextmanager
def frozen(front: Front) -> Iterator[None]:
    """Freeze the broker meanwhile."""
    front.pause()
    try:
        yield
    finally:
        front.resume()


def through(port: int, rabbitmq: RabbitMQ, vhost: Vhost) -> str:
    """The virtual host's broker URL, by way of another port."""
    return vhost.url.replace(str(rabbitmq.port), str(port))


def expect_timeout(reader: AmqpReader) -> None:
    """A reading has to fail soon, and closing takes no time."""
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        reader.read(["mail"])
    assert time.monotonic() - began < SOON
    reader.close()
    assert time.monotonic() - began < SOON


def test_frozen_broker(rabbitmq: RabbitMQ, vhost: Vhost) -> None:
    """A broker that freezes fails every reading in time, also those that have to connect first."""
    with Front(rabbitmq.port) as front:
        reader = AmqpReader(broker(through(front.port, rabbitmq, vhost)), timeout=TIMEOUT)
        assert reader.read(["mail"]).queues == MAIL
        with frozen(front):
            expect_timeout(reader)
            expect_timeout(reader)
        assert reader.read(["mail"]).queues == MAIL
        with frozen(front):
            began = time.monotonic()
            reader.close()
            assert time.monotonic() - began < TIMEOUT


def test_frozen_broker_with_tls(rabbitmq: RabbitMQ, vhost: Vhost, certificates: Certificates) -> None:
    """The same with TLS, whose farewell would wait for the other side."""
    port = free_port()
    tls = TlsFront(rabbitmq.port, certificates.server_context(), port=port)
    try:
        with Front(port) as front:
            settings = broker(through(front.port, rabbitmq, vhost).replace("amqp:", "amqps:"))
            settings.app.conf.broker_use_ssl = {
                "ca_certs": str(certificates.ca_file),
                "server_hostname": HOST,
            }
            reader = AmqpReader(settings, timeout=TIMEOUT)
            assert reader.read(["mail"]).queues == MAIL
            with frozen(front):
                expect_timeout(reader)
            assert reader.read(["mail"]).queues == MAIL
            reader.close()
    finally:
        tls.stop()


def test_cut_line(rabbitmq: RabbitMQ, vhost: Vhost) -> None:
    """A reading whose connection is cut fails, the next one connects anew."""
    with CuttingFront(rabbitmq.port, b"scissors") as front:
        reader = AmqpReader(broker(through(front.port, rabbitmq, vhost)))
        assert reader.read(["mail"]).queues == MAIL
        for _ in range(2):  # the second one finds nobody that listens
            with pytest.raises(ConnectionError):
                reader.read(["mail", "scissors"])
        front.heal()
        assert reader.read(["mail"]).queues == MAIL
        reader.close()


@ignoring_unclosed_sockets
def test_virtual_host_deleted(rabbitmq: RabbitMQ, vhost: Vhost) -> None:
    """A virtual host that goes away fails readings with the broker's reason, until it is there again."""
    with closing(AmqpReader(broker(vhost.url))) as reader:
        assert reader.read(["mail"]).queues == MAIL
        rabbitmq.delete_vhost(vhost.name)
        with pytest.raises((AmqpConnectionError, OSError)):
            reader.read(["mail"])
        assert error_of(lambda: reader.read(["mail"])).startswith("NotAllowed: ")
        rabbitmq.add_vhost(vhost.name)
        assert reader.read(["mail"]).queues == {"mail": QueueFacts(exists=False, ready=0, consumers=0)}


@ignoring_unclosed_sockets
def test_refused_at_once(rabbitmq: RabbitMQ, vhost: Vhost) -> None:
    """A wrong password and an unknown virtual host are told at once, without the password."""
    wrong_password = rabbitmq.vhost_url(vhost.name, password="known-to-nobody")
    for url, expected in (
        (wrong_password, "AccessRefused: "),
        (
            rabbitmq.vhost_url("nowhere"),
            "NotAllowed: Connection.open: (530) NOT_ALLOWED - vhost nowhere not found",
        ),
    ):
        with closing(AmqpReader(broker(url))) as reader:
            seconds, error = _timed_error_of(partial(reader.read, ["mail"]))
        assert seconds < 3
        assert error.startswith(expected)
        assert "known-to-nobody" not in error


def _timed_error_of(failing: Callable[[], object]) -> tuple[float, str]:
    """How long a call takes to raise, and what; without the collection of garbage that follows."""
    began = time.monotonic()
    ended = []

    def timed() -> None:
        try:
            failing()
        finally:
            ended.append(time.monotonic())

    error = error_of(timed)
    return ended[0] - began, error


def test_nothing_is_left_in_the_library(rabbitmq: RabbitMQ, vhost: Vhost) -> None:
    """After the handshake py-amqp hands over its socket with nothing that it has read ahead."""
    connection = broker(vhost.url).connect(heartbeat=0)
    assert connection.connection.transport._read_buffer == b""
    assert connection.connection.sock.fileno() >= 0
    connection.release()
