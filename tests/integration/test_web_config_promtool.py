"""Files for --web.config.file as `promtool check web-config` and as the exporter judge them."""

import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from celery_metrics_exporter.errors import ConfigError
from celery_metrics_exporter.web.config_file import WebConfigFile
from celery_metrics_exporter.web.tls_names import (
    CIPHERS,
    CURVES,
    TLS13_CIPHERS,
    VERSIONS,
    WITHOUT_FORWARD_SECRECY,
)
from tests.integration.servers import promtool
from tests.web_files import HASH, WebFiles

TLS = "tls_server_config:\n  cert_file: server.pem\n  key_file: key.pem\n"
CLIENT_CA = "  client_ca_file: ca.pem\n"
HEADERS = "http_server_config:\n  headers:\n    "

BOTH_ACCEPT = [
    "",
    "# nothing\n",
    "{}\n",
    "tls_server_config:\nhttp_server_config:\nbasic_auth_users:\n",
    TLS,
    TLS + "  min_version:\n",
    *[TLS + f"  min_version: {version}\n" for version in VERSIONS],
    TLS + "  max_version: TLS12\n",
    *[TLS + f"  cipher_suites: [{suite}]\n" for suite in [*CIPHERS, *TLS13_CIPHERS]],
    *[TLS + f"  curve_preferences: [{curve}]\n" for curve in CURVES],
    TLS + "  prefer_server_cipher_suites: off\n",
    TLS + "  prefer_server_cipher_suites: y\n",
    TLS + "  client_auth_type: NoClientCert\n",
    *[
        TLS + CLIENT_CA + f"  client_auth_type: {auth}\n"
        for auth in ("RequestClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert")
    ],
    TLS + "  client_auth_type: RequireAndVerifyClientCert\n",
    "http_server_config:\n  http2: false\n",
    HEADERS + "X-Frame-Options: deny\n",
    HEADERS + "X-Content-Type-Options: nosniff\n",
    HEADERS + "Strict-Transport-Security: max-age=31536000\n",
    HEADERS + "Strict-Transport-Security: ''\n",
    HEADERS + "Content-Security-Policy: >\n      default-src 'self';\n      img-src *\n",
    HEADERS + "X-XSS-Protection: 1\n",
    f"basic_auth_users:\n  alice: {HASH}\n  7: '{HASH}'\n  '': {HASH}\n",
    f"basic_auth_users:\n  <<: {{alice: {HASH}}}\n  bob: {HASH}\n",
]

BOTH_REFUSE = [
    "[]\n",
    "a\n",
    "nonsense: 1\n",
    "a: [\n",
    "http_server_config:\nhttp_server_config:\n",
    "tls_server_config:\n  cert_file: server.pem\n",
    "tls_server_config:\n  key_file: key.pem\n",
    "tls_server_config:\n  cert_file: absent.pem\n  key_file: key.pem\n",
    "tls_server_config:\n  cert_file: server.pem\n  key_file: other-key.pem\n",
    "tls_server_config:\n  cert_file: key.pem\n  key_file: key.pem\n",
    "tls_server_config:\n  cert_file: [server.pem]\n  key_file: key.pem\n",
    TLS + CLIENT_CA,
    TLS + "  client_auth_type: Nonsense\n",
    TLS + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: absent.pem\n",
    TLS + "  min_version: TLS1.2\n",
    TLS + "  max_version: 1.3\n",
    TLS + "  cipher_suites: TLS_AES_128_GCM_SHA256\n",
    TLS + "  cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]\n",
    TLS + "  cipher_suites: [TLS_RSA_WITH_3DES_EDE_CBC_SHA]\n",
    TLS + "  curve_preferences: [P256]\n",
    TLS + "  prefer_server_cipher_suites: 'true'\n",
    TLS + "  nonsense: 1\n",
    "http_server_config:\n  http2: 1\n",
    HEADERS + "x-frame-options: deny\n",
    HEADERS + "X-Frame-Options: DENY\n",
    HEADERS + "X-Frame-Options: ''\n",
    HEADERS + "Server: x\n",
    "basic_auth_users: []\n",
    "basic_auth_users:\n  alice: secret\n",
    f"basic_auth_users:\n  alice: $2y$32${HASH[7:]}\n",
    f"basic_auth_users:\n  alice: {HASH}\n  alice: {HASH}\n",
]

#: Here versions of promtool differ; the newest toolkit accepts the former, which older ones do not know ...
NEWLY_ACCEPTED = [
    TLS + CLIENT_CA + "  client_auth_type: RequireAndVerifyClientCert\n  client_allowed_sans: [a.example]\n",
    "tls_server_config:\n  cert_file: server.pem\n  key: |\n    KEY\n",
    "rate_limit: {interval: 1s, burst: 5}\n",
]
#: ... and refuses the latter, which older Go accepted.
NEWLY_REFUSED = [TLS + f"  cipher_suites: [{suite}]\n" for suite in sorted(WITHOUT_FORWARD_SECRECY)]

#: docs/endpoint.md tells them: what Go would ignore, or could never let anybody in with, and what OpenSSL cannot.
OURS_IS_STRICTER = [
    "tls_server_config: {min_version: TLS13}\n",
    "---\n---\nnonsense: 1\n",
    TLS + "  min_version: TLS13\n  max_version: TLS12\n",
    TLS + "  client_auth_type: RequireAnyClientCert\n",
    TLS + f"  curve_preferences: [{', '.join(CURVES)}]\n",
    TLS + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: key.pem\n",
    TLS + "  cipher_suites: [TLS_AES_128_GCM_SHA256]\n  max_version: TLS12\n",
    TLS + "  cipher_suites: [~]\n",
    HEADERS + "X-XSS-Protection: é\n",
    f"basic_auth_users:\n  'a:b': {HASH}\n",
    f"basic_auth_users:\n  alice: $2y$31${HASH[7:]}\n",
    f"basic_auth_users:\n  alice: {HASH}x\n",
]


def ours(path: Path) -> str | None:
    """Why the exporter refuses a file; None where it accepts it."""
    try:
        WebConfigFile(str(path))
    except ConfigError as error:
        return str(error)
    return None


def judged(
    folder: Path, texts: Sequence[str]
) -> list[tuple[str, str | None, "subprocess.CompletedProcess[str]"]]:
    """Let both judge every text; promtool is a process for each, several at a time."""
    files = WebFiles.create(folder)
    key = (folder / "key.pem").read_text().replace("\n", "\n    ")
    paths = []
    for number, text in enumerate(texts):
        path = folder / f"{number}.yml"
        path.write_text(text.replace("KEY", key))
        paths.append(path)
    assert files.folder == folder
    with ThreadPoolExecutor(4) as pool:
        verdicts = list(pool.map(lambda path: promtool("check", "web-config", path), paths))
    return [(text, ours(path), verdict) for text, path, verdict in zip(texts, paths, verdicts, strict=True)]


@pytest.mark.needs("prometheus")
@pytest.mark.parametrize(
    ("texts", "ours_accepts", "promtool_accepts"),
    [
        pytest.param(BOTH_ACCEPT, True, True, id="both accept"),
        pytest.param(BOTH_REFUSE, False, False, id="both refuse"),
        pytest.param(NEWLY_ACCEPTED, True, None, id="accepted by the newest"),
        pytest.param(NEWLY_REFUSED, False, None, id="refused by the newest"),
        pytest.param(OURS_IS_STRICTER, False, True, id="ours is stricter"),
    ],
)
def test_same_verdict_as_promtool(
    tmp_path: Path, texts: list[str], *, ours_accepts: bool, promtool_accepts: bool | None
) -> None:
    """What every promtool accepts works, what every one refuses is refused, but for the documented differences."""
    for text, reason, verdict in judged(tmp_path, texts):
        assert (reason is None) is ours_accepts, f"{text}\nwe say: {reason}"
        if promtool_accepts is not None:
            assert (verdict.returncode == 0) is promtool_accepts, f"{text}\npromtool says: {verdict.stdout}"
