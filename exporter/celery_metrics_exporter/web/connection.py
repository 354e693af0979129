"""One connection to a client: how long it may take for its handshake, its request and its answer.

Owns the limits, and what one connection does with its thread. Must not know: other connections, pages, certificates.
"""

import math
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from cheroot import server
from cheroot.makefile import MakeFile

from celery_metrics_exporter.web.tls_socket import Security, TlsReader, TlsSocket, TlsWriter


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What clients may take from one listening socket.

    Times in seconds. ``idle``: between requests, and before the first; longer than usual scrape intervals, so
    that Prometheus keeps its connection. ``head``: from a request's first byte to its last header, and for a TLS
    handshake; less than Prometheus' scrape timeout (10), so that slow clients delay a scrape but do not fail it.
    ``answer``: from there until the client has taken its answer. ``stall``: one send of the answer without progress.
    ``hurry``: what is left of all these, for sending a head or taking an answer, while others wait for a thread. No
    page has a use for a body; one of up to ``body_bytes`` is read and forgotten.
    """

    threads: int = 12
    connections: int = 256
    header_bytes: int = 16_384
    body_bytes: int = 16_384
    idle: int = 120
    head: float = 5.0
    answer: float = 60.0
    stall: float = 10.0
    hurry: float = 0.5
    tick: float = 0.25  # how often the deadlines of ``head``, ``answer`` and ``hurry`` are looked at


class Server(Protocol):
    """What a connection needs of its server."""

    limits: Limits
    security: Security | None
    ready: bool

    def opened(self, connection: "Connection", /) -> None:
        """Note a connection."""

    def closed(self, connection: "Connection", /) -> None:
        """Forget a connection."""


class Connection(server.HTTPConnection):
    """A connection that knows until when its client must have done its part."""

    server: "Server"

    def __init__(self, httpd: "Server", sock: Any, makefile: Any = MakeFile) -> None:
        super().__init__(httpd, sock, makefile)
        self.security = httpd.security  # until the handshake is made
        self.answering = False
        self.deadline = math.inf  # monotonic
        self.held_since = math.inf  # monotonic time from which on its client has kept a thread waiting
        httpd.opened(self)

    def communicate(self) -> bool:
        """Make the handshake, where there is one, or serve one request; true: the connection may stay open."""
        if not self.server.ready:
            return False  # it was queued when the server was told to stop
        limits = self.server.limits
        self.socket.settimeout(limits.head)
        # A client that stalls gets cheroot's 408 first; one that drips bytes is cut a little later.
        self.held_since = now = time.monotonic()
        self.deadline = now + limits.head + limits.tick
        try:
            if self.security is not None:
                return self._secured(self.security)
            return bool(super().communicate())  # type: ignore[no-untyped-call]  # cheroot's types are incomplete
        finally:
            self.answering = False
            self.deadline = self.held_since = math.inf

    def _secured(self, security: Security) -> bool:
        self.security = None
        wrapped = security.wrap(self.socket)
        if wrapped is None:
            return False
        self.socket = wrapped
        self.rfile = TlsReader(wrapped, "rb", self.rbufsize)
        self.wfile = TlsWriter(wrapped, "wb", self.wbufsize)
        # The request may take its time: it is waited for without a thread, like the first byte.
        return security.complete(wrapped)

    def head_is_read(self) -> None:
        """The request is known: from here on the answer's limits hold."""
        self.answering = True
        self.held_since = math.inf
        self.socket.settimeout(self.server.limits.stall)
        self.deadline = time.monotonic() + self.server.limits.answer

    def cut(self) -> None:
        """End it from any thread: whoever reads or writes it wakes up, the selector sees it closed."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Release the socket; called by its current owner alone."""
        self.server.closed(self)
        if isinstance(self.socket, TlsSocket):
            self.socket.say_goodbye()
        super().close()
        # What was not sent is not wanted any more; from Python 3.13 on the file would try, and complain when collected.
        self.wfile.raw.close()
