"""The HTTP server below the pages: threads, open connections, deadlines.

Owns, with `web.connection`, everything that is particular to cheroot. Must not know: pages, metrics,
configuration.

Clients are not trusted to be quick. cheroot hands a fresh connection to a worker thread and reads there
(cheroot/connections.py, ConnectionManager._run), so that a few silent clients stop it. Here a connection
waits for its first byte without a thread, a request's head and the taking of its answer have a deadline, and
when too many connections are open the one that has been idle longest goes. While requests wait for a thread, a
client that holds one has to hurry: so that stuck clients, however many, delay a scrape by seconds.
"""

import errno
import logging
import math
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from wsgiref.types import WSGIApplication

from cheroot import wsgi

from celery_metrics_exporter.web.connection import Connection, Limits
from celery_metrics_exporter.web.listening import BACKLOG
from celery_metrics_exporter.web.tls_socket import Security

__all__ = ("HttpServer", "Limits")

_log = logging.getLogger(__name__)

_PAUSE_S = 1.0  # before accepting again when the system has no room for a connection
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class _Gateway(wsgi.Gateway_10):
    """Between cheroot's request and the pages."""

    def respond(self) -> None:
        """Answer the request."""
        self.req.conn.head_is_read()
        if self.req.chunked_read:
            # cheroot leaves such a body unread and takes it for the next request (HTTPRequest.send_headers).
            self.req.close_connection = True
        super().respond()

    def start_response(self, *args: Any) -> Any:
        """Answer from here on: the client has to take it."""
        self.req.conn.held_since = time.monotonic()
        return super().start_response(*args)


class HttpServer(wsgi.Server):
    """Serves one WSGI application on one socket that already listens."""

    ConnectionClass = Connection

    def __init__(
        self,
        listening: socket.socket,
        app: WSGIApplication,
        name: str,
        limits: Limits,
        security: Security | None = None,
    ) -> None:
        """Args:
        listening: already does.
        app: what answers.
        name: of the header ``Server``.
        limits: of each client.
        security: makes TLS of every connection; None: plain HTTP.
        """
        super().__init__(
            listening.getsockname()[:2],
            app,
            numthreads=limits.threads,
            server_name=name,
            max=limits.threads,
            request_queue_size=BACKLOG,
            timeout=limits.idle,
        )
        self.limits = limits
        self.security = security
        self.gateway = _Gateway
        self.max_request_header_size = limits.header_bytes
        self.max_request_body_size = limits.body_bytes
        self.keep_alive_conn_limit = limits.connections
        self._listening = listening
        self._launched = threading.Event()
        self._halted = threading.Event()
        self._lock = threading.Lock()
        self._open: set[Connection] = set()
        self._waiting: dict[Connection, None] = {}  # those without a request, the longest waiting first

    def launch(self) -> None:
        """Serve in background threads, which never keep the process alive."""
        # cheroot's threads are daemons only when a daemon starts them (WorkerThread does not say).
        threading.Thread(target=self._run, name="web", daemon=True).start()
        threading.Thread(target=self._watch_deadlines, name="web-deadlines", daemon=True).start()
        self._launched.wait()

    def halt(self, grace: float) -> None:
        """Stop within twice ``grace`` seconds: answers under way get that long, then clients are cut."""
        self._halted.set()
        stopping = threading.Thread(target=self.stop, name="web-stop", daemon=True)
        stopping.start()
        with suppress(OSError):
            self._listening.shutdown(
                socket.SHUT_RDWR
            )  # wakes the selector, which else sleeps up to 0.5 s more
        self._cut(lambda connection: not connection.answering)
        stopping.join(grace)
        self._cut(lambda _: True)
        stopping.join(grace)

    def _run(self) -> None:
        # cheroot takes file descriptor 3 for its socket whomever LISTEN_PID names (HTTPServer.prepare).
        os.environ.pop("LISTEN_PID", None)
        try:
            self.prepare()
        finally:
            self._launched.set()
        self.serve()

    def _watch_deadlines(self) -> None:
        while not self._halted.wait(self.limits.tick):
            now = time.monotonic()
            hurry = self.limits.hurry if self.requests.qsize else math.inf
            self._cut(lambda each: each.deadline < now or now - each.held_since > hurry)  # noqa: B023 - called at once

    def _cut(self, chosen: Callable[[Connection], bool]) -> None:
        with self._lock:
            connections = [connection for connection in self._open if chosen(connection)]
        for connection in connections:
            connection.cut()

    def opened(self, connection: Connection) -> None:
        """Note a connection."""
        with self._lock:
            self._open.add(connection)

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        with self._lock:
            self._open.discard(connection)
            self._waiting.pop(connection, None)

    def bind(self, family: int, type: int, proto: int = 0) -> socket.socket:  # noqa: A002, ARG002 - cheroot's
        """Take the socket that listens already, where cheroot makes one of its own."""
        self.socket = self._listening
        return self._listening

    def process_conn(self, conn: Connection) -> None:
        """Give a connection with something to read to a worker; a fresh one waits for its first byte."""
        if conn.last_used is None:
            self.put_conn(conn)
            return
        with self._lock:
            self._waiting.pop(conn, None)
        self.requests.put(conn)

    def put_conn(self, conn: Connection) -> None:
        """Let a connection wait for a request; where too many are open, the longest waiting one goes."""
        surplus = None
        with self._lock:
            self._waiting[conn] = None
            if len(self._open) > self.limits.connections:
                surplus = next(iter(self._waiting))
        if surplus is conn:
            conn.close()
            return
        if surplus is not None:
            surplus.cut()
        super().put_conn(conn)

    def error_log(
        self,
        msg: str = "",
        level: int = logging.INFO,
        traceback: bool = False,  # noqa: FBT001, FBT002 - cheroot's
    ) -> None:
        """Log what cheroot reports; a client that went away is no error."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            _log.error("cannot accept connections: %s", error.strerror)
            self._halted.wait(_PAUSE_S)  # cheroot tries again at once, for ever
        elif isinstance(error, OSError):
            _log.debug("connection lost: %s", error)
        else:
            _log.log(level, "%s", msg, exc_info=traceback)
