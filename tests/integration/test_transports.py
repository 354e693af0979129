"""A handful of known tasks is counted exactly over every transport that the exporter supports."""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.integration.conftest import Vhost
from tests.integration.known_tasks import (
    APP,
    environment,
    expected,
    submit,
    wait_until_counted,
    wait_until_receiving,
)
from tests.integration.servers import (
    HOST,
    CeleryWorker,
    Certificates,
    ExporterProcess,
    RabbitMQ,
    Sentinels,
    Valkey,
    require,
)
from tests.serving import fetch
from tests.waiting import wait_for

PASSWORD = "p@ss:w/rd"
QUOTED = "p%40ss%3Aw%2Frd"


@dataclass(frozen=True, slots=True)
class Route:
    """A way to a broker: the exporter's arguments and Celery's settings for it."""

    url: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()

    @property
    def all_settings(self) -> dict[str, Any]:
        """What workers and clients are told."""
        return {"broker_url": self.url, **self.settings}


@pytest.fixture(scope="module")
def tls_valkey(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Valkey]:
    """A Valkey with a password, reached with TLS and without."""
    require("valkey")
    with Valkey(tmp_path_factory.mktemp("tls-valkey"), password=PASSWORD, tls=certificates) as server:
        yield server


@pytest.fixture(scope="module")
def tls_rabbitmq(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[RabbitMQ]:
    """A RabbitMQ that speaks TLS only and demands a client certificate."""
    require("rabbitmq")
    with RabbitMQ(tmp_path_factory.mktemp("tls-rabbitmq"), tls=certificates, verify_client=True) as server:
        yield server
        server.kill()


@pytest.fixture(scope="module")
def other_ca_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An authority that signed nothing here."""
    file = tmp_path_factory.mktemp("other-authority") / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(file))
    return str(file)


@pytest.fixture
def redis_route(valkey: Valkey) -> Route:
    """redis://"""
    return Route(valkey.url)


@pytest.fixture
def redis_db_route(valkey: Valkey) -> Route:
    """Another database, and a prefix of all keys."""
    options = {"global_keyprefix": "shop:"}
    return Route(
        valkey.url.removesuffix("/0") + "/5",
        {"broker_transport_options": options},
        ("--broker-transport-option", "global_keyprefix=shop:"),
    )


@pytest.fixture
def redis_password_route(tls_valkey: Valkey) -> Route:
    """A password with characters that a URL must quote."""
    return Route(f"redis://:{QUOTED}@{HOST}:{tls_valkey.plain_port}/1")


@pytest.fixture
def rediss_route(tls_valkey: Valkey, certificates: Certificates) -> Route:
    """rediss:// with an authority of its own."""
    ca_file = str(certificates.ca_file)
    return Route(
        f"rediss://:{QUOTED}@{HOST}:{tls_valkey.port}/2",
        {"broker_use_ssl": {"ssl_cert_reqs": "required", "ssl_ca_certs": ca_file}},
        ("--broker-tls-ca-file", ca_file),
    )


@pytest.fixture
def sentinel_route(sentinels: Sentinels) -> Route:
    """sentinel:// with three real sentinels."""
    name = sentinels.master_name
    return Route(
        sentinels.url,
        {"broker_transport_options": {"master_name": name}},
        ("--broker-transport-option", f"master_name={name}"),
    )


@pytest.fixture
def amqp_route(rabbitmq: RabbitMQ) -> Route:
    """The default virtual host."""
    return Route(rabbitmq.url)


@pytest.fixture
def amqp_vhost_route(rabbitmq_vhost: Vhost) -> Route:
    """A virtual host of its own."""
    return Route(rabbitmq_vhost.url)


@pytest.fixture
def amqps_route(tls_rabbitmq: RabbitMQ, certificates: Certificates) -> Route:
    """amqps:// with an authority of its own and a client certificate."""
    files = {
        "ca_certs": str(certificates.ca_file),
        "certfile": str(certificates.client_cert_file),
        "keyfile": str(certificates.client_key_file),
    }
    return Route(
        tls_rabbitmq.url,
        {"broker_use_ssl": {**files, "cert_reqs": 2}},  # ssl.CERT_REQUIRED
        (
            *("--broker-tls-ca-file", files["ca_certs"]),
            *("--broker-tls-cert-file", files["certfile"]),
            *("--broker-tls-key-file", files["keyfile"]),
        ),
    )


@pytest.fixture
def filesystem_route(tmp_path: Path) -> Route:
    """filesystem:// with folders that all processes share."""
    options = {name: str(tmp_path / name) for name in ("data_folder", "control_folder")}
    for folder in options.values():
        Path(folder).mkdir()
    options |= {f"data_folder_{way}": options["data_folder"] for way in ("in", "out")}
    del options["data_folder"]
    return Route(
        "filesystem://",
        {"broker_transport_options": options},
        tuple(
            word
            for name, folder in options.items()
            for word in ("--broker-transport-option", f"{name}={folder}")
        ),
    )


@pytest.mark.parametrize(
    "name",
    [
        "redis",
        "redis_db",
        "redis_password",
        "rediss",
        "sentinel",
        "amqp",
        "amqp_vhost",
        "amqps",
        "filesystem",
    ],
)
def test_known_tasks_are_counted(
    name: str,
    request: pytest.FixtureRequest,
    start_exporter: Callable[..., ExporterProcess],
    start_worker: Callable[..., CeleryWorker],
) -> None:
    """Every counter and histogram count of the tasks equals what was sent, and nothing was dropped."""
    route: Route = request.getfixturevalue(f"{name}_route")
    exporter = start_exporter("--broker-url", route.url, *route.arguments)
    worker = start_worker(APP, pool="solo", env=environment(route.all_settings))
    wait_until_receiving(exporter)
    submit(route.all_settings)
    wait_until_counted(exporter, expected())
    worker.kill()  # a warm shutdown tells nothing here, and takes its time over sentinels
    assert exporter.total("celery_exporter_events_dropped_total") == 0
    assert exporter.value("celery_exporter_receiver_reconnects_total") == 0
    assert exporter.value("celery_worker_up", worker="worker@localhost") == 1
    assert PASSWORD not in exporter.stderr
    assert QUOTED not in exporter.stderr


def _refused(exporter: ExporterProcess, *words: str) -> str:
    """The one warning with all of these words, once readiness says the same."""

    def seen() -> str:
        lines = [line for line in exporter.stderr.splitlines() if "level=warning" in line]
        return next((line for line in lines if all(word in line for word in words)), "")

    line = exporter.process.wait_until(seen, timeout=15, what=f"a warning with {words}")
    ready = fetch(exporter.url, "/-/ready")
    assert ready.status == 503
    assert all(word in ready.text for word in words)
    assert fetch(exporter.url, "/-/healthy").status == 200
    assert exporter.value("celery_exporter_receiver_connected") == 0
    assert "Traceback" not in exporter.stderr
    assert PASSWORD not in exporter.stderr + ready.text
    return line


def test_rediss_with_a_wrong_authority_is_refused(
    tls_valkey: Valkey, other_ca_file: str, start_exporter: Callable[..., ExporterProcess]
) -> None:
    """A certificate that the given authority did not sign is not trusted, and the log and /-/ready say why."""
    url = f"rediss://:{QUOTED}@{HOST}:{tls_valkey.port}/2"
    exporter = start_exporter("--broker-url", url, "--broker-tls-ca-file", other_ca_file)
    assert f"broker=rediss://:***@{HOST}:{tls_valkey.port}/2" in _refused(exporter, "certificate verify failed")


def test_rediss_trusts_the_system_alone_by_default(
    tls_valkey: Valkey, start_exporter: Callable[..., ExporterProcess]
) -> None:
    """Without --broker-tls-ca-file a certificate of an authority that the system does not know is refused."""
    exporter = start_exporter("--broker-url", f"rediss://:{QUOTED}@{HOST}:{tls_valkey.port}/2")
    _refused(exporter, "certificate verify failed")


def test_rediss_without_verification_is_accepted(
    tls_valkey: Valkey, start_exporter: Callable[..., ExporterProcess]
) -> None:
    """With --no-broker-tls-verify any certificate will do."""
    url = f"rediss://:{QUOTED}@{HOST}:{tls_valkey.port}/2"
    wait_until_receiving(start_exporter("--broker-url", url, "--no-broker-tls-verify"))


def test_rediss_checks_the_name_in_the_certificate(
    tls_valkey: Valkey, certificates: Certificates, start_exporter: Callable[..., ExporterProcess]
) -> None:
    """A certificate of the right authority for another host is refused."""
    url = f"rediss://:{QUOTED}@127.0.0.2:{tls_valkey.port}/2"
    exporter = start_exporter("--broker-url", url, "--broker-tls-ca-file", str(certificates.ca_file))
    _refused(exporter, "certificate verify failed", "127.0.0.2")


def test_amqps_with_a_wrong_authority_is_refused(
    tls_rabbitmq: RabbitMQ, other_ca_file: str, start_exporter: Callable[..., ExporterProcess]
) -> None:
    """A certificate that the given authority did not sign is not trusted, and the log and /-/ready say why."""
    exporter = start_exporter("--broker-url", tls_rabbitmq.url, "--broker-tls-ca-file", other_ca_file)
    assert f"broker=amqps://guest:***@{HOST}:" in _refused(exporter, "certificate verify failed")


def test_amqps_trusts_the_system_alone_by_default(
    tls_rabbitmq: RabbitMQ, start_exporter: Callable[..., ExporterProcess]
) -> None:
    """Without --broker-tls-ca-file a certificate of an authority that the system does not know is refused."""
    _refused(start_exporter("--broker-url", tls_rabbitmq.url), "certificate verify failed")


def test_amqps_without_the_demanded_certificate_is_refused(
    tls_rabbitmq: RabbitMQ, certificates: Certificates, start_exporter: Callable[..., ExporterProcess]
) -> None:
    """A server that demands a client certificate gets us to say so when we have none."""
    ca_file = str(certificates.ca_file)
    _refused(start_exporter("--broker-url", tls_rabbitmq.url, "--broker-tls-ca-file", ca_file), "certificate required")


def test_amqps_with_a_name_that_the_certificate_lacks_is_refused(
    tls_rabbitmq: RabbitMQ, certificates: Certificates, start_exporter: Callable[..., ExporterProcess]
) -> None:
    """--broker-tls-server-name is what the certificate is held against."""
    exporter = start_exporter(
        *("--broker-url", tls_rabbitmq.url),
        *("--broker-tls-ca-file", str(certificates.ca_file)),
        *("--broker-tls-server-name", "elsewhere.example"),
    )
    _refused(exporter, "certificate verify failed", "elsewhere.example")
