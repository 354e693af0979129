"""The question whether the exporter on this machine is healthy, asked of a real server."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from celery_metrics_exporter.cli.healthcheck import check_health
from celery_metrics_exporter.config.config import ListenAddress
from celery_metrics_exporter.web.listening import listen
from celery_metrics_exporter.web.server import WebServer
from tests.serving import FixedStatus, serving, url_of
from tests.web_files import WebFiles, users


@pytest.fixture
def files(tmp_path: Path) -> WebFiles:
    """Certificates in a folder of their own."""
    return WebFiles.create(tmp_path)


def address_of(server: WebServer, host: str = "127.0.0.1") -> ListenAddress:
    """Where a server was told to serve, with the port that it got."""
    return ListenAddress(host, int(url_of(server).rpartition(":")[2]))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "", "0.0.0.0"])  # noqa: S104 - a wildcard is the point
def test_healthy(host: str) -> None:
    """A server that says so is healthy; where it listens everywhere it is asked over loopback."""
    with serving(addresses=(ListenAddress(host, 0),)) as server:
        assert check_health([address_of(server, host)], None) == (True, "all threads work")


@pytest.mark.parametrize("host", ["::", "::1"])
def test_healthy_over_ipv6(host: str) -> None:
    """IPv6 works likewise."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 on this machine")
    with serving(addresses=(ListenAddress(host, 0),)) as server:
        assert check_health([address_of(server, host)], None) == (True, "all threads work")


def test_unhealthy_says_why() -> None:
    """What the exporter says is handed on, with the address."""
    with serving(status=FixedStatus(health=(False, "thread sweeper has ended"))) as server:
        address = address_of(server)
        assert check_health([address], None) == (False, f"{address}: thread sweeper has ended")


def test_every_address_has_to_answer() -> None:
    """One address that nobody serves makes it unhealthy."""
    with serving() as server, listen(ListenAddress("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        other.close()
        healthy, text = check_health([address_of(server), ListenAddress("127.0.0.1", port)], None)
    assert (healthy, text) == (False, f"127.0.0.1:{port}: no answer: connection refused")


def test_silent_server_is_unhealthy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that accepts and says nothing is given up after the timeout."""
    monkeypatch.setattr("celery_metrics_exporter.cli.healthcheck.TIMEOUT_SECONDS", 0.2)
    with listen(ListenAddress("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        for file in (None, "absent.yml"):
            healthy, text = check_health([ListenAddress("127.0.0.1", port)], file)
            assert (healthy, text) == (False, f"127.0.0.1:{port}: no answer within 0.2 s")


def test_port_0_cannot_be_asked() -> None:
    """Nobody knows the port that the system chose."""
    healthy, text = check_health([ListenAddress("", 0)], None)
    assert not healthy
    assert "port is chosen by the system" in text


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("min_version: TLS13",),
        ("max_version: TLS12",),
        ("max_version: TLS11", "min_version: TLS10"),
        ("curve_preferences: [CurveP384]",),
        ("client_auth_type: VerifyClientCertIfGiven", "client_ca_file: ca.pem"),
        ("client_auth_type: RequireAndVerifyClientCert", "client_ca_file: ca.pem"),
    ],
)
def test_tls(files: WebFiles, settings: tuple[str, ...]) -> None:
    """TLS and credentials are no obstacle; a client certificate is the server's own."""
    path = files.write_tls(*settings, more=users("alice"))
    with serving(config_file=path) as server:
        assert check_health([address_of(server)], str(path)) == (True, "all threads work")


def test_tls_of_an_unhealthy_exporter(files: WebFiles) -> None:
    """The verdict comes through TLS as well."""
    path = files.write_tls()
    with serving(config_file=path, status=FixedStatus(health=(False, "stuck"))) as server:
        address = address_of(server)
        assert check_health([address], str(path)) == (False, f"{address}: stuck")


@pytest.mark.parametrize("version", ["TLS12", "TLS13"])
@pytest.mark.parametrize("what", ["client_ca_file: stranger.pem", "client_allowed_sans: [a.example]"])
def test_demand_for_a_certificate_is_a_sign_of_life(files: WebFiles, what: str, version: str) -> None:
    """Where the server's own certificate is not let in, that it was looked at and refused is what can be had."""
    files.stranger.cert_pem.write_to_path(str(files.folder / "stranger.pem"))
    ca = what if "ca_file" in what else f"client_ca_file: ca.pem\n  {what}"
    path = files.write_tls("client_auth_type: RequireAndVerifyClientCert", ca, f"max_version: {version}")
    with serving(config_file=path) as server:
        healthy, text = check_health([address_of(server)], str(path))
    assert (healthy, text) == (True, "it answers, and demands another client certificate")


@pytest.mark.parametrize("bad", ["nonsense: 1\n", None])
@pytest.mark.parametrize("tls", [True, False])
def test_bad_new_file_does_no_harm(files: WebFiles, bad: str | None, *, tls: bool) -> None:
    """While the file is bad or gone, the exporter that serves its last good version is healthy."""
    path = files.write_tls() if tls else files.write(users("alice"))
    with serving(config_file=path) as server:
        files.config.unlink()
        if bad is not None:
            files.write(bad)
        assert check_health([address_of(server)], str(path)) == (True, "all threads work")


def test_starts_fast() -> None:
    """It imports neither celery nor kombu, nor bcrypt, nor what a server needs."""
    code = (
        "import sys, celery_metrics_exporter.cli.healthcheck\n"
        "print([name for name in ('celery', 'kombu', 'bcrypt', 'asyncio', 'h11') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"
