"""A handful of known tasks is counted exactly over every transport that the exporter supports."""

from collections.abc import Callable
from pathlib import Path

import pytest

from celery_metrics_exporter.config.config import RECEIVERS
from tests.integration.conftest import Vhost
from tests.integration.known_counts import Route, check_route
from tests.integration.servers import (
    HOST,
    CeleryWorker,
    ExporterProcess,
    RabbitMQ,
    Sentinels,
    Valkey,
    free_port,
)

PASSWORD = "p@ss:w/rd"
QUOTED = "p%40ss%3Aw%2Frd"

StartExporter = Callable[..., ExporterProcess]
StartWorker = Callable[..., CeleryWorker]

each_receiver = pytest.mark.parametrize("receiver", RECEIVERS)


@each_receiver
def test_redis(valkey: Valkey, start_exporter: StartExporter, start_worker: StartWorker) -> None:
    """redis:// as simple as it gets."""
    check_route(Route(valkey.url), start_exporter, start_worker)


def test_redis_database_and_prefix(
    valkey: Valkey, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """Another database than 0, and a prefix of all keys and channels."""
    route = Route(
        f"redis://{HOST}:{valkey.port}/5",
        {"broker_transport_options": {"global_keyprefix": "shop:"}},
        ("--broker-transport-option", "global_keyprefix=shop:"),
    )
    check_route(route, start_exporter, start_worker)
    with valkey.client() as client:
        assert client.info("keyspace").keys() == {"db5"}
        client.select(5)
        assert all(key.startswith(b"shop:") for key in client.scan_iter())


@pytest.mark.needs("valkey")
def test_redis_password(tmp_path: Path, start_exporter: StartExporter, start_worker: StartWorker) -> None:
    """A password with characters that a URL must quote works and is not logged."""
    with Valkey(tmp_path / "valkey", password=PASSWORD) as server:
        url = f"redis://:{QUOTED}@{HOST}:{server.port}/0"
        exporter = check_route(Route(url), start_exporter, start_worker)
        assert f"broker=redis://:***@{HOST}:{server.port}/0" in exporter.stderr
        assert PASSWORD not in exporter.stderr
        assert QUOTED not in exporter.stderr
        exporter.stop()


def test_sentinel(sentinels: Sentinels, start_exporter: StartExporter, start_worker: StartWorker) -> None:
    """sentinel:// finds the master by its name through three real sentinels."""
    name = sentinels.master_name
    route = Route(
        sentinels.url,
        {"broker_transport_options": {"master_name": name}},
        ("--broker-transport-option", f"master_name={name}"),
    )
    check_route(route, start_exporter, start_worker)


@each_receiver
def test_amqp(rabbitmq: RabbitMQ, start_exporter: StartExporter, start_worker: StartWorker) -> None:
    """amqp:// with the default virtual host."""
    check_route(Route(rabbitmq.url), start_exporter, start_worker)


def test_amqp_virtual_host(
    rabbitmq_vhost: Vhost, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """amqp:// with another virtual host."""
    check_route(Route(rabbitmq_vhost.url), start_exporter, start_worker)


def test_filesystem(tmp_path: Path, start_exporter: StartExporter, start_worker: StartWorker) -> None:
    """filesystem:// with folders that the processes share; events of one millisecond come in any order."""
    messages, control = tmp_path / "messages", tmp_path / "control"
    messages.mkdir()
    control.mkdir()
    folders = {
        "data_folder_in": str(messages),
        "data_folder_out": str(messages),
        "control_folder": str(control),
    }
    arguments = [f"--broker-transport-option={name}={folder}" for name, folder in folders.items()]
    route = Route("filesystem://", {"broker_transport_options": folders}, tuple(arguments))
    check_route(route, start_exporter, start_worker)


def test_failover_list_of_redis(
    valkey: Valkey, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """Of several brokers, the first that answers is taken."""
    check_route(Route(f"redis://{HOST}:{free_port()}/0;{valkey.url}"), start_exporter, start_worker)


def test_failover_list_of_amqp(
    rabbitmq_vhost: Vhost, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """Of several brokers, the first that answers is taken."""
    url = f"amqp://guest:guest@{HOST}:{free_port()}//;{rabbitmq_vhost.url}"
    check_route(Route(url), start_exporter, start_worker)
