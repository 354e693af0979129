"""Makes TLS streams of plain ones, with the certificate that holds at the moment."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from functools import partial

from celery_metrics_exporter.logs import ThrottledLog
from celery_metrics_exporter.web.config import WebConfig
from celery_metrics_exporter.web.http1 import Limits
from celery_metrics_exporter.web.stream import ClientStream, TlsStream
from celery_metrics_exporter.web.tls import Tls

log = logging.getLogger(__name__)

_RECORD = b"\x16"  # the first byte of whatever a TLS client sends first (RFC 8446, 5.1)
_PLAIN = b"this port speaks https, not http\n"
_ANSWER = (
    b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_PLAIN), _PLAIN)
)


class Handshakes:
    """Lets TLS clients in, and says which are refused."""

    def __init__(self, current: Callable[[], WebConfig], limits: Limits) -> None:
        self._current = current
        self._limits = limits
        self._tell = partial(ThrottledLog(log).log, logging.WARNING, "TLS connections are refused")

    async def secure(self, sock: socket.socket, client: str) -> TlsStream | None:
        """The stream of a client that has made its handshake; None: it is not let in. Raises OSError."""
        plain = ClientStream(sock)
        async with asyncio.timeout(self._limits.idle):
            received = await plain.read()
        if not received.startswith(_RECORD):
            if received[:1].isalpha():  # the beginning of GET, HEAD, POST ...
                self._tell(reason="plain HTTP", client=client)
                await plain.write(_ANSWER)
                await plain.linger()
            return None
        stream = TlsStream(sock, self._tls().context, received)
        reason = await self._shake_hands(stream)
        if reason is None:
            return stream
        if reason:
            self._tell(reason=reason, client=client)
            await stream.linger()
        return None

    async def _shake_hands(self, stream: TlsStream) -> str | None:
        """Why the client is not let in; "": it went away, as port scanners do."""
        try:
            async with asyncio.timeout(self._limits.head):
                await stream.shake_hands()
        except ssl.SSLEOFError:
            return ""
        except ssl.SSLError as error:
            return (error.reason or "unknown").lower().replace("_", " ")
        # Another version may hold by now: whom that one lets in is let in.
        if self._tls().admits(stream.certificate):
            return None
        return "no allowed name in the client's certificate"

    def _tls(self) -> Tls:
        tls = self._current().tls
        if tls is None:  # WebConfigFile lets TLS neither come nor go
            raise RuntimeError("TLS is gone")
        return tls
