"""Files for --web.config.file that cannot work: refused in one line, with file, line and reason."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as form

from celery_metrics_exporter.errors import ConfigError
from celery_metrics_exporter.web.config_file import WebConfigFile
from tests.web_files import HASH, WebFiles

TLS = "tls_server_config:\n  cert_file: server.pem\n  key_file: key.pem\n"


@pytest.fixture
def files(tmp_path: Path) -> WebFiles:
    """Certificates in a folder of their own."""
    return WebFiles.create(tmp_path)


BAD = [
    ("a: [\n", 2, "the file is not valid YAML"),
    ("- a\n", 1, "the file must be a mapping, not a list"),
    ("a: 1\n---\nb: 2\n", 2, "expected a single document"),
    ("basic_auth_user: {}\n", 1, "unknown key basic_auth_user in the file; did you mean basic_auth_users?"),
    (
        "\n\nauth_excluded_paths: [/]\n",
        3,
        "unknown key auth_excluded_paths in the file; there are basic_auth_",
    ),
    ("http_server_config: {}\nhttp_server_config: {}\n", 2, "the file has http_server_config twice"),
    ("http_server_config:\n  http2: 'true'\n", 2, "http2 must be true or false, without quotes"),
    ("http_server_config:\n  headers: [a]\n", 2, "headers must be a mapping, not a list"),
    ("http_server_config:\n  headers:\n    x-frame-options: deny\n", 3, "did you mean X-Frame-Options?"),
    ("http_server_config:\n  headers:\n    X-Frame-Options: DENY\n", 3, "must be deny or sameorigin"),
    ('http_server_config:\n  headers:\n    X-XSS-Protection: "a\\rb"\n', 3, "must be printable ASCII"),
    ("basic_auth_users:\n  alice: hunter2\n", 2, "the hash of user alice is not one that bcrypt makes"),
    (f"basic_auth_users:\n  alice: {HASH[:-1]}\n", 2, "the hash of user alice is not one that bcrypt makes"),
    (f"basic_auth_users:\n  alice: $2b$03${HASH[7:]}\n", 2, ", and may have 4 to 18"),
    (f"basic_auth_users:\n  alice: $2b$31${HASH[7:]}\n", 2, ", and may have 4 to 18"),
    *[
        (f"basic_auth_users:\n  alice: {hash_}\n", 2, "the hash of user alice is not one that bcrypt makes")
        for hash_ in (
            HASH[:28] + "b" + HASH[29:],  # bits of the salt that it does not have
            HASH[:-1] + "/",  # bits of the hash
            HASH[:10] + "!" + HASH[11:],
            HASH[:10] + "=" + HASH[11:],
            HASH + "a",
            HASH[:28],
            "$2$" + HASH[4:],
            "$2c$" + HASH[4:],
            "$1$" + HASH[4:],
            "$2b$\u0661\u0662$" + HASH[7:],
            HASH[:4] + "4$" + HASH[7:],
        )
    ],
    *[
        (f"basic_auth_users:\n  alice: $2b${cost}${HASH[7:]}\n", 2, f"has cost {cost}, and may have 4 to 18")
        for cost in ("00", "19", "32", "99")
    ],
    ("basic_auth_users:\n  alice: [a]\n", 2, "the hash of user alice must be a text, not a list"),
    (f"basic_auth_users:\n  'a:b': {HASH}\n", 2, "user a:b has a colon in the name"),
    (f"basic_auth_users:\n  a: {HASH}\n  a: {HASH}\n", 3, "basic_auth_users has a twice"),
    ("rate_limit:\n  interval: 1 second\n", 2, "interval must be a duration"),
    ("rate_limit:\n  interval: -1s\n", 2, "interval must be a duration"),
    ("rate_limit:\n  interval: 1s\n  burst: many\n", 3, "burst must be a whole number"),
    ("rate_limit:\n  interval: 1s\n  burst: 0\n", 3, "burst must be at least 1"),
    ("rate_limit:\n  burst: 1\n", 2, "rate_limit without interval limits nothing"),
    ("tls_server_config:\n  min_version: TLS13\n", 2, "needs cert_file (or cert)"),
    ("tls_server_config:\n  cert_file: server.pem\n", 2, "needs key_file (or key)"),
    ("tls_server_config:\n  cert_fle: server.pem\n", 2, "did you mean cert_file?"),
    ("tls_server_config:\n  key_file: key.pem\n  cert_file: absent.pem\n", 3, "no such file or directory"),
    ("tls_server_config:\n  key_file: key.pem\n  cert_file: .\n", 3, "not a regular file"),
    (TLS + "  cert: abc\n", 4, "cert and cert_file are both set; remove one"),
    (
        "tls_server_config:\n  cert_file: server.pem\n  key_file: other-key.pem\n",
        3,
        "does not belong to the cert",
    ),
    ("tls_server_config:\n  cert_file: key.pem\n  key_file: key.pem\n", 2, "there is no certificate in it"),
    ("tls_server_config:\n  cert_file: server.pem\n  key_file: ca.pem\n", 3, "there is no private key in it"),
    (
        "tls_server_config:\n  cert_file: server.pem\n  key: hunter2\n",
        3,
        "key: there is no private key in it",
    ),
    (
        TLS + "  client_auth_type: RequireCert\n",
        4,
        "unknown client_auth_type RequireCert; did you mean Require",
    ),
    (TLS + "  client_auth_type: RequireAnyClientCert\n", 4, "write RequireAndVerifyClientCert"),
    (TLS + "  client_auth_type: RequireClientCert\n", 4, "write RequireAndVerifyClientCert"),
    (TLS + "  client_ca_file: ca.pem\n", 4, "a client CA without client_auth_type"),
    (
        TLS + "  client_ca_file: key.pem\n  client_auth_type: RequireAndVerifyClientCert\n",
        4,
        "there is no certificate in it",
    ),
    (TLS + "  client_allowed_sans: [a]\n", 4, "needs client_auth_type RequireAndVerifyClientCert"),
    (
        TLS + "  client_auth_type: RequireAndVerifyClientCert\n  client_allowed_sans: []\n",
        5,
        "client_allowed_sans is empty",
    ),
    (TLS + "  min_version: TLS1.2\n", 4, "unknown TLS version TLS1.2 in min_version; did you mean TLS12?"),
    (TLS + "  max_version: SSL30\n", 4, "unknown TLS version SSL30 in max_version"),
    (TLS + "  min_version: TLS13\n  max_version: TLS12\n", 4, "no client could connect"),
    (
        TLS + "  cipher_suites: TLS_AES_128_GCM_SHA256\n",
        4,
        "cipher_suites must be a list, not a single value",
    ),
    (
        TLS + "  cipher_suites:\n    - TLS_AES_128_GCM_SHA256\n    - TLS_RSA_WITH_RC4_128_SHA\n",
        6,
        "did you mean",
    ),
    (TLS + "  cipher_suites: [TLS_RSA_WITH_AES_128_GCM_SHA256]\n", 4, "no forward secrecy"),
    (TLS + "  cipher_suites: [TLS_AES_128_GCM_SHA256]\n  max_version: TLS12\n", 4, "works before TLS 1.3"),
    (TLS + "  curve_preferences: [P256]\n", 4, "unknown curve P256; did you mean CurveP256?"),
    (TLS + "  curve_preferences:\n    - X25519\n    - CurveP256\n", 6, "more than one curve"),
    (TLS + "  prefer_server_cipher_suites: 1\n", 4, "must be true or false"),
]


@pytest.mark.parametrize(("text", "line", "reason"), BAD, ids=range(len(BAD)))
def test_bad_file_is_refused_in_one_line(files: WebFiles, text: str, line: int, reason: str) -> None:
    """What cannot work is refused with file, line and reason."""
    path = files.write(text)
    with pytest.raises(ConfigError) as refusal:
        WebConfigFile(str(path))
    message = str(refusal.value)
    assert message.startswith(f"{path}, line {line}: ")
    assert reason in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (b"a: b\n\xff\n", 2, "the file is not UTF-8"),
        (b"a: b\nc: \x00\n", 2, "a character that YAML does not allow"),
        (b"[" * 100_000, 1, "the file is nested too deeply"),
        (b"a: !secret b\n", 1, "unknown tag !secret"),
        (b"a: *b\n", 1, "found undefined alias"),
        (b"basic_auth_users: &a {<<: *a}\n", 1, "basic_auth_users is merged into itself"),
    ],
)
def test_what_is_hardly_yaml(files: WebFiles, content: bytes, line: int, reason: str) -> None:
    """Broken and hostile YAML ends in one line too."""
    files.config.write_bytes(content)
    with pytest.raises(ConfigError) as refusal:
        WebConfigFile(str(files.config))
    assert f"line {line}: " in str(refusal.value)
    assert reason in str(refusal.value)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    """A file that is not there is named."""
    with pytest.raises(
        ConfigError, match=r"cannot read the web configuration .*absent\.yml: no such file or directory; name"
    ):
        WebConfigFile(str(tmp_path / "absent.yml"))


def test_encrypted_key_is_refused(files: WebFiles) -> None:
    """A key with a passphrase is refused, and nobody is asked for it."""
    key = form.load_pem_private_key((files.folder / "key.pem").read_bytes(), password=None)
    encrypted = key.private_bytes(
        form.Encoding.PEM, form.PrivateFormat.PKCS8, form.BestAvailableEncryption(b"x")
    )
    (files.folder / "key.pem").write_bytes(encrypted)
    with pytest.raises(ConfigError, match=r"line 3: key_file .*key\.pem: the key is encrypted"):
        WebConfigFile(str(files.write(TLS)))


@pytest.mark.parametrize("text", [text for text, _, _ in BAD], ids=range(len(BAD)))
def test_no_refusal_shows_a_secret(files: WebFiles, text: str) -> None:
    """Neither hashes nor keys stand in an error."""
    with pytest.raises(ConfigError) as refusal:
        WebConfigFile(str(files.write(text)))
    assert HASH[7:] not in str(refusal.value)
    assert "hunter2" not in str(refusal.value)
