"""TLS towards the broker: whom the exporter trusts, and how it says that it does not."""

import ssl
from collections.abc import Callable, Iterator
from functools import partial

import amqp
import pytest
import trustme

from celery_metrics_exporter.config.config import RECEIVERS
from tests.integration.known_counts import Route, check_route, wait_until_receiving
from tests.integration.servers import (
    HOST,
    CeleryWorker,
    Certificates,
    ExporterProcess,
    RabbitMQ,
    Valkey,
    group_members,
    require,
)
from tests.serving import fetch

PASSWORD = "known-to-nobody"

StartExporter = Callable[..., ExporterProcess]
StartWorker = Callable[..., CeleryWorker]

each_receiver = pytest.mark.parametrize("receiver", RECEIVERS)


@pytest.fixture(scope="module")
def tls_valkey(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Valkey]:
    """A Valkey with TLS and a password."""
    require("valkey")
    with Valkey(tmp_path_factory.mktemp("tls-valkey"), password=PASSWORD, tls=certificates) as server:
        yield server


@pytest.fixture(scope="module")
def tls_rabbitmq(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[RabbitMQ]:
    """A RabbitMQ that speaks TLS only and demands a client certificate."""
    require("rabbitmq")
    with RabbitMQ(tmp_path_factory.mktemp("tls-rabbitmq"), tls=certificates, verify_client=True) as server:
        yield server
        server.kill()  # a farewell takes seconds


@pytest.fixture(scope="module")
def ca_file(certificates: Certificates) -> str:
    """The authority that signed the brokers' certificates."""
    return str(certificates.ca_file)


@pytest.fixture(scope="module")
def other_ca_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An authority that signed nothing here."""
    file = tmp_path_factory.mktemp("other-authority") / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(file))
    return str(file)


@each_receiver
def test_rediss(
    tls_valkey: Valkey, ca_file: str, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """rediss:// with an authority of its own counts the known tasks."""
    settings = {"broker_use_ssl": {"ssl_cert_reqs": "required", "ssl_ca_certs": ca_file}}
    route = Route(tls_valkey.url, settings, ("--broker-tls-ca-file", ca_file))
    check_route(route, start_exporter, start_worker)


@each_receiver
def test_amqps(
    tls_rabbitmq: RabbitMQ,
    certificates: Certificates,
    start_exporter: StartExporter,
    start_worker: StartWorker,
) -> None:
    """amqps:// with an authority of its own and a client certificate counts the known tasks."""
    ca_file, cert_file, key_file = (
        str(certificates.ca_file),
        str(certificates.client_cert_file),
        str(certificates.client_key_file),
    )
    files = {"ca_certs": ca_file, "certfile": cert_file, "keyfile": key_file}
    route = Route(
        tls_rabbitmq.url,
        {"broker_use_ssl": {**files, "cert_reqs": int(ssl.CERT_REQUIRED)}},
        (
            f"--broker-tls-ca-file={ca_file}",
            f"--broker-tls-cert-file={cert_file}",
            f"--broker-tls-key-file={key_file}",
        ),
    )
    check_route(route, start_exporter, start_worker)


def _refused(exporter: ExporterProcess, *words: str) -> str:
    """The receiver's one warning, which has all of these words; readiness must say the same."""

    def warnings() -> list[str]:
        return [
            line
            for line in exporter.stderr.splitlines()
            if 'msg="cannot receive events, trying again"' in line
        ]

    exporter.process.wait_until(warnings, timeout=15, what=f"a warning with {words}")
    (line,) = warnings()
    ready = fetch(exporter.url, "/-/ready")
    assert ready.status == 503
    for word in words:
        assert word in line
        assert word in ready.text
    assert fetch(exporter.url, "/-/healthy").status == 200
    assert exporter.value("celery_exporter_receiver_connected") == 0
    assert "Traceback" not in exporter.stderr
    assert PASSWORD not in exporter.stderr + ready.text
    return line


def test_rediss_with_a_wrong_authority_is_refused(
    tls_valkey: Valkey, other_ca_file: str, start_exporter: StartExporter
) -> None:
    """A certificate that the given authority did not sign is not trusted; the log and /-/ready say why."""
    exporter = start_exporter("--broker-url", tls_valkey.url, "--broker-tls-ca-file", other_ca_file)
    line = _refused(exporter, "certificate verify failed")
    assert f"broker=rediss://:***@{HOST}:{tls_valkey.port}/0" in line


def test_rediss_trusts_the_system_alone_by_default(tls_valkey: Valkey, start_exporter: StartExporter) -> None:
    """Without --broker-tls-ca-file a certificate of an authority that the system does not know is refused."""
    _refused(start_exporter("--broker-url", tls_valkey.url), "certificate verify failed")


def test_rediss_checks_the_name_in_the_certificate(
    tls_valkey: Valkey, ca_file: str, start_exporter: StartExporter
) -> None:
    """A certificate of the right authority for another name of the host is refused."""
    url = tls_valkey.url.replace(HOST, "127.1")  # to a resolver the same
    exporter = start_exporter("--broker-url", url, "--broker-tls-ca-file", ca_file)
    _refused(exporter, "certificate verify failed", "127.1")


def test_rediss_without_verification_is_accepted(tls_valkey: Valkey, start_exporter: StartExporter) -> None:
    """With --no-broker-tls-verify any certificate will do."""
    wait_until_receiving(start_exporter("--broker-url", tls_valkey.url, "--no-broker-tls-verify"))


def test_amqps_with_a_wrong_authority_is_refused(
    tls_rabbitmq: RabbitMQ, other_ca_file: str, start_exporter: StartExporter
) -> None:
    """A certificate that the given authority did not sign is not trusted; the log and /-/ready say why."""
    exporter = start_exporter("--broker-url", tls_rabbitmq.url, "--broker-tls-ca-file", other_ca_file)
    assert f"***@{HOST}:{tls_rabbitmq.port}/" in _refused(exporter, "certificate verify failed")


def test_amqps_trusts_the_system_alone_by_default(
    tls_rabbitmq: RabbitMQ, start_exporter: StartExporter
) -> None:
    """Without --broker-tls-ca-file a certificate of an authority that the system does not know is refused."""
    _refused(start_exporter("--broker-url", tls_rabbitmq.url), "certificate verify failed")


def test_amqps_without_the_demanded_certificate_is_refused(
    tls_rabbitmq: RabbitMQ, ca_file: str, start_exporter: StartExporter
) -> None:
    """A server that demands a client certificate gets us to say so when we have none."""
    exporter = start_exporter("--broker-url", tls_rabbitmq.url, "--broker-tls-ca-file", ca_file)
    # TLS 1.3 asks after the handshake: its alert or the end of the connection, whichever is seen first.
    _refused(exporter, "certificate")


def test_amqps_holds_the_certificate_against_the_given_name(
    tls_rabbitmq: RabbitMQ, ca_file: str, start_exporter: StartExporter
) -> None:
    """--broker-tls-server-name takes the place of the URL's host."""
    arguments = ("--broker-tls-ca-file", ca_file, "--broker-tls-server-name", "elsewhere.example")
    exporter = start_exporter("--broker-url", tls_rabbitmq.url, *arguments)
    _refused(exporter, "certificate verify failed", "elsewhere.example")


def test_the_server_pauses_and_restarts(tls_rabbitmq: RabbitMQ, certificates: Certificates) -> None:
    """It keeps silent while it is paused; it ends, leaves nothing, and has its users and rights after a new start."""
    credentials = {
        "ca_certs": str(certificates.ca_file),
        "certfile": str(certificates.client_cert_file),
        "keyfile": str(certificates.client_key_file),
        "cert_reqs": ssl.CERT_REQUIRED,
    }
    connection = partial(
        amqp.Connection, f"{HOST}:{tls_rabbitmq.port}", "guest", "guest", ssl=credentials, connect_timeout=2
    )
    tls_rabbitmq.add_user("reader", "secret")
    tls_rabbitmq.set_permissions("/", "reader", configure="", write="")
    tls_rabbitmq.pause()
    with pytest.raises(OSError, match="timed out"):
        connection().connect()
    tls_rabbitmq.resume()
    pids = [tls_rabbitmq.pid, tls_rabbitmq.epmd_pid]
    tls_rabbitmq.stop()
    assert not [member for pid in pids for member in group_members(pid)]
    tls_rabbitmq.start()
    with connection() as connected:
        assert connected.connected
    assert "reader" in str(tls_rabbitmq.api("GET", "permissions"))
