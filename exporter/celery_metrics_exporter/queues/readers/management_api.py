"""RabbitMQ's management API: one question, the list of the queues of a virtual host.

Owns: HTTP, the time and the bytes that an answer may take, which of its fields are read. Must not know: what a list is
read for, events, metrics.

Source of the facts: the API's own documentation (``/api/index.html`` of the plugin), and RabbitMQ 3.10.8. With
``disable_stats`` and ``enable_queue_totals`` it asks each classic queue for its numbers there and then; those of quorum
queues, as all numbers without these parameters, are what the queue last told, up to 10 s ago
(``collect_statistics_interval``, and the management plugin's own cache). Consumers are told in the slow way only.

What can be raised, besides OSError::

    Exception
    └── ManagementError    an answer that is not a list of queues; never holds a secret
"""

from __future__ import annotations

import http.client
import io
import ssl
import time
from base64 import b64encode
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote, urlsplit

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Bytes of an answer at most: about half a million queues.
LONGEST_ANSWER: Final = 64 * 1024 * 1024

_QUERY: Final = (
    "?disable_stats=true&enable_queue_totals=true"
    "&columns=name,type,exclusive,arguments,messages_ready,messages_unacknowledged"
)
_CHUNK: Final = 65_536
_LONGEST_REASON: Final = 100


class ManagementError(Exception):
    """The management API answered with something else than a list of queues; one line, without secrets."""


class _Arguments(msgspec.Struct, frozen=True, gc=False):
    expires: msgspec.Raw | msgspec.UnsetType = msgspec.field(name="x-expires", default=msgspec.UNSET)


class ListedQueue(msgspec.Struct, frozen=True, gc=False):
    """A queue as the API tells it; None where it does not tell."""

    name: str
    type: str = "classic"
    exclusive: bool | None = None
    arguments: _Arguments | list[msgspec.Raw] | None = None
    ready: int | None = msgspec.field(name="messages_ready", default=None)
    unacked: int | None = msgspec.field(name="messages_unacknowledged", default=None)

    @property
    def expires(self) -> bool:
        """Whether it was declared with an ``x-expires``."""
        return isinstance(self.arguments, _Arguments) and self.arguments.expires is not msgspec.UNSET


class _Refusal(msgspec.Struct, frozen=True, gc=False):
    reason: str = ""


class ManagementApi:
    """The API of one server. Each question takes a connection of its own: the server closes idle ones."""

    def __init__(
        self, url: str, vhost: str, *, credentials: tuple[str, str], tls: object, timeout: float
    ) -> None:
        """Args:
        url: such as ``https://user:password@host:15671/prefix``; http or https.
        vhost: the virtual host whose queues are listed.
        credentials: user and password for a URL without them.
        tls: Celery's ``broker_use_ssl``: whom to trust besides the system's authorities, what to show to the server.
        timeout: seconds for connecting, and for all of the rest.
        """
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port
        self._path = f"{parts.path.rstrip('/')}/api/queues/{quote(vhost, safe='')}{_QUERY}"
        if parts.username is not None:
            credentials = (unquote(parts.username), unquote(parts.password or ""))
        token = b64encode(":".join(credentials).encode(errors="surrogateescape")).decode()
        self._headers = {
            "Authorization": f"Basic {token}",
            "Accept": "application/json",
            "Connection": "close",
        }
        self._secure = parts.scheme == "https"
        self._tls = tls
        self._context: ssl.SSLContext | None = None
        self._timeout = timeout
        self._decoder = msgspec.json.Decoder(list[ListedQueue])

    def queues(self) -> list[ListedQueue]:
        """List all queues of the virtual host.

        Raises:
            ManagementError: the answer is something else.
            OSError: there is no answer, or not in time.
        """
        connection = self._connect()
        try:
            connection.request("GET", self._path, headers=self._headers)
            response = connection.getresponse()
            body = _body(response)
        except OSError:
            raise
        except (http.client.HTTPException, ValueError) as error:
            raise ManagementError(f"the management API speaks no HTTP: {type(error).__name__}") from error
        finally:
            connection.close()
        if response.status != HTTPStatus.OK:
            raise ManagementError(f"the management API answers {response.status} {_reason(response, body)}")
        try:
            return self._decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            kind = _short(response.headers.get_content_type())
            raise ManagementError(
                f"the management API answers with {kind} that is no list of queues: {_short(str(error))}"
            ) from error

    def _connect(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection
        if self._secure:
            if self._context is None:
                self._context = _context(self._tls)
            connection = http.client.HTTPSConnection(
                self._host, self._port, timeout=self._timeout, context=self._context
            )
        else:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        try:
            connection.connect()
        except UnicodeError as error:  # a host that cannot be a name
            raise OSError("the management API's host is no name") from error
        connection.sock = _TimedSocket(connection.sock, time.monotonic() + self._timeout)
        return connection


class _TimedSocket:
    """What http.client needs of a socket, all of it until one moment; its own timeout begins anew with each byte."""

    def __init__(self, sock: Any, deadline: float) -> None:
        self._socket = sock
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        self._hurry()
        self._socket.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedFile(self._socket.makefile(mode, buffering=0), self._hurry))

    def close(self) -> None:
        self._socket.close()

    def _hurry(self) -> None:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("the management API's answer took too long")
        self._socket.settimeout(remaining)


class _TimedFile(io.RawIOBase):
    def __init__(self, raw: Any, hurry: Any) -> None:
        self._raw = raw
        self._hurry = hurry

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> Any:
        self._hurry()
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _body(response: http.client.HTTPResponse) -> bytes:
    body = bytearray()
    while chunk := response.read1(_CHUNK):
        body += chunk
        if len(body) > LONGEST_ANSWER:
            raise ManagementError(f"the management API's answer is longer than {LONGEST_ANSWER} bytes")
    return bytes(body)


def _reason(response: http.client.HTTPResponse, body: bytes) -> str:
    try:
        told = msgspec.json.decode(body, type=_Refusal).reason
    except (msgspec.DecodeError, UnicodeDecodeError):
        told = ""
    return _short(f"{response.reason} ({told})" if told else response.reason)


def _short(text: str) -> str:
    return "".join(character for character in text if character.isprintable())[:_LONGEST_REASON]


def _context(options: object) -> ssl.SSLContext:
    context = ssl.create_default_context()
    settings: Mapping[str, Any] = options if isinstance(options, dict) else {}
    if settings.get("ca_certs"):
        context.load_verify_locations(settings["ca_certs"])
    if settings.get("certfile"):
        context.load_cert_chain(settings["certfile"], settings.get("keyfile"))
    if settings.get("cert_reqs") == ssl.CERT_NONE:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
