"""The file of --web.config.file: the web configuration of prometheus/exporter-toolkit as one frozen value.

Owns the format: keys, types, defaults, and what contradicts itself.

Facts: prometheus/exporter-toolkit, docs/web-configuration.md, web/tls_config.go (getConfig),
web/handler.go (validateUsers, validateHeaderConfig). Where this is stricter, docs/endpoint.md says so.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from celery_metrics_exporter.config.yaml_reading import Entry, read_yaml
from celery_metrics_exporter.errors import ConfigError
from celery_metrics_exporter.web.named_files import NamedFiles
from celery_metrics_exporter.web.tls import Tls, read_tls

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
#: Algorithm, cost, 22 characters of salt, 31 of hash; $2x$ and $2y$ are what PHP and htpasswd write. The last character
#: of either carries fewer bits than others: bcrypt refuses a salt, and makes no hash, with another one.
_HASH = re.compile(r"\$2[abxy]\$(\d\d)\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{30}[.CGKOSWaeimquy26]", re.ASCII)
#: 2**cost rounds: 10 takes 0.07 s, 18 takes 18 s; with more no client would wait for its first answer.
_COSTS = range(4, 19)
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A bucket of ``burst`` requests, one more every ``interval`` seconds."""

    interval: float
    burst: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WebConfig:
    """The whole file, ready for use. ``users``: name -> bcrypt hash; empty: nobody has to say who they are."""

    tls: Tls | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    users: Mapping[bytes, bytes] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    rate_limit: RateLimit | None = None


def read_web_config(path: str, files: NamedFiles) -> WebConfig:
    """Read the file and those that it names, through ``files``.

    Raises:
        ConfigError: with file, line (if it can be read) and reason; never with a hash, a key or a password in it.
    """
    try:
        content = files.read(path)
    except OSError as error:
        reason = (
            f"cannot read the web configuration {path}: {error}; name another file with --web.config.file"
        )
        raise ConfigError(reason) from None
    sections = read_yaml(path, content).entries(_SECTIONS)
    http = sections["http_server_config"].entries(("http2", "headers"))
    http["http2"].flag(default=True)  # part of the format; HTTP/1.1 alone is offered
    return WebConfig(
        tls=read_tls(sections["tls_server_config"], files, Path(path).parent),
        headers=_headers(http["headers"]),
        users=_users(sections["basic_auth_users"]),
        rate_limit=_rate_limit(sections["rate_limit"]),
    )


def _headers(section: Entry) -> Mapping[str, str]:
    headers = {}
    for name, entry in section.entries(_HEADERS).items():
        text = entry.text()
        choice = _HEADERS[name]
        if choice and text not in choice:
            raise entry.refuse(f"{name} must be {' or '.join(choice)}")
        text = " ".join(text.split("\n")).strip()
        if not (text.isascii() and text.isprintable()):
            raise entry.refuse(f"{name} must be printable ASCII")
        if text:
            headers[name] = text
    return MappingProxyType(headers)


def _users(section: Entry) -> Mapping[bytes, bytes]:
    users = {}
    for name, entry in section.entries().items():
        if ":" in name:
            raise entry.refuse(
                f"user {name} has a colon in the name, which HTTP cannot send; choose another name"
            )
        text = replace(entry, name=f"the hash of user {name}").text()
        match = _HASH.fullmatch(text)
        remedy = f"make one with: htpasswd -nBC 10 {name or 'NAME'}"
        if match is None:
            raise entry.refuse(f"the hash of user {name} is not one that bcrypt makes; {remedy}")
        if int(match[1]) not in _COSTS:
            raise entry.refuse(
                f"the hash of user {name} has cost {match[1]}, and may have {_COSTS.start} to {_COSTS.stop - 1}; "
                f"{remedy}"
            )
        users[name.encode()] = text.encode()
    return MappingProxyType(users)


def _rate_limit(section: Entry) -> RateLimit | None:
    entries = section.entries(("burst", "interval"))
    if not entries:
        return None
    if "interval" not in entries:
        raise section.refuse("rate_limit without interval limits nothing: add for example 100ms")
    interval = _duration(entries["interval"])
    burst = entries["burst"].whole()
    if interval == 0:
        return None
    if burst < 1:
        raise entries["burst"].refuse("burst must be at least 1: with less nobody is answered")
    return RateLimit(interval, burst)


def _duration(entry: Entry) -> float:
    """As Go's time.ParseDuration; a bare number is nanoseconds, as in yaml.v2."""
    text = entry.text()
    if re.fullmatch(r"\d+", text):
        return int(text) * 1e-9
    parts = _DURATION.findall(text)
    if not parts or "".join(f"{number}{unit}" for number, unit in parts) != text:
        raise entry.refuse("interval must be a duration: write for example 100ms or 1s")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)
