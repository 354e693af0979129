"""The HTTP server below the pages: one loop that serves all clients, whatever they do.

No client has a thread: those that are silent or slow cost a socket. Each step that depends on a client has a time
limit, and where too many connections are open, or too large pages are being sent, the oldest one is cut.
"""

import asyncio
import logging
import resource
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from http import HTTPStatus
from typing import TypeAlias

import h11

from celery_metrics_exporter.logs import ThrottledLog, fields
from celery_metrics_exporter.web.handshake import Handshakes
from celery_metrics_exporter.web.http1 import Answer, HttpConnection, Limits, Request
from celery_metrics_exporter.web.stream import ClientStream, until_ready

log = logging.getLogger(__name__)

Page: TypeAlias = Callable[[Request], Awaitable[Answer]]
_Task: TypeAlias = "asyncio.Task[None]"

_OTHER_FILES = 128  # that the rest of the process may have open
_PAUSE_SECONDS = 0.05  # before looking again whether there is room for a connection
_LATE_SECONDS = 0.01  # by which cuts are made up for: a loop sleeps for whole milliseconds


class HttpServer:
    """Serves one page function, in one loop, whose thread alone may call it."""

    def __init__(
        self,
        page: Page,
        limits: Limits,
        handshakes: Handshakes | None = None,
        cut: Counter[str] | None = None,
    ) -> None:
        """``handshakes`` makes TLS of every connection; None: plain HTTP. ``cut`` counts connections by reason."""
        self._count = Counter[str]() if cut is None else cut
        self._page = page
        self._limits = limits
        self._handshakes = handshakes
        self._most = limits.connections
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if files != resource.RLIM_INFINITY:
            self._most = min(self._most, max(files // 2, files - _OTHER_FILES))
        self._pace = max(1 / limits.turnover, limits.chance / self._most)  # seconds from one cut to the next
        self._next_cut = 0.0  # monotonic
        self._stopping = asyncio.Event()
        # By stream: a task that a frame of its own names is never freed once it was cancelled (CPython 3.11, Task keeps
        # the CancelledError, whose traceback has the frame), and neither is the page that it was sending.
        self._open: dict[ClientStream, _Task] = {}
        self._waiting: dict[ClientStream, None] = {}  # for a request; the longest waiting first
        self._sending: dict[ClientStream, bytes] = {}  # a page; the oldest first
        self._tell_no_room = partial(ThrottledLog(log).log, logging.ERROR, "connections cannot be accepted")

    async def run(self, listening: Sequence[socket.socket], grace: float) -> None:
        """Serve until ``stop``; then answers under way have ``grace`` seconds, and the end as many at most."""
        accepting = [asyncio.create_task(self._accept(sock)) for sock in listening]
        await self._stopping.wait()
        await _end(accepting, grace)
        for sock in listening:
            sock.close()
        await _end([self._open[stream] for stream in self._waiting], grace)
        if self._open:
            await asyncio.wait(self._open.values(), timeout=grace)
        await _end(list(self._open.values()), grace)

    def stop(self) -> None:
        """Let ``run`` end."""
        self._stopping.set()

    def abandon(self) -> None:
        """Close the connections in a process that was forked from ours, see ``server.WebServer.abandon``."""
        for stream in self._open:
            stream.abandon()

    async def _accept(self, listening: socket.socket) -> None:
        listening.settimeout(0)
        while True:
            try:
                # Not loop.sock_accept: where it is cancelled just then, a connection is neither served nor closed.
                sock, address = listening.accept()
            except BlockingIOError:
                await until_ready(listening)
                continue
            except OSError as error:
                self._count["descriptors"] += 1
                self._tell_no_room(error=error.strerror)
                await asyncio.sleep(_PAUSE_SECONDS)
                await self._make_room()
                continue
            stream = ClientStream(sock, str(address[0]))
            task = asyncio.create_task(self._serve(stream))
            task.add_done_callback(partial(self._ended, stream))
            self._open[stream] = task
            self._waiting[stream] = None
            while len(self._open) > self._most:
                await self._make_room()

    async def _make_room(self) -> None:
        """Cut the client that has waited longest; at a steady pace, so that each had its chance and none waits long."""
        wait = self._next_cut - time.monotonic() if self._waiting else _PAUSE_SECONDS
        if wait > 0:
            await asyncio.sleep(wait)
            return
        self._next_cut += self._pace + max(0.0, -wait - _LATE_SECONDS)
        self._cut(next(iter(self._waiting)), "waiting")

    def _cut(self, stream: ClientStream, reason: str) -> None:
        self._count[reason] += 1
        self._open.pop(stream).cancel()
        self._waiting.pop(stream, None)
        self._sending.pop(stream, None)

    def _ended(self, stream: ClientStream, task: _Task) -> None:
        stream.close()
        for streams in (self._open, self._waiting, self._sending):
            streams.pop(stream, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a connection ended by an unexpected error", exc_info=error)

    async def _serve(self, stream: ClientStream) -> None:
        try:
            if self._handshakes is None or await self._handshakes.make(stream):
                await self._converse(stream)
        except OSError as error:
            log.debug("connection lost", extra=fields(client=stream.client, error=error))

    async def _converse(self, stream: ClientStream) -> None:
        """Answer request after request. Raises OSError when the client is gone, or has to go."""
        http = HttpConnection(stream, self._limits)
        try:
            goes_on = True
            while goes_on and not self._stopping.is_set():
                self._waiting[stream] = None
                request = await http.receive()
                self._waiting.pop(stream, None)
                async with asyncio.timeout(self._limits.answer):
                    answer = await self._answer(request)
                    self._sending[stream] = answer.body
                    self._bound_memory()
                    goes_on = await http.send(answer, last=self._stopping.is_set())
                    self._sending.pop(stream, None)
        except h11.RemoteProtocolError as error:
            status = HTTPStatus(error.error_status_hint)
            log.debug("request refused", extra=fields(client=stream.client, reason=status.phrase))
            await http.refuse(status)
        await stream.linger()

    def _bound_memory(self) -> None:
        """Cut those that have been taking their page for longest, where the pages are too large together."""
        while (
            len(pages := {id(page): len(page) for page in self._sending.values()}) > 1
        ):  # clients may share one
            if sum(pages.values()) <= self._limits.unsent:
                break
            self._cut(next(iter(self._sending)), "sending")

    async def _answer(self, request: Request) -> Answer:
        try:
            return await self._page(request)
        except Exception as error:  # a page that fails costs its clients one answer, and nothing else
            log.exception("%s failed: %s", request.path, error)  # noqa: TRY401 - told in the line, too
            return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, b"internal server error\n")


async def _end(tasks: Iterable[_Task], seconds: float) -> None:
    cancelled = [task for task in tasks if task.cancel()]
    if cancelled:
        await asyncio.wait(cancelled, timeout=seconds)
