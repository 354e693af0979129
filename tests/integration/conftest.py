"""Fixtures: real brokers, workers, the exporter and Prometheus, as tests need them.

A fixture whose backend is not installed skips its test, or fails it under ``CI=true``; the marker
``needs("rabbitmq")`` says the same for a test that starts servers itself.
"""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.self_reporting import SelfReportingWorker
from tests.integration.servers import (
    CeleryWorker,
    Certificates,
    ExporterProcess,
    Moto,
    Prometheus,
    RabbitMQ,
    Sentinels,
    Valkey,
    require,
    shared_rabbitmq,
)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """One certificate authority, with certificates for servers on 127.0.0.1 and for clients."""
    return Certificates.create(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A Valkey server for this test alone; it is up in milliseconds."""
    require("valkey")
    with Valkey(tmp_path / "valkey") as server:
        yield server


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    """The SQS of this process's tests, which takes seconds to start."""
    with Moto(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture
def moto(moto_server: Moto) -> Moto:
    """An SQS without any queue, that takes any keys."""
    moto_server.reset()
    return moto_server


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's AWS settings counts."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")


@pytest.fixture
def sentinels(tmp_path: Path) -> Iterator[Sentinels]:
    """A master, a replica and three sentinels for this test alone."""
    require("valkey")
    with Sentinels(tmp_path / "sentinels") as group:
        yield group


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """The RabbitMQ server of the run, of all its processes: to be neither paused nor stopped; a front can be."""
    require("rabbitmq")
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with shared_rabbitmq(folder / "rabbitmq") as server:
        yield server


@dataclass(frozen=True, slots=True)
class Vhost:
    """A virtual host of the run's RabbitMQ: its name and its broker URL."""

    name: str
    url: str


@pytest.fixture
def rabbitmq_vhost(rabbitmq: RabbitMQ) -> Iterator[Vhost]:
    """A fresh virtual host for this test alone."""
    name = f"test-{uuid.uuid4()}"
    yield Vhost(name, rabbitmq.add_vhost(name))
    rabbitmq.delete_vhost(name)


@pytest.fixture(params=["redis", "amqp"])
def broker_url(request: pytest.FixtureRequest) -> str:
    """A broker for this test alone, on Redis and on RabbitMQ in turn."""
    if request.param == "redis":
        valkey: Valkey = request.getfixturevalue("valkey")
        return valkey.url
    vhost: Vhost = request.getfixturevalue("rabbitmq_vhost")
    return vhost.url


@pytest.fixture
def receiver() -> str:
    """The receiver that exporters of this test take; who parametrizes it need not ask for it."""
    return "auto"


@pytest.fixture
def start_exporter(tmp_path: Path, receiver: str) -> Iterator[Callable[..., ExporterProcess]]:
    """Start the exporter with the given arguments; all are stopped, with exit code 0, after the test."""
    choice = () if receiver == "auto" else ("--receiver", receiver)
    with ExitStack() as stack:
        count = 0

        def start(*arguments: str, **settings: Any) -> ExporterProcess:
            nonlocal count
            count += 1
            folder = tmp_path / f"exporter-{count}"
            return stack.enter_context(ExporterProcess(folder, (*arguments, *choice), **settings))

        yield start


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[Callable[..., CeleryWorker]]:
    """Start a Celery worker, called like :class:`CeleryWorker` without its folder; all are stopped after the test."""
    with ExitStack() as stack:

        def start(app: str, **settings: Any) -> CeleryWorker:
            return stack.enter_context(CeleryWorker(tmp_path / "workers", app, **settings))

        yield start


@pytest.fixture
def start_self_reporting(tmp_path: Path) -> Iterator[Callable[..., SelfReportingWorker]]:
    """Likewise a worker that reports for itself, called like :class:`SelfReportingWorker` without its folder."""
    with ExitStack() as stack:

        def start(app: str, **settings: Any) -> SelfReportingWorker:
            worker = SelfReportingWorker(tmp_path / "workers", app, **settings)
            stack.enter_context(worker)
            return worker

        yield start


@pytest.fixture
def start_prometheus(tmp_path: Path) -> Iterator[Callable[..., Prometheus]]:
    """Start a Prometheus that scrapes the given metrics pages; stopped after the test."""
    require("prometheus")
    with ExitStack() as stack:

        def start(*scrape_targets: str, **settings: Any) -> Prometheus:
            return stack.enter_context(Prometheus(tmp_path / "prometheus", scrape_targets, **settings))

        yield start
