"""List the queues of a virtual host through RabbitMQ's management API, with bounds on time and bytes.

Source of the facts: the API's own documentation (``/api/index.html`` of the plugin), and RabbitMQ 3.10.8. With
``disable_stats`` and ``enable_queue_totals`` the API asks each classic queue for its current numbers. Numbers of quorum
queues, and all numbers without these parameters, are up to 10 s old (``collect_statistics_interval``, and the plugin's
own cache). With these parameters the API does not tell consumers, which :meth:`ManagementApi.consumers` asks for.

Errors, besides OSError::

    Exception
    └── ManagementError    an answer that is not a list of queues; never holds a secret
"""

from __future__ import annotations

import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

import h11
import msgspec

from celery_metrics_exporter.redaction import Redaction

#: Longest answer that is read: about half a million queues.
LONGEST_ANSWER_BYTES: Final = 64 * 1024 * 1024

_QUERY: Final = (
    "?disable_stats=true&enable_queue_totals=true"
    "&columns=name,type,exclusive,arguments,messages_ready,messages_unacknowledged"
)
_CONSUMERS: Final = "?columns=name,consumers"
_CHUNK_BYTES: Final = 65_536
_LONGEST_REASON: Final = 100  # characters
_LONGEST_READ: Final = 10_000  # characters of a text of which a reason is made


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
    consumers: int | None = None

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
        self._host = parts.netloc.rpartition("@")[2]
        self._address = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        self._path = f"{parts.path.rstrip('/')}/api/queues/{quote(vhost, safe='')}"
        if parts.username is not None:
            credentials = (unquote(parts.username), unquote(parts.password or ""))
        self._redact = Redaction((credentials[1], ":".join(credentials)))
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
        """List all queues of the virtual host, without their consumers.

        Raises:
            ManagementError: the answer is not a list of queues.
            OSError: no connection, or no answer in time.
        """
        return self._list(_QUERY)

    def consumers(self) -> dict[str, int | None]:
        """The number of consumers by queue, up to 10 s old; raises as :meth:`queues`. RabbitMQ works as much for it."""
        return {queue.name: queue.consumers for queue in self._list(_CONSUMERS)}

    def _list(self, query: str) -> list[ListedQueue]:
        try:
            response, body = self._ask(self._path + query)
        except (h11.ProtocolError, UnicodeError) as error:
            raise ManagementError(
                f"the management API does not answer in HTTP: {self._short(str(error))}"
            ) from error
        if response.status_code != HTTPStatus.OK:
            raise ManagementError(
                f"the management API answers {response.status_code} {self._reason(response, body)}"
            )
        try:
            return self._decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            kind = dict(response.headers).get(b"content-type", b"text").partition(b";")[0].decode("latin1")
            raise ManagementError(
                f"the management API answers with {self._short(kind)} that is not a list of queues: "
                f"{self._short(str(error))}"
            ) from error

    def _ask(self, target: str) -> tuple[h11.Response, bytes]:
        """Send the request and wait for the whole answer."""
        try:
            sock = socket.create_connection(self._address, self._timeout)
        except UnicodeError as error:
            raise OSError("the host of the management API is not a valid name") from error
        with sock, self._secured(sock) as secured:
            deadline = time.monotonic() + self._timeout
            http = h11.Connection(h11.CLIENT)
            headers = {"Host": self._host.encode("idna").decode(), **self._headers}
            request = h11.Request(method="GET", target=target, headers=list(headers.items()))
            secured.sendall((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
            response: Any = None  # always comes before the end
            body = bytearray()
            while not isinstance(event := http.next_event(), h11.EndOfMessage):
                if event is h11.NEED_DATA:
                    remaining = deadline - time.monotonic()
                    if remaining <= 0:
                        raise TimeoutError("the management API's answer took too long")
                    secured.settimeout(remaining)
                    http.receive_data(secured.recv(_CHUNK_BYTES))
                elif isinstance(event, h11.Response):
                    response = event
                elif isinstance(event, h11.Data):
                    body += event.data
                    if len(body) > LONGEST_ANSWER_BYTES:
                        raise ManagementError(
                            f"the management API's answer is longer than {LONGEST_ANSWER_BYTES} bytes"
                        )
        return response, bytes(body)

    def _reason(self, response: h11.Response, body: bytes) -> str:
        try:
            detail = msgspec.json.decode(body, type=_Refusal).reason
        except (msgspec.DecodeError, UnicodeDecodeError):
            detail = ""
        reason = response.reason.decode("latin1")
        return self._short(f"{reason} ({detail})" if detail else reason)

    def _short(self, text: str) -> str:
        """The beginning of what the server says; it may echo our request."""
        redacted = self._redact(text[:_LONGEST_READ])  # before it is cut, perhaps within a secret
        return "".join(character for character in redacted if character.isprintable())[:_LONGEST_REASON]

    def _secured(self, sock: socket.socket) -> socket.socket:
        if not self._secure:
            return sock
        if self._context is None:
            self._context = _context(self._tls)
        return self._context.wrap_socket(sock, server_hostname=self._address[0])


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
