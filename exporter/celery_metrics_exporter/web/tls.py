"""The section ``tls_server_config`` of the file of --web.config.file, as a context of OpenSSL.

Owns its keys, its defaults, what contradicts itself, and the mapping from Go's settings to Python's ssl.

Facts: prometheus/exporter-toolkit, web/tls_config.go (TLSConfig, validateTLSPaths, ConfigToTLSConfig); Go, crypto/tls
and crypto/x509. Go trusts every certificate of ``client_ca_file``, also one that is no root, hence
VERIFY_X509_PARTIAL_CHAIN; without that file it trusts the system's authorities.
"""

import ssl
import warnings
from collections.abc import Mapping
from pathlib import Path

from celery_metrics_exporter.config.yaml_reading import Entries, Entry, nearest
from celery_metrics_exporter.web.certificates import Pem, load_key_pair, names_in, read_pem
from celery_metrics_exporter.web.named_files import NamedFiles
from celery_metrics_exporter.web.tls_names import (
    CIPHERS,
    CLIENT_AUTH,
    CURVES,
    TLS13_CIPHERS,
    VERSIONS,
    WITHOUT_FORWARD_SECRECY,
)

_KEYS = (
    "cert",
    "cert_file",
    "cipher_suites",
    "client_allowed_sans",
    "client_auth_type",
    "client_ca",
    "client_ca_file",
    "curve_preferences",
    "key",
    "key_file",
    "max_version",
    "min_version",
    "prefer_server_cipher_suites",
)


class Tls:
    """One version of the section, ready for connections."""

    def __init__(self, entries: Entries, files: NamedFiles, folder: Path) -> None:
        """``folder``: where names of files begin. Raises ConfigError where the section, or OpenSSL, cannot do it."""
        self._entries = entries
        cert, key, client_ca = (
            read_pem(entries, name, files, folder) for name in ("cert", "key", "client_ca")
        )
        if cert is None or key is None:
            missing = "cert" if cert is None else "key"
            raise entries[missing].refuse(
                f"tls_server_config needs {missing}_file (or {missing}); drop the section to serve without TLS"
            )
        self._cert, self._key = cert, key
        self._oldest, self._newest = self._versions()
        self._ciphers = self._offered_ciphers()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_SINGLE_ECDH_USE
        if entries["prefer_server_cipher_suites"].flag(default=True):
            self.context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
        else:
            self.context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
        self.context.set_alpn_protocols(["http/1.1"])
        self._set_curve()
        self._set_clients(client_ca)
        #: The names of which a client's certificate has to carry one; None: it need not.
        self.allowed_sans = self._allowed_sans()
        self.equip(self.context)

    def equip(self, context: ssl.SSLContext) -> None:
        """Let a context, of a server or of a client, speak these versions and show this certificate.

        Raises ConfigError.
        """
        with warnings.catch_warnings():
            # That TLS 1.0 and 1.1 are old is known to whoever asks for them.
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = self._oldest if self._ciphers else ssl.TLSVersion.TLSv1_3
            context.maximum_version = self._newest
        if self._ciphers:
            # OpenSSL 3 has no signature for TLS before 1.2 at the level that distributions set.
            level = "@SECLEVEL=0" if self._oldest < ssl.TLSVersion.TLSv1_2 else ""
            try:
                context.set_ciphers(":".join(self._ciphers) + level)
            except ssl.SSLError:
                raise self._entries["cipher_suites"].refuse(
                    "the OpenSSL of this Python has none of these cipher suites"
                ) from None
        load_key_pair(context, self._cert, self._key)

    def admits(self, certificate: Mapping[str, object]) -> bool:
        """Whether a client with this certificate is let in; it is verified already.

        ``certificate``: as ``ssl.SSLSocket.getpeercert`` tells it.
        """
        return self.allowed_sans is None or not self.allowed_sans.isdisjoint(names_in(certificate))

    def _versions(self) -> tuple[ssl.TLSVersion, ssl.TLSVersion]:
        chosen = []
        for key, default in (("min_version", "TLS12"), ("max_version", "TLS13")):
            entry = self._entries[key]
            name = entry.text() or default
            if name not in VERSIONS:
                raise entry.refuse(f"unknown TLS version {name} in {key}{nearest(name, VERSIONS)}")
            if not getattr(ssl, f"HAS_{VERSIONS[name].name}"):
                raise entry.refuse(f"{key}: the OpenSSL of this Python has no {name}")
            chosen.append(VERSIONS[name])
        oldest, newest = chosen
        if oldest > newest:
            key = "min_version" if "min_version" in self._entries else "max_version"
            raise self._entries[key].refuse("min_version is newer than max_version: no client could connect")
        return oldest, newest

    def _offered_ciphers(self) -> tuple[str, ...]:
        """For TLS up to 1.2, best first, in OpenSSL's words; () where that is not offered."""
        entry = self._entries["cipher_suites"]
        names = []
        for item in entry.items():
            names.append(name := item.text())
            if name in WITHOUT_FORWARD_SECRECY:
                raise item.refuse(
                    f"cipher suite {name} has no forward secrecy: write TLS_ECDHE_..., or drop cipher_suites"
                )
            if name not in CIPHERS and name not in TLS13_CIPHERS:
                raise item.refuse(f"unknown cipher suite {name}{nearest(name, CIPHERS)}")
        if self._oldest == ssl.TLSVersion.TLSv1_3:
            return ()
        ciphers = tuple(CIPHERS[name] for name in names or CIPHERS if name in CIPHERS)
        if not ciphers and self._newest != ssl.TLSVersion.TLSv1_3:
            raise entry.refuse("none of these cipher suites works before TLS 1.3")
        return ciphers

    def _set_curve(self) -> None:
        items = self._entries["curve_preferences"].items()
        for item in items:
            if (name := item.text()) not in CURVES:
                raise item.refuse(f"unknown curve {name}{nearest(name, CURVES)}")
        if len(items) > 1:
            raise items[1].refuse(
                "curve_preferences has more than one curve, which Python's TLS cannot offer: "
                "name one, or drop the key for OpenSSL's own choice"
            )
        for item in items:
            curve = CURVES[item.text()]
            try:
                self.context.set_ecdh_curve(curve)
            except (ValueError, ssl.SSLError):
                raise item.refuse(f"the OpenSSL of this Python has no curve {curve}") from None

    def _set_clients(self, authority: Pem | None) -> None:
        entry = self._entries["client_auth_type"]
        name = entry.text() or "NoClientCert"
        if name not in CLIENT_AUTH:
            raise entry.refuse(f"unknown client_auth_type {name}{nearest(name, CLIENT_AUTH)}")
        mode = CLIENT_AUTH[name]
        if mode is None:
            raise entry.refuse(
                f"{name} lets in any certificate, also one that the client made itself, which Python's TLS cannot "
                "do: write RequireAndVerifyClientCert, with client_ca_file"
            )
        self.context.verify_mode = mode
        if authority is not None:
            if name == "NoClientCert":
                raise authority.entry.refuse(
                    "a client CA without client_auth_type: add RequireAndVerifyClientCert"
                )
            self.context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            self.context.load_verify_locations(cadata=b"".join(authority.certificates()))
        elif mode != ssl.CERT_NONE:
            self.context.load_default_certs(ssl.Purpose.CLIENT_AUTH)

    def _allowed_sans(self) -> frozenset[str] | None:
        entry = self._entries["client_allowed_sans"]
        if entry.is_nothing:
            return None
        names = frozenset(item.text() for item in entry.items())
        if self.context.verify_mode != ssl.CERT_REQUIRED:
            raise entry.refuse("client_allowed_sans needs client_auth_type RequireAndVerifyClientCert")
        if not names:
            raise entry.refuse("client_allowed_sans is empty and would let nobody in: name one or drop it")
        return names


def read_tls(section: Entry, files: NamedFiles, folder: Path) -> Tls | None:
    """None where the section is missing or empty: then there is no TLS. Raises ConfigError."""
    entries = section.entries(_KEYS)
    return Tls(entries, files, folder) if entries else None
