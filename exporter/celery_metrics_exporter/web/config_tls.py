"""The section ``tls_server_config`` of the file of --web.config.file, as one frozen value.

Owns its keys, defaults, and what contradicts itself.

Facts: prometheus/exporter-toolkit, web/tls_config.go (TLSConfig, validateTLSPaths, ConfigToTLSConfig).
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from celery_metrics_exporter.web.named_files import NamedFiles, UnreadableError
from celery_metrics_exporter.web.tls_names import (
    AVAILABLE,
    CIPHERS,
    CLIENT_AUTH,
    CURVES,
    DEFAULT_CIPHERS,
    TLS13_CIPHERS,
    VERSIONS,
    ClientAuth,
)
from celery_metrics_exporter.web.yaml_reading import Node, Place, Reading, nearest

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


@dataclass(frozen=True, slots=True)
class Pem:
    """PEM text, from a file or inline; ``place`` is the line that names it, ``name`` what it is called there."""

    content: bytes = field(repr=False)
    name: str
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsConfig:
    """``tls_server_config``. Versions are the oldest and newest offered; names are OpenSSL's, best first.

    ``ciphers`` are for TLS up to 1.2, none of them if that is not offered. ``curve``: None leaves it to OpenSSL.
    ``places``: where each key stands, and under "" the section.
    """

    cert: Pem
    key: Pem
    client_ca: Pem | None
    client_auth: ClientAuth
    allowed_sans: frozenset[str] | None
    min_version: ssl.TLSVersion
    max_version: ssl.TLSVersion
    ciphers: tuple[str, ...]
    prefer_server_ciphers: bool
    curve: str | None
    places: Mapping[str, Place]


class TlsSection:
    """Reads ``tls_server_config``; files are relative to ``folder``."""

    def __init__(self, reading: Reading, files: NamedFiles, folder: Path) -> None:
        self._reading = reading
        self._files = files
        self._folder = folder
        self._entries: dict[str, Node] = {}

    def read(self, section: Node | None) -> TlsConfig | None:
        """None where the section is missing or empty: then there is no TLS."""
        self._entries = self._reading.mapping(section, "tls_server_config", _KEYS)
        if section is None or not self._entries:
            return None
        here = self._reading.place(section)
        cert, key, client_ca = (self._pem(name) for name in ("cert", "key", "client_ca"))
        if cert is None or key is None:
            missing = "cert" if cert is None else "key"
            raise here.refuse(
                f"tls_server_config needs {missing}_file (or {missing}); drop the section to serve without TLS"
            )
        client_auth = self._client_auth(client_ca)
        oldest, newest = self._versions()
        return TlsConfig(
            cert=cert,
            key=key,
            client_ca=client_ca,
            client_auth=client_auth,
            allowed_sans=self._allowed_sans(client_auth),
            min_version=oldest,
            max_version=newest,
            ciphers=self._ciphers(oldest, newest),
            prefer_server_ciphers=self._reading.flag(
                self._entries.get("prefer_server_cipher_suites"), "prefer_server_cipher_suites", default=True
            ),
            curve=self._curve(),
            places={name: self._reading.place(node) for name, node in self._entries.items()} | {"": here},
        )

    def _pem(self, name: str) -> Pem | None:
        inline, path = (self._reading.text(self._entries.get(key), key) for key in (name, f"{name}_file"))
        if inline and path:
            raise self._place(name).refuse(f"{name} and {name}_file are there both: drop one of them")
        if inline:
            return Pem(inline.encode(), name, self._place(name))
        if not path:
            return None
        place = self._place(f"{name}_file")
        full = str(self._folder / path)
        try:
            return Pem(self._files.read(full), f"{name}_file {full}", place)
        except UnreadableError as error:
            raise place.refuse(f"{name}_file {full}: {error}") from None

    def _client_auth(self, client_ca: Pem | None) -> ClientAuth:
        name = self._reading.text(self._entries.get("client_auth_type"), "client_auth_type")
        if name not in CLIENT_AUTH:
            known = [each for each in CLIENT_AUTH if each]
            raise self._place("client_auth_type").refuse(
                f"unknown client_auth_type {name}{nearest(name, known)}"
            )
        auth = CLIENT_AUTH[name]
        if auth is ClientAuth.REQUIRE_ANY:
            raise self._place("client_auth_type").refuse(
                f"{name} lets in any certificate, also one that the client made itself, which Python's TLS cannot "
                "do: write RequireAndVerifyClientCert, with client_ca_file"
            )
        if client_ca is not None and auth is ClientAuth.NONE:
            raise client_ca.place.refuse(
                "a client CA without client_auth_type: add RequireAndVerifyClientCert"
            )
        return auth

    def _allowed_sans(self, auth: ClientAuth) -> frozenset[str] | None:
        sans = self._reading.texts(self._entries.get("client_allowed_sans"), "client_allowed_sans")
        if sans is None:
            return None
        place = self._place("client_allowed_sans")
        if auth is not ClientAuth.REQUIRE_AND_VERIFY:
            raise place.refuse("client_allowed_sans needs client_auth_type RequireAndVerifyClientCert")
        if not sans:
            raise place.refuse("client_allowed_sans is empty and would let nobody in: name one or drop it")
        return frozenset(text for text, _ in sans)

    def _versions(self) -> tuple[ssl.TLSVersion, ssl.TLSVersion]:
        chosen = []
        for key, default in (("min_version", "TLS12"), ("max_version", "TLS13")):
            name = self._reading.text(self._entries.get(key), key) or default
            if name not in VERSIONS:
                raise self._place(key).refuse(f"unknown TLS version {name} in {key}{nearest(name, VERSIONS)}")
            if not AVAILABLE[name]:
                raise self._place(key).refuse(f"{key}: the OpenSSL of this Python has no {name}")
            chosen.append(VERSIONS[name])
        oldest, newest = chosen
        if oldest > newest:
            key = "min_version" if "min_version" in self._entries else "max_version"
            raise self._place(key).refuse("min_version is newer than max_version: no client could connect")
        return oldest, newest

    def _ciphers(self, oldest: ssl.TLSVersion, newest: ssl.TLSVersion) -> tuple[str, ...]:
        names = self._reading.texts(self._entries.get("cipher_suites"), "cipher_suites")
        for name, place in names or ():
            if name not in CIPHERS and name not in TLS13_CIPHERS:
                raise place.refuse(f"unknown cipher suite {name}{nearest(name, CIPHERS)}")
        if oldest == ssl.TLSVersion.TLSv1_3:
            return ()
        ciphers = tuple(CIPHERS[name] for name, _ in names or () if name in CIPHERS)
        if names and not ciphers and newest != ssl.TLSVersion.TLSv1_3:
            raise self._place("cipher_suites").refuse("none of these cipher suites works before TLS 1.3")
        return ciphers if names else DEFAULT_CIPHERS

    def _curve(self) -> str | None:
        names = self._reading.texts(self._entries.get("curve_preferences"), "curve_preferences")
        for name, place in names or ():
            if name not in CURVES:
                raise place.refuse(f"unknown curve {name}{nearest(name, CURVES)}")
        if names and len(names) > 1:
            raise names[1][1].refuse(
                "curve_preferences has more than one curve, which Python's TLS cannot offer: "
                "name one, or drop the key for OpenSSL's own choice"
            )
        return CURVES[names[0][0]] if names else None

    def _place(self, key: str) -> Place:
        return self._reading.place(self._entries[key])
