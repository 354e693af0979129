"""The file of --web.config.file: the web configuration of prometheus/exporter-toolkit as one frozen value.

Owns the format: keys, types, defaults, and what contradicts itself.

Facts: prometheus/exporter-toolkit, docs/web-configuration.md, web/tls_config.go (getConfig),
web/handler.go (validateUsers, validateHeaderConfig). Where this is stricter, docs/operations.md says so.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from celery_metrics_exporter.web.config_tls import TlsConfig, TlsSection
from celery_metrics_exporter.web.named_files import NamedFiles, UnreadableError
from celery_metrics_exporter.web.yaml_reading import Node, Place, Reading

_SECTIONS = ("tls_server_config", "http_server_config", "basic_auth_users", "rate_limit")
#: The headers that may be set, with the values of those that have a fixed choice.
_HEADERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "Content-Security-Policy": (),
        "Strict-Transport-Security": (),
        "X-Content-Type-Options": ("nosniff",),
        "X-Frame-Options": ("deny", "sameorigin"),
        "X-XSS-Protection": (),
    }
)
#: Algorithm, cost, 22 characters of salt, 31 of hash; $2x$ and $2y$ are what PHP and htpasswd write.
_HASH = re.compile(r"\$2[abxy]\$(\d\d)\$[./A-Za-z0-9]{53}")
#: 2**cost rounds: 10 takes 0.07 s, 18 takes 18 s; with more no client would wait for its first answer.
_COSTS = range(4, 19)
_DURATION = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A bucket of ``burst`` requests, one more every ``interval`` seconds."""

    interval: float
    burst: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WebConfig:
    """The whole file. ``users``: name -> bcrypt hash; empty: nobody has to say who they are."""

    tls: TlsConfig | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    users: Mapping[bytes, bytes] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    rate_limit: RateLimit | None = None


def read_web_config(path: str, files: NamedFiles) -> WebConfig:
    """Read the file and those that it names, through ``files``.

    Raises:
        ConfigError: with file, line and reason; never with a hash, a key or a password in it.
    """
    try:
        content = files.read(path)
    except UnreadableError as error:
        raise Place(path, 1).refuse(str(error)) from None
    reading = Reading(path, content)
    sections = reading.mapping(reading.root, "the file", _SECTIONS)
    http = reading.mapping(sections.get("http_server_config"), "http_server_config", ("http2", "headers"))
    reading.flag(http.get("http2"), "http2", default=True)  # part of the format; HTTP/1.1 alone is offered
    return WebConfig(
        tls=TlsSection(reading, files, Path(path).parent).read(sections.get("tls_server_config")),
        headers=_headers(reading, http.get("headers")),
        users=_users(reading, sections.get("basic_auth_users")),
        rate_limit=_rate_limit(reading, sections.get("rate_limit")),
    )


def _headers(reading: Reading, node: Node | None) -> Mapping[str, str]:
    headers = {}
    for name, value in reading.mapping(node, "headers", _HEADERS).items():
        text = reading.text(value, name)
        choice = _HEADERS[name]
        if choice and text not in choice:
            raise reading.place(value).refuse(f"{name} must be {' or '.join(choice)}")
        text = " ".join(text.split("\n")).strip()
        if not (text.isascii() and text.isprintable()):
            raise reading.place(value).refuse(f"{name} must be printable ASCII")
        if text:
            headers[name] = text
    return MappingProxyType(headers)


def _users(reading: Reading, node: Node | None) -> Mapping[bytes, bytes]:
    users = {}
    for name, value in reading.mapping(node, "basic_auth_users").items():
        place = reading.place(value)
        if ":" in name:
            raise place.refuse(f"user {name}: HTTP cannot send a name with a colon")
        text = reading.text(value, f"the hash of user {name}")
        match = _HASH.fullmatch(text)
        if match is None:
            raise place.refuse(
                f"user {name}: this is no bcrypt hash; make one with: htpasswd -nBC 10 {name or 'NAME'}"
            )
        if int(match[1]) not in _COSTS:
            raise place.refuse(
                f"user {name}: the cost of the hash must be {_COSTS.start} to {_COSTS.stop - 1}"
            )
        users[name.encode()] = text.encode()
    return MappingProxyType(users)


def _rate_limit(reading: Reading, node: Node | None) -> RateLimit | None:
    entries = reading.mapping(node, "rate_limit", ("burst", "interval"))
    if node is None or not entries:
        return None
    if "interval" not in entries:
        raise reading.place(node).refuse("rate_limit without interval limits nothing: add for example 100ms")
    interval = _duration(reading, entries["interval"])
    burst = reading.whole(entries.get("burst"), "burst")
    if interval == 0:
        return None
    if burst < 1:
        place = reading.place(entries.get("burst", node))
        raise place.refuse("burst must be at least 1: with less nobody is answered")
    return RateLimit(interval, burst)


def _duration(reading: Reading, node: Node) -> float:
    """As Go's time.ParseDuration; a bare number is nanoseconds, as in yaml.v2."""
    text = reading.text(node, "interval")
    if re.fullmatch(r"\d+", text):
        return int(text) * 1e-9
    parts = _DURATION.findall(text)
    if not parts or "".join(parts) != text:
        raise reading.place(node).refuse("interval must be a duration: write for example 100ms or 1s")
    seconds = 0.0
    for part in parts:
        number = part.rstrip("nuµμmsh")
        seconds += float(number) * _SECONDS[part[len(number) :]]
    return seconds
