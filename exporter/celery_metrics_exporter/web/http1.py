"""HTTP/1.1 with one client: its bytes become requests, answers become bytes.

h11 knows the protocol; what it lets pass and RFC 9112 does not, or what is too large, is refused here.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import unquote

import h11

from celery_metrics_exporter.web.stream import READ_BYTES, ClientStream

PLAIN_TEXT = ("Content-Type", "text/plain; charset=utf-8")

_SERVER = "celery-exporter"
_WRITE_BYTES = 65_536
#: A line feed without CR, and a line of a header that goes on with the next one, which RFC 9112, 5.2 has given up.
_BAD_LINE_END = re.compile(rb"(?<!\r)\n|\n[ \t]")
#: A host and perhaps a port, without what no scraper sends (RFC 3986, 3.2: users, addresses of a future version).
_HOST = re.compile(
    r"(?:\[[\da-f]*:[\da-f:.]+(?:%[\w.~%-]+)?]|[\w.~!$&'()*+;=%-]*)(?::\d{0,5})?", re.ASCII | re.IGNORECASE
)
_WHOLE_URL = re.compile(r"https?://([^/?]+)([^?]*)\??(.*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What clients may take. Times in seconds.

    ``connections``: of all addresses together, and fewer where the process may open few files. Where more come, those
    that have waited longest for a request are cut, ``turnover`` a second, and fewer where each would have less than
    ``chance`` to send one. ``unsent``: bytes of the pages that are being sent, each page counted once; where there are
    more, the oldest are cut, but for the newest. ``idle``: between requests, and before the first; longer than usual
    scrape intervals, so that Prometheus keeps its connection. ``head``: from a request's first byte to its last, and
    for a TLS handshake. ``answer``: from there until the client has taken its answer. ``stall``: for each 64 KiB of the
    answer. No page has a use for a body; one of up to ``body_bytes`` is read and forgotten.
    """

    connections: int = 1024
    turnover: int = 1000
    chance: float = 0.1
    unsent: int = 100_000_000
    header_bytes: int = 16_384
    body_bytes: int = 16_384
    idle: float = 120.0
    head: float = 5.0
    answer: float = 60.0
    stall: float = 10.0


class Request(NamedTuple):
    """A request without its body. ``headers``: names in lower case, values in Latin-1; ``client``: its IP address."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    client: str


class Answer(NamedTuple):
    """An answer; HEAD gets it without the body. Its length, the server and the date are told besides."""

    status: HTTPStatus
    body: bytes
    headers: tuple[tuple[str, str], ...] = (PLAIN_TEXT,)


class HttpConnection:
    """Reads requests and writes answers, in turn."""

    def __init__(self, stream: ClientStream, limits: Limits) -> None:
        self._stream = stream
        self._limits = limits
        self._http = h11.Connection(h11.SERVER, limits.header_bytes + READ_BYTES)
        self._is_head = False

    async def receive(self) -> Request:
        """The next request.

        Raises:
            h11.RemoteProtocolError: the client is to be told, with `refuse`.
            OSError: the client has nothing to say; TimeoutError: not within the time that it may be idle.
        """
        if self._http.trailing_data[0]:
            await asyncio.sleep(0)  # who sends many requests at once does not hold up the others
        else:
            async with asyncio.timeout(self._limits.idle):
                await self._read()
        try:
            async with asyncio.timeout(self._limits.head):
                return await self._receive()
        except TimeoutError:
            raise _refused(HTTPStatus.REQUEST_TIMEOUT) from None

    async def send(self, answer: Answer, *, last: bool) -> bool:
        """Write an answer. False: no further request can come. Raises OSError."""
        chunked = self._http.their_state is h11.SEND_BODY  # a body that was left unread
        headers = [
            ("Server", _SERVER),
            ("Date", formatdate(usegmt=True)),
            *answer.headers,
            ("Content-Length", str(len(answer.body))),
        ]
        if last or chunked:
            headers.append(("Connection", "close"))
        response = h11.Response(status_code=answer.status, reason=answer.status.phrase, headers=headers)
        head = self._http.send(response)
        body = b"" if self._is_head else self._http.send(h11.Data(answer.body))
        self._http.send(h11.EndOfMessage())
        await self._write(head + body[:_WRITE_BYTES])
        for start in range(_WRITE_BYTES, len(body), _WRITE_BYTES):
            await self._write(memoryview(body)[start : start + _WRITE_BYTES])
        if self._http.states != {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
            return False
        self._http.start_next_cycle()
        return True

    async def refuse(self, status: HTTPStatus) -> None:
        """Tell the client why its request is refused. Raises OSError."""
        await self.send(Answer(status, b"" if self._is_head else f"{status.phrase}\n".encode()), last=True)

    async def _receive(self) -> Request:
        while True:
            self._check_head(self._http.trailing_data[0])
            event = self._http.next_event()
            if isinstance(event, h11.Request):
                break
            await self._read()
        if event.http_version not in (b"1.0", b"1.1"):
            raise _refused(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
        headers: dict[str, str] = {}
        for raw, value in event.headers:
            name, text = raw.decode(), value.decode("latin-1")
            headers[name] = f"{headers[name]}, {text}" if name in headers else text
        if not _HOST.fullmatch(headers.get("host", "")):
            raise _refused(HTTPStatus.BAD_REQUEST)
        if "transfer-encoding" in headers and ("content-length" in headers or event.http_version == b"1.0"):
            raise _refused(HTTPStatus.BAD_REQUEST)  # another server may see another end of it (RFC 9112, 6.1)
        request = Request(
            event.method.decode(), *_path_and_query(event.target.decode()), headers, self._stream.client
        )
        if int(headers.get("content-length", "0")) > self._limits.body_bytes:
            raise _refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        if "transfer-encoding" not in headers:
            await self._skip_body()
        return request

    def _check_head(self, received: bytes) -> None:
        """Refuse what h11 accepts: heads that are too large but complete, and lines that end wrongly."""
        head = received.partition(b"\r\n\r\n")[0]
        self._is_head = head.startswith(b"HEAD ")
        if len(head) > self._limits.header_bytes:
            fits = b"\n" in head[: self._limits.header_bytes]
            raise _refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE if fits else HTTPStatus.REQUEST_URI_TOO_LONG)
        if _BAD_LINE_END.search(head):
            raise _refused(HTTPStatus.BAD_REQUEST)

    async def _skip_body(self) -> None:
        if self._http.they_are_waiting_for_100_continue:
            await self._write(self._http.send(h11.InformationalResponse(status_code=100, headers=[])))
        while not isinstance(event := self._http.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                await self._read()

    async def _read(self) -> None:
        data = await self._stream.read()
        if not data:
            raise ConnectionResetError("the client is gone")
        self._http.receive_data(data)

    async def _write(self, data: bytes | memoryview) -> None:
        async with asyncio.timeout(self._limits.stall):
            await self._stream.write(data)


def _path_and_query(target: str) -> tuple[str, str]:
    """Of a request's target in origin or absolute form (RFC 9112, 3.2)."""
    if target.startswith("/"):
        path, _, query = target.partition("?")
    else:
        url = _WHOLE_URL.fullmatch(target)
        if url is None or url[1].startswith(":") or not _HOST.fullmatch(url[1]):
            raise _refused(HTTPStatus.BAD_REQUEST)
        path, query = url[2] or "/", url[3]
    if "#" in target:
        raise _refused(HTTPStatus.BAD_REQUEST)
    return unquote(path), query


def _refused(status: HTTPStatus) -> h11.RemoteProtocolError:
    return h11.RemoteProtocolError(status.phrase, error_status_hint=status)
