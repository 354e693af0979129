"""Lets TLS clients in, with the certificate that holds at the moment, and says which are refused."""

import asyncio
import logging
import ssl
from collections.abc import Callable
from functools import partial

from celery_metrics_exporter.logs import ThrottledLog
from celery_metrics_exporter.web.http1 import Limits
from celery_metrics_exporter.web.stream import ClientStream
from celery_metrics_exporter.web.tls import Tls

log = logging.getLogger(__name__)

_RECORD = b"\x16"  # the first byte of whatever a TLS client sends first (RFC 8446, 5.1)
_PLAIN = b"this port speaks https, not http\n"
_ANSWER = (
    b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_PLAIN), _PLAIN)
)


class Handshakes:
    """Makes the handshake with each client."""

    def __init__(self, current: Callable[[], Tls], limits: Limits) -> None:
        """``current`` gives the version that holds at the moment."""
        self._current = current
        self._limits = limits
        self._tell = partial(ThrottledLog(log).log, logging.WARNING, "TLS connections are refused")

    async def make(self, stream: ClientStream) -> bool:
        """Whether the client is let in, and goes on in TLS. Raises OSError where it goes away, as port scanners do."""
        async with asyncio.timeout(self._limits.idle):
            first = await stream.peek()
        if first == _RECORD:
            reason = await self._refusal(stream)
        elif first.isalpha():  # the beginning of GET, HEAD, POST ...
            reason = "plain HTTP"
            await stream.write(_ANSWER)
        else:
            return False
        if reason is None:
            return True
        self._tell(reason=reason, client=stream.client)
        await stream.linger()
        return False

    async def _refusal(self, stream: ClientStream) -> str | None:
        try:
            async with asyncio.timeout(self._limits.head):
                certificate = await stream.shake_hands(self._current().context)
        except ssl.SSLEOFError:
            raise
        except ssl.SSLError as error:
            return (error.reason or "unknown").lower().replace("_", " ")
        # Another version may hold by now: whom that one lets in is let in.
        return None if self._current().admits(certificate) else "no allowed name in the client's certificate"
