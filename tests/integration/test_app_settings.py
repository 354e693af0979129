"""--app alone, over real brokers: TLS, Sentinels and whatever else the application's settings say of the way."""

import ssl
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Vhost
from tests.integration.known_counts import expected, submit, wait_until_counted, wait_until_receiving
from tests.integration.known_tasks import APP, environment
from tests.integration.servers import (
    CeleryWorker,
    Certificates,
    ExporterProcess,
    RabbitMQ,
    Sentinels,
    Valkey,
    free_port,
    require,
)
from tests.integration.servers.tls_front import TlsFront

StartExporter = Callable[..., ExporterProcess]
StartWorker = Callable[..., CeleryWorker]

COMMANDS = {
    "own": ((sys.executable, "-m", "celery_metrics_exporter"), ("--app", APP)),
    "celery": ((sys.executable, "-m", "celery", "-A", APP, "exporter"), ()),
}


def _check(
    settings: Mapping[str, Any], command: str, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """Run the known tasks; an exporter that is told nothing but the application counts every one of them."""
    program, arguments = COMMANDS[command]
    exporter = start_exporter(*arguments, env=environment(settings), command=program)
    worker = start_worker(APP, pool="solo", env=environment(settings))
    wait_until_receiving(exporter)
    submit(settings)
    wait_until_counted(exporter, expected())
    worker.kill()
    assert exporter.value("celery_broker_up") == 1
    assert exporter.total("celery_exporter_events_dropped_total") == 0


@pytest.fixture
def tls_valkey(tmp_path: Path, certificates: Certificates) -> Iterator[Valkey]:
    """A Valkey behind TLS."""
    require("valkey")
    with Valkey(tmp_path / "tls-valkey", tls=certificates) as server:
        yield server


@pytest.fixture
def tls_amqp_url(rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, certificates: Certificates) -> Iterator[str]:
    """A virtual host of RabbitMQ behind TLS; the URL itself does not say so."""
    port = free_port()
    front = TlsFront(rabbitmq.port, certificates.server_context(), port=port)
    yield rabbitmq_vhost.url.replace(f":{rabbitmq.port}/", f":{port}/")
    front.stop()


def test_tls_to_redis(
    tls_valkey: Valkey,
    certificates: Certificates,
    start_exporter: StartExporter,
    start_worker: StartWorker,
) -> None:
    """broker_use_ssl names the authority that is to be trusted."""
    tls = {"ssl_cert_reqs": "required", "ssl_ca_certs": str(certificates.ca_file)}
    settings = {"broker_url": tls_valkey.url, "broker_use_ssl": tls}
    _check(settings, "own", start_exporter, start_worker)


def test_tls_to_rabbitmq(
    tls_amqp_url: str,
    certificates: Certificates,
    start_exporter: StartExporter,
    start_worker: StartWorker,
) -> None:
    """broker_use_ssl makes TLS of amqp:// too."""
    tls = {"cert_reqs": int(ssl.CERT_REQUIRED), "ca_certs": str(certificates.ca_file)}
    settings = {"broker_url": tls_amqp_url, "broker_use_ssl": tls}
    _check(settings, "celery", start_exporter, start_worker)


def test_an_option_replaces_the_tls_of_the_application(
    tls_valkey: Valkey, certificates: Certificates, start_exporter: StartExporter
) -> None:
    """--broker-tls-ca-file wins over broker_use_ssl."""
    tls = {"ssl_cert_reqs": "required", "ssl_ca_certs": "/nothing/here"}
    env = environment({"broker_url": tls_valkey.url, "broker_use_ssl": tls})
    arguments = ("--app", APP, "--broker-tls-ca-file", str(certificates.ca_file))
    wait_until_receiving(start_exporter(*arguments, env=env))


def test_sentinels(sentinels: Sentinels, start_exporter: StartExporter, start_worker: StartWorker) -> None:
    """broker_transport_options names the master."""
    settings = {
        "broker_url": sentinels.url,
        "broker_transport_options": {"master_name": sentinels.master_name},
    }
    _check(settings, "celery", start_exporter, start_worker)


def test_events_of_the_applications_own_kind(
    broker_url: str, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """Exchange, serializer and queue of events, and the exchange of remote control are the application's."""
    settings = {
        "broker_url": broker_url,
        "event_exchange": "shop-events",
        "event_serializer": "msgpack",
        "accept_content": ["json", "msgpack"],
        "event_queue_prefix": "shop",
        "event_queue_ttl": 60.0,
        "event_queue_expires": 120.0,
        "control_exchange": "shop-control",
    }
    _check(settings, "celery", start_exporter, start_worker)
