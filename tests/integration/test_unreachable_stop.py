"""SIGTERM ends the exporter with exit code 0 and soon, whatever the broker does."""

import socket
from collections.abc import Callable, Iterator

import pytest

from tests.integration.conftest import Vhost
from tests.integration.faults.front import Front
from tests.integration.known_counts import wait_until_receiving
from tests.integration.servers import HOST, ExporterProcess, RabbitMQ, Valkey, free_port
from tests.waiting import wait_for

StartExporter = Callable[..., ExporterProcess]

CONNECTED = "celery_exporter_receiver_connected"


@pytest.fixture
def mute_port() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server((HOST, 0)) as listener:
        yield int(listener.getsockname()[1])


def _stop(exporter: ExporterProcess) -> None:
    exporter.stop()
    assert "Traceback" not in exporter.stderr


@pytest.mark.parametrize("scheme", ["redis", "rediss", "amqp", "amqps"])
def test_broker_that_is_not_there(start_exporter: StartExporter, scheme: str) -> None:
    """Nobody listens on the port."""
    exporter = start_exporter("--broker-url", f"{scheme}://{HOST}:{free_port()}/0")
    exporter.process.wait_until(
        lambda: "cannot receive events, trying again" in exporter.stderr,
        timeout=10,
        what="a refused connection",
    )
    _stop(exporter)


@pytest.mark.parametrize("scheme", ["redis", "rediss", "amqp", "amqps"])
def test_broker_that_never_says_a_word(start_exporter: StartExporter, mute_port: int, scheme: str) -> None:
    """A connection is taken and nothing follows, as with TLS towards a plain port or behind a broken proxy."""
    exporter = start_exporter("--broker-url", f"{scheme}://{HOST}:{mute_port}/0")
    wait_for(lambda: _established(exporter.pid, mute_port), timeout=10, what="a connection to the mute port")
    _stop(exporter)


def test_redis_that_went_away(valkey: Valkey, start_exporter: StartExporter) -> None:
    """The broker died after the subscription stood."""
    exporter = start_exporter("--broker-url", valkey.url)
    wait_until_receiving(exporter)
    valkey.kill()
    wait_for(lambda: exporter.value(CONNECTED) == 0, timeout=10, what="a lost subscription")
    _stop(exporter)


def test_redis_that_hangs(valkey: Valkey, start_exporter: StartExporter) -> None:
    """The broker froze after the subscription stood."""
    exporter = start_exporter("--broker-url", valkey.url)
    wait_until_receiving(exporter)
    valkey.pause()
    _stop(exporter)


def test_rabbitmq_that_hangs(
    rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, start_exporter: StartExporter
) -> None:
    """The same with RabbitMQ."""
    with Front(rabbitmq.port) as front:
        url = rabbitmq_vhost.url.replace(str(rabbitmq.port), str(front.port))
        exporter = start_exporter("--broker-url", url)
        wait_until_receiving(exporter)
        front.pause()
        _stop(exporter)


def _established(pid: int, port: int) -> bool:
    """Whether somebody on this machine is connected to the port, from /proc/net/tcp."""
    with open("/proc/net/tcp") as table:  # noqa: PTH123 - a file of the kernel
        lines = [line.split() for line in table]
    return any(fields[2].endswith(f":{port:04X}") and fields[3] == "01" for fields in lines[1:])
