"""The real servers themselves: each starts, answers, pauses, restarts and leaves no process behind."""

from collections.abc import Callable
from pathlib import Path

import amqp
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.integration.conftest import Vhost
from tests.integration.servers import (
    HOST,
    CeleryWorker,
    Certificates,
    ExporterProcess,
    Prometheus,
    RabbitMQ,
    Sentinels,
    Valkey,
    group_members,
    promtool,
    why_missing,
)
from tests.integration.servers.programs import find, find_redis
from tests.waiting import wait_for


def _why_refused(url: str, **settings: str) -> str:
    with redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **settings) as client:
        try:
            assert client.ping()
        except redis.exceptions.ConnectionError as error:
            return str(error)
        return ""


def test_waiting_names_what_it_waited_for_and_the_last_value() -> None:
    """A wait that fails says what was awaited and what was there instead."""
    with pytest.raises(AssertionError, match=r"waited 0 s for a lucky number; last value: 0"):
        wait_for(lambda: 0, timeout=0, what="a lucky number")


def test_programs_of_another_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TEST_ROOT and TEST_REDIS choose the programs; what that root lacks is missing, although this machine has it."""
    monkeypatch.setenv("TEST_ROOT", str(tmp_path))
    monkeypatch.delenv("TEST_REDIS", raising=False)
    assert find_redis() is None
    assert why_missing("valkey")
    for program in ("redis-server", "valkey-server"):
        path = tmp_path / "usr" / "bin" / program
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    assert find_redis() == "/usr/bin/valkey-server"
    monkeypatch.setenv("TEST_REDIS", "redis-server")
    assert find_redis() == "/usr/bin/redis-server"
    assert find("sh") is None


def test_valkey_restarts_on_its_port_and_leaves_nothing(valkey: Valkey) -> None:
    """A stopped Valkey refuses connections, comes back under the same URL, and its process is gone at the end."""
    url = valkey.url
    with redis.Redis.from_url(url) as client:
        assert client.set("key", "value")
    valkey.stop()
    with redis.Redis.from_url(url) as client, pytest.raises(redis.exceptions.ConnectionError):
        client.ping()
    valkey.start()
    with redis.Redis.from_url(url) as client:
        assert client.ping()
    pid = valkey.pid
    valkey.stop()
    assert not group_members(pid)


def test_paused_valkey_keeps_silent_until_it_goes_on(valkey: Valkey) -> None:
    """A paused Valkey holds its connections open without answering, and answers after it was resumed."""
    with redis.Redis.from_url(valkey.url, socket_timeout=0.2) as client:
        assert client.ping()
        valkey.pause()
        with pytest.raises(redis.exceptions.TimeoutError):
            client.ping()
        valkey.resume()
        assert client.ping()


@pytest.mark.needs("valkey")
def test_valkey_asks_for_its_password(tmp_path: Path) -> None:
    """A Valkey with a password refuses a client without it."""
    with Valkey(tmp_path, password="secret") as server:
        assert "authenticate" in _why_refused(f"redis://{HOST}:{server.port}")
        assert not _why_refused(server.url)


@pytest.mark.needs("valkey")
def test_valkey_speaks_tls(tmp_path: Path, certificates: Certificates) -> None:
    """A Valkey behind TLS is trusted through our authority only, and can demand a client certificate."""
    with Valkey(tmp_path, tls=certificates, verify_client=True) as server:
        assert server.url.startswith("rediss://")
        ca = str(certificates.ca_file)
        mine = {
            "ssl_certfile": str(certificates.client_cert_file),
            "ssl_keyfile": str(certificates.client_key_file),
        }
        assert not _why_refused(server.url, ssl_ca_certs=ca, **mine)
        server.stop()
        server.start()
        assert not _why_refused(server.url, ssl_ca_certs=ca, **mine)
        assert _why_refused(server.url, ssl_ca_certs=ca)
        assert "CERTIFICATE_VERIFY_FAILED" in _why_refused(server.url, **mine)


def test_sentinels_promote_the_replica(sentinels: Sentinels) -> None:
    """When the master dies, all sentinels name the replica as the new master."""
    assert sentinels.master_port == sentinels.master.port
    sentinels.fail_over()
    with sentinels.replica.client() as client:
        assert client.role()[0] == b"master"


def _amqp_connection(server: RabbitMQ, **settings: object) -> "amqp.Connection":
    return amqp.Connection(f"{HOST}:{server.port}", "guest", "guest", connect_timeout=2, **settings)


def test_virtual_hosts_are_fresh(rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost) -> None:
    """A test's virtual host takes connections, holds nothing yet and is known to rabbitmqctl."""
    assert rabbitmq_vhost.url.startswith(f"amqp://guest:guest@{HOST}:{rabbitmq.port}/test-")
    with _amqp_connection(rabbitmq, virtual_host=rabbitmq_vhost.name) as connection:
        assert connection.connected
    assert rabbitmq.api("GET", f"queues/{rabbitmq_vhost.name}") == []
    assert rabbitmq_vhost.name in rabbitmq.ctl("list_vhosts")


def test_prometheus_scrapes_itself(start_prometheus: Callable[..., Prometheus], tmp_path: Path) -> None:
    """A Prometheus scrapes the pages it is told to, evaluates rules and answers queries."""
    rules = tmp_path / "rules.json"
    rules.write_text('{"groups": [{"name": "own", "rules": [{"record": "own:up", "expr": "sum(up)"}]}]}')
    assert promtool("check", "rules", rules).returncode == 0
    first = start_prometheus(rules=[rules])
    assert first.value("1 + 1") == 2
    first.stop()
    second = Prometheus(tmp_path / "second", [f"{first.url}/metrics", "http://127.0.0.1:1/x"], rules=[rules])
    first.start()
    with second:
        wait_for(lambda: second.value("own:up") == 1, timeout=30, what="one target up, by a recording rule")
        wait_for(
            lambda: {sample.value for sample in second.query("up")} == {0, 1},
            timeout=30,
            what="a target that is up and one that is down",
        )


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_worker_runs_and_ends(valkey: Valkey, start_worker: Callable[..., CeleryWorker], pool: str) -> None:
    """A worker of each pool becomes ready, ends with a warm shutdown and leaves nothing of its pool."""
    worker = start_worker("tests.integration.bare_app", pool=pool, env={"CELERY_BROKER_URL": valkey.url})
    pid = worker.pid
    assert group_members(pid)
    assert worker.stop() == 0
    assert not group_members(pid)


def test_exporter_process_serves_what_a_worker_did(
    valkey: Valkey,
    start_exporter: Callable[..., ExporterProcess],
    start_worker: Callable[..., CeleryWorker],
) -> None:
    """The exporter's page is read as samples by name and labels, and it ends with exit code 0."""
    env = {"CELERY_BROKER_URL": valkey.url}
    exporter = start_exporter("--broker-url", valkey.url)
    start_worker("tests.integration.bare_app", pool="solo", hostname="adder", env=env)
    wait_for(
        lambda: exporter.value("celery_worker_up", worker="adder@localhost") == 1,
        timeout=20,
        what=lambda: f"a worker that is up: {exporter.process.describe()}",
    )
    assert exporter.value("celery_worker_up", worker="nobody@localhost") is None
    assert exporter.total("celery_worker_up") == 1
    exporter.stop()
    assert exporter.process.returncode == 0
