"""TLS on the real server: who can connect, and what changes while serving."""

import ssl
from pathlib import Path

import pytest
import trustme

from celery_metrics_exporter.web.config_file import WebConfigFile
from celery_metrics_exporter.web.server import WebServer
from tests.integration.tls_clients import get, handshaken, only, refused, secured, spoken
from tests.serving import (
    Big,
    ask,
    raw_client,
    registry_of,
    serving,
    url_of,
)
from tests.web_files import WebFiles, users

VERIFIED = ("client_auth_type: RequireAndVerifyClientCert", "client_ca_file: ca.pem")
REQUEST = b"GET /-/ready HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def files(tmp_path: Path) -> WebFiles:
    """Certificates in a folder of their own."""
    return WebFiles.create(tmp_path)


def test_https(files: WebFiles) -> None:
    """With a certificate the server speaks https, says so in its URLs, and keeps connections open."""
    with serving(config_file=files.write_tls()) as server:
        assert url_of(server).startswith("https://")
        with secured(url_of(server), files.client()) as connection:
            assert [ask(connection, path).status for path in ("/-/healthy", "/-/ready", "/metrics")] == [
                200
            ] * 3
            assert connection.sock is not None
        assert spoken(server, files.client())[0] == "TLSv1.3"


def test_large_answer(files: WebFiles) -> None:
    """An exposition larger than any buffer arrives whole."""
    with serving(registry_of(Big()), config_file=files.write_tls()) as server:
        assert len(get(server, files.client(), "/metrics").body) > 20_000_000


def test_http1_is_agreed_upon(files: WebFiles) -> None:
    """A client that would like HTTP/2 better is told HTTP/1.1."""
    context = files.client()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with serving(config_file=files.write_tls()) as server, handshaken(server, context) as sock:
        assert sock.selected_alpn_protocol() == "http/1.1"


@pytest.mark.parametrize(
    ("settings", "version", "agreed"),
    [
        ((), ssl.TLSVersion.TLSv1_3, True),
        ((), ssl.TLSVersion.TLSv1_2, True),
        ((), ssl.TLSVersion.TLSv1_1, False),
        (("min_version: TLS13",), ssl.TLSVersion.TLSv1_2, False),
        (("max_version: TLS12",), ssl.TLSVersion.TLSv1_3, False),
        (("max_version: TLS12",), ssl.TLSVersion.TLSv1_2, True),
        (("min_version: TLS11",), ssl.TLSVersion.TLSv1_1, True),
        (("min_version: TLS11",), ssl.TLSVersion.TLSv1, False),
        (("min_version: TLS10",), ssl.TLSVersion.TLSv1, True),
        (("min_version: TLS10",), ssl.TLSVersion.TLSv1_3, True),
        (("cipher_suites: [TLS_AES_128_GCM_SHA256]",), ssl.TLSVersion.TLSv1_3, True),
        (("cipher_suites: [TLS_AES_128_GCM_SHA256]",), ssl.TLSVersion.TLSv1_2, False),
    ],
)
def test_versions(
    files: WebFiles, settings: tuple[str, ...], version: ssl.TLSVersion, *, agreed: bool
) -> None:
    """A client is let in with the versions between the oldest and the newest, old ones too where they are asked for."""
    ciphers = "DEFAULT@SECLEVEL=0" if version < ssl.TLSVersion.TLSv1_2 else ""
    client = only(files.client(), version, ciphers)
    with serving(config_file=files.write_tls(*settings)) as server:
        assert refused(server, client) is not agreed


def test_cipher_suites_in_the_servers_order(files: WebFiles) -> None:
    """Of the suites of the file the server takes its own favourite, or the client's when it is told to."""
    suites = (
        "cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]"
    )
    mine = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"
    for settings, expected in (
        ((suites,), "ECDHE-ECDSA-AES256-GCM-SHA384"),
        ((suites, "prefer_server_cipher_suites: false"), "ECDHE-ECDSA-AES128-GCM-SHA256"),
    ):
        with serving(config_file=files.write_tls(*settings)) as server:
            client = only(files.client(), ssl.TLSVersion.TLSv1_2, mine)
            assert spoken(server, client)[1] == expected
            other = only(files.client(), ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-CHACHA20-POLY1305")
            assert refused(server, other)


@pytest.mark.parametrize(
    ("curve", "client", "agreed"),
    [
        ("CurveP384", "prime256v1", False),
        ("CurveP384", "secp384r1", True),
        ("X25519", "X25519", True),
        ("X25519", "prime256v1", False),
        ("CurveP521", "secp521r1", True),
        ("CurveP256", "prime256v1", True),
    ],
)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_curve(files: WebFiles, curve: str, client: str, version: ssl.TLSVersion, *, agreed: bool) -> None:
    """Only clients that know the curve of the file are let in."""
    files.renew(trustme.KeyType.RSA)  # with TLS 1.2 a certificate for ECDSA asks for its own curve besides
    context = only(files.client(), version)
    context.set_ecdh_curve(client)
    with serving(config_file=files.write_tls(f"curve_preferences: [{curve}]")) as server:
        assert refused(server, context) is not agreed


@pytest.mark.parametrize(
    ("auth", "without", "own", "foreign"),
    [
        ("NoClientCert", True, True, True),
        ("RequestClientCert", True, True, True),
        ("VerifyClientCertIfGiven", True, True, False),
        ("RequireAndVerifyClientCert", False, True, False),
    ],
)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_client_certificates(
    files: WebFiles, auth: str, version: ssl.TLSVersion, *, without: bool, own: bool, foreign: bool
) -> None:
    """Who is let in: without a certificate, with one of the client CA, with one of another authority."""
    ca = () if auth == "NoClientCert" else ("client_ca_file: ca.pem",)
    with serving(config_file=files.write_tls(f"client_auth_type: {auth}", *ca)) as server:
        assert refused(server, only(files.client(), version)) is not without
        assert refused(server, only(files.client("a.example"), version)) is not own
        stranger = files.client("a.example", authority=files.stranger)
        assert refused(server, only(stranger, version)) is not foreign


@pytest.mark.parametrize(
    ("names", "agreed"),
    [
        (("prometheus.example",), True),
        (("other.example", "prometheus.example"), True),
        (("10.1.2.3",), True),
        (("2001:db8::7",), True),
        (("ops@example.com",), True),
        (("other.example",), False),
        (("*.example",), False),
    ],
)
def test_allowed_names(files: WebFiles, names: tuple[str, ...], *, agreed: bool) -> None:
    """A verified client has to carry one of the allowed names exactly, of whichever kind, also when it resumes."""
    sans = "client_allowed_sans: [prometheus.example, 10.1.2.3, '2001:db8::7', ops@example.com]"
    with serving(config_file=files.write_tls(*VERIFIED, sans)) as server:
        assert refused(server, files.client(*names)) is not agreed


def test_session_is_resumed(files: WebFiles) -> None:
    """A client that comes back shortens its handshake, with a client certificate too."""
    context = only(files.client("a.example"), ssl.TLSVersion.TLSv1_2)
    with serving(config_file=files.write_tls(*VERIFIED)) as server:
        with handshaken(server, context) as first:
            session = first.session
        with (
            raw_client(url_of(server)) as sock,
            context.wrap_socket(sock, server_hostname="localhost", session=session) as again,
        ):
            assert again.session_reused
            again.sendall(REQUEST)
            assert again.recv(100).startswith(b"HTTP/1.1 200")


def serial(server: WebServer, files: WebFiles) -> object:
    """The serial number of the certificate that a new client sees."""
    with handshaken(server, files.client()) as sock:
        certificate = sock.getpeercert()
        assert certificate is not None
        return certificate["serialNumber"]


def test_certificate_is_renewed_while_serving(files: WebFiles) -> None:
    """New connections get a renewed certificate; one that misses its key changes nothing; open connections go on."""
    file = WebConfigFile(str(files.write_tls()))
    with (
        serving(config_file=file) as server,
        secured(url_of(server), files.client()) as connection,
    ):
        assert ask(connection, "/-/ready").status == 200
        first = serial(server, files)
        old_key = (files.folder / "key.pem").read_bytes()
        files.renew()
        second = serial(server, files)
        assert second != first
        (files.folder / "key.pem").write_bytes(old_key)
        assert serial(server, files) == second
        assert file.holds() is False
        files.renew()
        assert serial(server, files) not in {first, second}
        assert file.holds() is True
        assert ask(connection, "/-/ready").status == 200


def test_client_authority_changes_while_serving(files: WebFiles) -> None:
    """When the client CA is replaced, certificates of the former one are not let in any more."""
    with serving(config_file=files.write_tls(*VERIFIED)) as server:
        assert not refused(server, files.client("a.example"))
        trusting = files.client("a.example")
        stranger = files.client("a.example", authority=files.stranger)
        files.stranger.cert_pem.write_to_path(str(files.folder / "ca.pem"))
        assert refused(server, trusting)
        assert not refused(server, stranger)


def test_tls_does_not_go_while_serving(files: WebFiles) -> None:
    """A new version without TLS is refused: nobody is to be served in plain by mistake."""
    file = WebConfigFile(str(files.write_tls()))
    with serving(config_file=file) as server:
        files.write(users("alice"))
        assert get(server, files.client()).status == 200
        assert file.holds() is False
