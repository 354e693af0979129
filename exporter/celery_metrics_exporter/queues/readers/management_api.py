"""List the queues of a virtual host through RabbitMQ's management API, with bounds on time and bytes.

Source of the facts: the API's own documentation (``/api/index.html`` of the plugin), and RabbitMQ 3.10.8. With
``disable_stats`` and ``enable_queue_totals`` the API asks each classic queue for its current numbers. Numbers of quorum
queues, and all numbers without these parameters, are up to 10 s old (``collect_statistics_interval``, and the plugin's
own cache). With these parameters the API does not tell consumers.

Errors, besides OSError::

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

#: Longest answer that is read: about half a million queues.
LONGEST_ANSWER_BYTES: Final = 64 * 1024 * 1024

_QUERY: Final = (
    "?disable_stats=true&enable_queue_totals=true"
    "&columns=name,type,exclusive,arguments,messages_ready,messages_unacknowledged"
)
_CHUNK_BYTES: Final = 65_536
_LONGEST_REASON: Final = 100  # characters


class ManagementError(Exception):
    """The answer of the management API is not a list of queues; the message is one line without secrets."""


class _Arguments(msgspec.Struct, frozen=True, gc=False):
    expires: msgspec.Raw | msgspec.UnsetType = msgspec.field(name="x-expires", default=msgspec.UNSET)


class ListedQueue(msgspec.Struct, frozen=True, gc=False):
    """A queue in the API's answer; None where a number is not in it."""

    name: str
    type: str = "classic"
    exclusive: bool | None = None
    arguments: _Arguments | list[msgspec.Raw] | None = None
    ready: int | None = msgspec.field(name="messages_ready", default=None)
    unacked: int | None = msgspec.field(name="messages_unacknowledged", default=None)

    @property
    def expires(self) -> bool:
        """Whether the queue was declared with ``x-expires``."""
        return isinstance(self.arguments, _Arguments) and self.arguments.expires is not msgspec.UNSET


class _Refusal(msgspec.Struct, frozen=True, gc=False):
    reason: str = ""


class ManagementApi:
    """The API of one server. Each request opens a new connection: the server closes idle ones."""

    def __init__(
        self, url: str, vhost: str, *, credentials: tuple[str, str], tls: object, timeout: float
    ) -> None:
        """Args:
        url: such as ``https://user:password@host:15671/prefix``; http or https.
        vhost: the virtual host whose queues are listed.
        credentials: user and password for a URL without them.
        tls: Celery's ``broker_use_ssl``: authorities to trust besides the system's, and the client certificate.
        timeout: seconds for connecting, and again for request and answer together.
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
            ManagementError: the answer is not a list of queues.
            OSError: no connection, or no answer in time.
        """
        connection = self._connect()
        try:
            connection.request("GET", self._path, headers=self._headers)
            response = connection.getresponse()
            body = _body(response)
        except OSError:
            raise
        except (http.client.HTTPException, ValueError) as error:
            raise ManagementError(
                f"the management API does not answer in HTTP: {type(error).__name__}"
            ) from error
        finally:
            connection.close()
        if response.status != HTTPStatus.OK:
            raise ManagementError(f"the management API answers {response.status} {_reason(response, body)}")
        try:
            return self._decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            kind = _short(response.headers.get_content_type())
            raise ManagementError(
                f"the management API answers with {kind} that is not a list of queues: {_short(str(error))}"
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
        except UnicodeError as error:
            raise OSError("the host of the management API is not a valid name") from error
        connection.sock = _DeadlineSocket(connection.sock, time.monotonic() + self._timeout)
        return connection


class _DeadlineSocket:
    """The part of a socket that http.client uses, with one deadline; a socket's own timeout restarts at each byte."""

    def __init__(self, sock: Any, deadline: float) -> None:
        self._socket = sock
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        self._set_timeout()
        self._socket.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_DeadlineFile(self._socket.makefile(mode, buffering=0), self._set_timeout))

    def close(self) -> None:
        self._socket.close()

    def _set_timeout(self) -> None:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("the management API's answer took too long")
        self._socket.settimeout(remaining)


class _DeadlineFile(io.RawIOBase):
    def __init__(self, raw: Any, set_timeout: Any) -> None:
        self._raw = raw
        self._set_timeout = set_timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> Any:
        self._set_timeout()
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _body(response: http.client.HTTPResponse) -> bytes:
    body = bytearray()
    while chunk := response.read1(_CHUNK_BYTES):
        body += chunk
        if len(body) > LONGEST_ANSWER_BYTES:
            raise ManagementError(f"the management API's answer is longer than {LONGEST_ANSWER_BYTES} bytes")
    return bytes(body)


def _reason(response: http.client.HTTPResponse, body: bytes) -> str:
    try:
        detail = msgspec.json.decode(body, type=_Refusal).reason
    except (msgspec.DecodeError, UnicodeDecodeError):
        detail = ""
    return _short(f"{response.reason} ({detail})" if detail else response.reason)


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
