"""Where a broker URL leads: its hosts and ports, or a socket, or nowhere.

Source of the facts: ``kombu/transport/redis.py``, ``pyamqp.py`` and their default ports; a failover list is split at
``;``, and kombu reads each part with the rules of http (``kombu/utils/url.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

from celery_metrics_exporter.config.broker_url import family

_PORTS: Final = {"amqps": 5671, "amqp": 5672, "pyamqp": 5672, "sentinel": 26379}
_REDIS_PORT: Final = 6379


@dataclass(frozen=True, slots=True)
class Address:
    """One member of a broker URL.

    Attributes:
        url: that member alone, with its password.
        host: empty for a Unix socket.
        port: 0 for a Unix socket.
        socket: path of a Unix socket, else empty.
    """

    url: str
    host: str
    port: int
    socket: str = ""

    def __str__(self) -> str:
        if self.socket:
            return self.socket
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def addresses_of(url: str) -> tuple[Address, ...]:
    """The addresses of a checked broker URL or failover list; none for memory and filesystem."""
    kind = family(url)
    if kind in ("memory", "filesystem"):
        return ()
    members = url.split(";")
    first_scheme = url.partition("://")[0]
    return tuple(_address(each if "://" in each else f"{first_scheme}://{each}", kind) for each in members)


def with_database(url: str, number: int) -> str:
    """The URL (or failover list) of another database of the same Redis."""
    return ";".join(_with_database(each, number) for each in url.split(";"))


def _with_database(url: str, number: int) -> str:
    scheme, _, rest = url.partition("://")
    parts = urlsplit(f"http://{rest}")
    if family(url) == "socket":
        return f"{scheme}://{rest.partition('?')[0]}?virtual_host={number}"
    changed = urlunsplit(parts._replace(path=f"/{number}"))
    return f"{scheme}://{changed.removeprefix('http://')}"


def _address(url: str, kind: str) -> Address:
    scheme, _, rest = url.partition("://")
    parts = urlsplit(f"http://{rest}")
    if kind == "socket":
        return Address(url, "", 0, unquote(rest.rpartition("@")[2].partition("?")[0]))
    return Address(
        url, unquote(parts.hostname or "localhost"), parts.port or _PORTS.get(scheme.lower(), _REDIS_PORT)
    )
