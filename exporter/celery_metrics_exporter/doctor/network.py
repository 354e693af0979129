"""The network below the broker's protocol: names, ports, and which language is spoken behind a port."""

from __future__ import annotations

import socket
import ssl
import threading
from enum import Enum
from typing import Final

#: Seconds for a name server, whose own time cannot be limited: it is waited for no longer.
RESOLVE_SECONDS: Final = 15.0
#: Redis complains about the arguments, a web server about the method, RabbitMQ names its own protocol.
_QUESTION: Final = b"PING / HTTP/1.0\r\n\r\n"
_LANGUAGES: Final = ((b"AMQP", "AMQP"), (b"HTTP/", "HTTP"), (b"+", "Redis"), (b"-", "Redis"))


class Language(Enum):
    """What a server speaks."""

    REDIS = "Redis"
    AMQP = "AMQP"
    HTTP = "HTTP"
    TLS = "TLS"
    UNKNOWN = "something else, or nothing"


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


def reach(host: str, port: int, path: str, *, timeout: float) -> None:
    """Connect and hang up; ``path`` is that of a Unix socket, else empty. Raises OSError."""
    _connected(host, port, path, timeout).close()


def language(host: str, port: int, *, timeout: float) -> Language:
    """Find out what is spoken behind a port that can be reached, by asking odd questions; never raises."""
    try:
        with _connected(host, port, "", timeout) as plain:
            plain.sendall(_QUESTION)
            answer = plain.recv(64)
    except OSError:
        answer = b""
    for beginning, name in _LANGUAGES:
        if answer.startswith(beginning):
            return Language(name)
    return _tls(host, port, timeout)


def certificate(host: str, port: int, context: ssl.SSLContext, name: str | None, *, timeout: float) -> float:
    """When the certificate of a server ends, in epoch seconds. Raises OSError, of which ssl.SSLError is one."""
    with (
        _connected(host, port, "", timeout) as plain,
        context.wrap_socket(plain, server_hostname=name or host) as secured,
    ):
        ends = (secured.getpeercert() or {}).get("notAfter")
        return ssl.cert_time_to_seconds(str(ends)) if ends else 0.0


def _tls(host: str, port: int, timeout: float) -> Language:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # only the language is asked for
    try:
        with (
            _connected(host, port, "", timeout) as plain,
            context.wrap_socket(plain, server_hostname=host),
        ):
            return Language.TLS
    except ssl.SSLError as error:
        # A complaint by the rules of TLS: about a missing certificate of ours, for example.
        return Language.TLS if "ALERT" in str(error).upper() else Language.UNKNOWN
    except OSError:
        return Language.UNKNOWN


def _connected(host: str, port: int, path: str, timeout: float) -> socket.socket:
    if not path:
        return socket.create_connection((host, port), timeout)
    made = socket.socket(socket.AF_UNIX)
    try:
        made.settimeout(timeout)
        made.connect(path)
    except BaseException:
        made.close()
        raise
    return made
