"""A broker that is not there, refuses us, goes away and comes back: the exporter serves, says so and tries again."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.conftest import Vhost
from tests.integration.known_counts import (
    expected,
    submit,
    task_counts,
    wait_until_counted,
    wait_until_receiving,
)
from tests.integration.known_tasks import APP, environment
from tests.integration.servers import HOST, CeleryWorker, ExporterProcess, RabbitMQ, Valkey, free_port
from tests.serving import fetch
from tests.waiting import wait_for

StartExporter = Callable[..., ExporterProcess]
StartWorker = Callable[..., CeleryWorker]

PASSWORD = "known-to-nobody"

CONNECTED = "celery_exporter_receiver_connected"
RECONNECTS = "celery_exporter_receiver_reconnects_total"
DEAF = "celery_exporter_receiver_disconnected_seconds_total"


def _warnings(exporter: ExporterProcess) -> list[str]:
    """The receiver's, not those of others who miss the broker as well."""
    return [
        line for line in exporter.stderr.splitlines() if 'msg="cannot receive events, trying again"' in line
    ]


def _wait_for_trouble(exporter: ExporterProcess, *words: str) -> str:
    """Wait for the receiver's warning; log and pages must tell the trouble in these words, without a password."""
    exporter.process.wait_until(
        lambda: _warnings(exporter), timeout=10, what="a warning that no events are received"
    )
    (line,) = _warnings(exporter)
    ready = fetch(exporter.url, "/-/ready")
    assert ready.status == 503
    assert fetch(exporter.url, "/-/healthy").status == 200
    for text in (line, ready.text):
        assert all(word in text for word in words), text
    for text in (exporter.stderr, ready.text, exporter.text()):
        assert PASSWORD not in text
        assert "Traceback" not in text
    assert exporter.value(CONNECTED) == 0
    return line


def _wait_for_deaf_seconds(exporter: ExporterProcess, seconds: float) -> None:
    wait_for(
        lambda: (exporter.value(DEAF) or 0) > seconds,
        timeout=10,
        what=lambda: f"more than {seconds} s without a subscription: {exporter.process.describe()}",
    )


@pytest.mark.needs("valkey")
def test_redis_that_comes_up_after_the_exporter(
    tmp_path: Path, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """The exporter serves without a broker, says once what is wrong, and receives as soon as there is one."""
    port = free_port()
    url = f"redis://:{PASSWORD}@{HOST}:{port}/0"
    exporter = start_exporter("--broker-url", url)
    line = _wait_for_trouble(exporter, f"{HOST}:{port}", "refused")
    assert f"broker=redis://:***@{HOST}:{port}/0" in line
    _wait_for_deaf_seconds(exporter, 2)
    assert len(_warnings(exporter)) == 1
    with Valkey(tmp_path / "valkey", password=PASSWORD, port=port) as server:
        assert server.url == url
        wait_until_receiving(exporter)
        assert fetch(exporter.url, "/-/ready").status == 200
        assert exporter.value(CONNECTED) == 1
        assert exporter.value(RECONNECTS) == 0
        deaf = exporter.value(DEAF)
        worker = start_worker(APP, pool="solo", env=environment({"broker_url": url}))
        submit({"broker_url": url})
        wait_until_counted(exporter, expected())
        assert exporter.value(DEAF) == deaf
        worker.kill()
        exporter.stop()
    assert PASSWORD not in exporter.stderr


def test_redis_that_restarts(
    valkey: Valkey, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """Over a restart of the broker counters go on where they were, and the gap is shown."""
    settings = {"broker_url": valkey.url}
    exporter = start_exporter("--broker-url", valkey.url)
    worker = start_worker(APP, pool="solo", env=environment(settings))
    wait_until_receiving(exporter)
    submit(settings)
    wait_until_counted(exporter, expected())
    deaf = exporter.value(DEAF) or 0
    valkey.kill()
    wait_for(
        lambda: exporter.value(CONNECTED) == 0,
        timeout=5,
        what=lambda: f"a lost subscription: {exporter.process.describe()}",
    )
    assert fetch(exporter.url, "/-/ready").status == 503
    assert fetch(exporter.url, "/-/healthy").status == 200
    assert task_counts(exporter.text()) == expected()
    assert exporter.value("celery_worker_up", worker=worker.nodename) == 1  # we are deaf, it need not be dead
    _wait_for_deaf_seconds(exporter, deaf + 1)
    valkey.start()
    wait_until_receiving(exporter, times=2)
    assert exporter.value(RECONNECTS) == 1
    assert task_counts(exporter.text()) == expected()
    submit(settings)
    wait_until_counted(exporter, expected(added=6, broken=4))
    assert exporter.value(RECONNECTS) == 1
    worker.kill()


def test_amqp_virtual_host_that_comes_later(
    rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, start_exporter: StartExporter
) -> None:
    """A virtual host that is missing is named in the log and in /-/ready, until it is made."""
    rabbitmq.delete_vhost(rabbitmq_vhost.name)
    exporter = start_exporter("--broker-url", rabbitmq_vhost.url)
    _wait_for_trouble(exporter, rabbitmq_vhost.name)
    rabbitmq.add_vhost(rabbitmq_vhost.name)
    wait_until_receiving(exporter)


def test_redis_that_wants_another_password(valkey: Valkey, start_exporter: StartExporter) -> None:
    """A wrong password is told as such and tried again, until it is right."""
    with valkey.client() as client:
        client.config_set("requirepass", "another")
        exporter = start_exporter("--broker-url", f"redis://:{PASSWORD}@{HOST}:{valkey.port}/0")
        _wait_for_trouble(exporter, "invalid username-password pair")
        client.config_set("requirepass", PASSWORD)
        wait_until_receiving(exporter)
        assert PASSWORD not in exporter.stderr


def test_redis_that_wants_a_password(valkey: Valkey, start_exporter: StartExporter) -> None:
    """A missing password is told as such."""
    with valkey.client() as client:
        client.config_set("requirepass", "another")
    exporter = start_exporter("--broker-url", valkey.url)
    _wait_for_trouble(exporter, "Authentication required")


def test_amqp_that_does_not_know_the_user(
    rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, start_exporter: StartExporter
) -> None:
    """A refused login is told as such and tried again, until the user exists."""
    url = rabbitmq.vhost_url(rabbitmq_vhost.name, user="reader", password=PASSWORD)
    exporter = start_exporter("--broker-url", url)
    line = _wait_for_trouble(exporter, "ACCESS_REFUSED")
    assert f"broker=amqp://reader:***@{HOST}:{rabbitmq.port}/" in line
    rabbitmq.add_user("reader", PASSWORD)
    rabbitmq.set_permissions(rabbitmq_vhost.name, "reader")
    wait_until_receiving(exporter)
    assert PASSWORD not in exporter.stderr


def test_amqp_that_gives_no_permission(
    rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, start_exporter: StartExporter
) -> None:
    """A user who may not do what the exporter needs is told of, with the name of what is refused."""
    rabbitmq.add_user("guarded", PASSWORD)
    rabbitmq.set_permissions(rabbitmq_vhost.name, "guarded", configure="^$", write="^$", read="^$")
    url = rabbitmq.vhost_url(rabbitmq_vhost.name, user="guarded", password=PASSWORD)
    exporter = start_exporter("--broker-url", url)
    _wait_for_trouble(exporter, "ACCESS_REFUSED", "celeryev", "guarded")
