"""The format of --web.config.file: what is accepted and what it means."""

import ssl
from pathlib import Path

import bcrypt
import pytest

from celery_metrics_exporter.web.config import RateLimit, WebConfig, read_web_config
from celery_metrics_exporter.web.config_file import WebConfigFile
from celery_metrics_exporter.web.named_files import NamedFiles
from celery_metrics_exporter.web.tls_names import CIPHERS
from tests.web_files import HASH, WebFiles

TLS = "tls_server_config:\n  cert_file: server.pem\n  key_file: key.pem\n"


@pytest.fixture
def files(tmp_path: Path) -> WebFiles:
    """Certificates in a folder of their own."""
    return WebFiles.create(tmp_path)


def read(files: WebFiles, text: str) -> WebConfig:
    """Read a configuration."""
    return read_web_config(str(files.write(text)), NamedFiles())


def ciphers_of(context: ssl.SSLContext) -> tuple[str, ...]:
    """The cipher suites that it offers up to TLS 1.2, best first."""
    offered = [str(each["name"]) for each in context.get_ciphers()]
    return tuple(name for name in offered if not name.startswith("TLS_"))


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "---\n", "null\n", "{}\n", "tls_server_config:\n", "tls_server_config: {}\n"]
)
def test_nothing_is_plain_http_for_everybody(files: WebFiles, text: str) -> None:
    """A file that asks for nothing changes nothing."""
    assert read(files, text) == WebConfig()


def test_everything_at_once(files: WebFiles) -> None:
    """Each key of the format arrives, in OpenSSL's words, and files are found beside the configuration."""
    config = read(
        files,
        TLS + "  client_auth_type: RequireAndVerifyClientCert\n"
        "  client_ca_file: ca.pem\n"
        "  client_allowed_sans: [prometheus.example, 10.0.0.1]\n"
        "  min_version: TLS12\n"
        "  max_version: TLS13\n"
        "  cipher_suites:\n"
        "    - TLS_AES_128_GCM_SHA256\n"
        "    - TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384\n"
        "    - TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA\n"
        "  prefer_server_cipher_suites: no\n"
        "  curve_preferences: [CurveP384]\n"
        "http_server_config:\n"
        "  http2: true\n"
        "  headers:\n"
        "    Strict-Transport-Security: max-age=31536000\n"
        "    X-Frame-Options: deny\n"
        "    X-XSS-Protection: ''\n"
        "    Content-Security-Policy: >\n"
        "      default-src 'self';\n"
        "      img-src *\n"
        f"basic_auth_users: {{alice: {HASH}, 7: '{HASH}'}}\n"
        "rate_limit: {interval: 1m0.5s, burst: 3}\n",
    )
    tls = config.tls
    assert tls is not None
    assert tls._cert.content == (files.folder / "server.pem").read_bytes()
    assert tls._key.content == (files.folder / "key.pem").read_bytes()
    assert tls.allowed_sans == frozenset({"prometheus.example", "10.0.0.1"})
    context = tls.context
    authority = ssl.PEM_cert_to_DER_cert((files.folder / "ca.pem").read_text())
    assert context.get_ca_certs(binary_form=True) == [authority]
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert (context.minimum_version, context.maximum_version) == (
        ssl.TLSVersion.TLSv1_2,
        ssl.TLSVersion.TLSv1_3,
    )
    assert ciphers_of(context) == ("ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA")
    assert not context.options & ssl.OP_CIPHER_SERVER_PREFERENCE
    assert config.headers == {
        "Strict-Transport-Security": "max-age=31536000",
        "X-Frame-Options": "deny",
        "Content-Security-Policy": "default-src 'self'; img-src *",
    }
    assert config.users == {b"alice": HASH.encode(), b"7": HASH.encode()}
    assert config.rate_limit == RateLimit(60.5, 3)


def test_defaults_are_the_toolkits(files: WebFiles) -> None:
    """With a certificate alone: TLS 1.2 and 1.3, the server's order, suites with forward secrecy, no client asked."""
    tls = read(files, TLS).tls
    assert tls is not None
    context = tls.context
    assert (context.minimum_version, context.maximum_version) == (
        ssl.TLSVersion.TLSv1_2,
        ssl.TLSVersion.TLSv1_3,
    )
    assert context.verify_mode is ssl.CERT_NONE
    assert (context.get_ca_certs(), tls.allowed_sans) == ([], None)
    assert context.options & ssl.OP_CIPHER_SERVER_PREFERENCE
    assert ciphers_of(context) == tuple(CIPHERS.values())


def test_inline_certificates(files: WebFiles) -> None:
    """Certificate, key and client CA may stand in the file itself."""

    def block(name: str) -> str:
        return (files.folder / name).read_text().replace("\n", "\n    ")

    path = files.write(
        f"tls_server_config:\n  cert: |\n    {block('server.pem')}\n  key: |\n    {block('key.pem')}\n"
        f"  client_ca: |\n    {block('ca.pem')}\n  client_auth_type: VerifyClientCertIfGiven\n"
    )
    WebConfigFile(str(path))


def test_merge_keys_and_aliases(files: WebFiles) -> None:
    """YAML's anchors work as in Go: what is written beside a merge counts more."""
    other = f"{HASH[:-1]}."
    config = read(
        files,
        f"basic_auth_users:\n  <<: {{alice: &h {HASH}, bob: {HASH}}}\n  bob: {other}\n  carol: *h\n",
    )
    assert config.users == {b"alice": HASH.encode(), b"bob": other.encode(), b"carol": HASH.encode()}


@pytest.mark.parametrize("version", ["2a", "2b", "2x", "2y"])
def test_every_kind_of_bcrypt_hash(files: WebFiles, version: str) -> None:
    """Hashes of htpasswd, PHP and Python are all bcrypt."""
    hash_ = f"${version}${HASH[4:]}"
    assert read(files, f"basic_auth_users: {{alice: {hash_}}}\n").users == {b"alice": hash_.encode()}


@pytest.mark.parametrize(
    ("interval", "seconds"),
    [("100ms", 0.1), ("1s", 1), ("1.5h", 5400), ("2m30s", 150), ("1000000000", 1), ("10us", 1e-5)],
)
def test_durations_are_gos(files: WebFiles, interval: str, seconds: float) -> None:
    """An interval is written as in Go; a bare number counts nanoseconds."""
    limit = read(files, f"rate_limit: {{interval: {interval}, burst: 1}}\n").rate_limit
    assert limit is not None
    assert limit.interval == pytest.approx(seconds)


def test_the_example_of_the_documentation(files: WebFiles) -> None:
    """What docs/endpoint.md shows as a file is one, and its password is the one that it names."""
    page = Path(__file__).parents[2] / "docs" / "endpoint.md"
    section = page.read_text(encoding="utf-8").partition("## Securing the endpoint")[2]
    example = section.partition("```yaml\n")[2].partition("```")[0]
    (files.folder / "key.pem").rename(files.folder / "server-key.pem")
    config = read(files, example)
    assert config.tls is not None
    assert config.tls.context.verify_mode is ssl.CERT_REQUIRED
    assert bcrypt.checkpw(b"change-me", config.users[b"prometheus"])
