"""Where a broker URL leads, and the network there, below the broker's protocol: names, ports, and what is spoken.

Source of the facts: ``kombu/transport/redis.py``, ``pyamqp.py`` and their default ports; a failover list is split at
``;``, and kombu reads each part with the rules of http (``kombu/utils/url.py``).
"""

from __future__ import annotations

import socket
import ssl
import threading
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

from celery_metrics_exporter.config.broker_url import UNIVERSAL, WITHOUT_EVENTS, family

_PORTS: Final = {"amqps": 5671, "amqp": 5672, "pyamqp": 5672, "sentinel": 26379}
_REDIS_PORT: Final = 6379
#: Seconds for a name server, whose own time cannot be limited: it is waited for no longer.
RESOLVE_SECONDS: Final = 15.0
#: Redis complains about the arguments, a web server about the method, RabbitMQ names its own protocol.
_QUESTION: Final = b"PING / HTTP/1.0\r\n\r\n"
_LANGUAGES: Final = ((b"AMQP", "AMQP"), (b"HTTP/", "HTTP"), (b"+", "Redis"), (b"-", "Redis"))


@dataclass(frozen=True, slots=True)
class Address:
    """One member of a broker URL.

    Attributes:
        url: that member alone, with its password.
        host: empty for a Unix socket.
        port: 0 for a Unix socket.
        path: of a Unix socket, else empty.
    """

    url: str
    host: str
    port: int
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def connect(self, timeout: float) -> socket.socket:
        """A connected socket. Raises OSError."""
        if not self.path:
            return socket.create_connection((self.host, self.port), timeout)
        made = socket.socket(socket.AF_UNIX)
        try:
            made.settimeout(timeout)
            made.connect(self.path)
        except BaseException:
            made.close()
            raise
        return made


def addresses_of(url: str) -> tuple[Address, ...]:
    """The addresses of a checked broker URL or failover list; none where kombu alone, or nobody, reaches a server."""
    kind = family(url)
    if kind in {"memory", "filesystem"} | UNIVERSAL | WITHOUT_EVENTS:
        return ()
    first_scheme = url.partition("://")[0]
    members = (each if "://" in each else f"{first_scheme}://{each}" for each in url.split(";"))
    return tuple(_address(each, kind) for each in members)


def _address(url: str, kind: str) -> Address:
    scheme, _, rest = url.partition("://")
    if kind == "socket":
        return Address(url, "", 0, unquote(rest.rpartition("@")[2].partition("?")[0]))
    parts = urlsplit(f"http://{rest}")
    port = parts.port or _PORTS.get(scheme.lower(), _REDIS_PORT)
    return Address(url, unquote(parts.hostname or "localhost"), port)


def with_database(url: str, number: int) -> str:
    """The URL (or failover list) of another database of the same Redis."""
    return ";".join(_with_database(each, number) for each in url.split(";"))


def _with_database(url: str, number: int) -> str:
    scheme, _, rest = url.partition("://")
    if family(url) == "socket":
        return f"{scheme}://{rest.partition('?')[0]}?virtual_host={number}"
    changed = urlunsplit(urlsplit(f"http://{rest}")._replace(path=f"/{number}"))
    return f"{scheme}://{changed.removeprefix('http://')}"


def resolve(host: str) -> list[str]:
    """The addresses of a name, IPv4 and IPv6, each once.

    Raises:
        OSError: the name has none, or the name server does not answer in time.
    """
    found: list[str] = []
    errors: list[OSError] = []

    def ask() -> None:
        try:
            answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            found.extend(dict.fromkeys(str(answer[4][0]) for answer in answers))
        except (OSError, UnicodeError) as error:
            errors.append(error if isinstance(error, OSError) else OSError("it cannot be a name"))

    thread = threading.Thread(target=ask, name="resolving", daemon=True)
    thread.start()
    thread.join(RESOLVE_SECONDS)
    if errors:
        raise errors[0]
    if not found:
        raise TimeoutError(f"no answer of the name server for {RESOLVE_SECONDS:g} s")
    return found


def language(address: Address, *, timeout: float) -> str:
    """Find out what is spoken at an address that can be reached, by asking odd questions; never raises.

    Returns:
        ``Redis``, ``AMQP``, ``HTTP`` or ``TLS``; empty for something else, or nothing.
    """
    try:
        with address.connect(timeout) as plain:
            plain.sendall(_QUESTION)
            answer = plain.recv(64)
    except OSError:
        answer = b""
    for beginning, name in _LANGUAGES:
        if answer.startswith(beginning):
            return name
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # only the language is asked for
    try:
        certificate_end(address, context, None, timeout=timeout)
    except ssl.SSLError as error:
        # A complaint by the rules of TLS: about a missing certificate of ours, for example.
        return "TLS" if "ALERT" in str(error).upper() else ""
    except OSError:
        return ""
    return "TLS"


def certificate_end(address: Address, context: ssl.SSLContext, name: str | None, *, timeout: float) -> float:
    """When the certificate of a server ends, in epoch seconds; 0 if it does not tell.

    Raises OSError, of which ssl.SSLError is one.
    """
    with (
        address.connect(timeout) as plain,
        context.wrap_socket(plain, server_hostname=name or address.host) as secured,
    ):
        ends = (secured.getpeercert() or {}).get("notAfter")
        return ssl.cert_time_to_seconds(str(ends)) if ends else 0.0
