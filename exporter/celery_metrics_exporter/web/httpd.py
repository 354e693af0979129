"""The HTTP server below the pages: one loop that serves all clients, whatever they do.

No client has a thread: those that are silent or slow cost a socket. Each step that depends on a client has a time
limit, and where too many connections are open, or too many answers are being sent, the oldest one is cut.
"""

import asyncio
import logging
import resource
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from http import HTTPStatus
from typing import TypeAlias, cast

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


class HttpServer:
    """Serves one page function, in one loop, whose thread alone may call it."""

    def __init__(self, page: Page, limits: Limits, handshakes: Handshakes | None = None) -> None:
        """``handshakes`` makes TLS of every connection; None: plain HTTP."""
        self._page = page
        self._limits = limits
        self._handshakes = handshakes
        self._most = limits.connections
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if files != resource.RLIM_INFINITY:
            self._most = min(self._most, max(files // 2, files - _OTHER_FILES))
        self._stopping = asyncio.Event()
        self._open: set[_Task] = set()
        self._waiting: dict[_Task, float] = {}  # for a request, and since when; the longest waiting first
        self._sending: dict[_Task, None] = {}  # an answer; the oldest first
        self._tell_no_room = partial(ThrottledLog(log).log, logging.ERROR, "connections cannot be accepted")

    async def run(self, listening: Sequence[socket.socket], grace: float) -> None:
        """Serve until ``stop``; then answers under way have ``grace`` seconds, and the end as many at most."""
        accepting = [asyncio.create_task(self._accept(sock)) for sock in listening]
        await self._stopping.wait()
        await _end(accepting, grace)
        for sock in listening:
            sock.close()
        await _end(self._waiting, grace)
        if self._open:
            await asyncio.wait(self._open, timeout=grace)
        await _end(self._open, grace)

    def stop(self) -> None:
        """Let ``run`` end."""
        self._stopping.set()

    async def _accept(self, listening: socket.socket) -> None:
        listening.settimeout(0)
        while True:
            await until_ready(listening)
            try:
                # Not loop.sock_accept: where it is cancelled just then, a connection is neither served nor closed.
                sock, address = listening.accept()
            except BlockingIOError:
                continue
            except OSError as error:
                self._tell_no_room(error=error.strerror)
                await asyncio.sleep(_PAUSE_SECONDS)
                await self._make_room()
                continue
            stream = ClientStream(sock, str(address[0]))
            task = asyncio.create_task(self._serve(stream))
            task.add_done_callback(partial(self._ended, stream))
            self._open.add(task)
            self._waiting[task] = time.monotonic()
            while len(self._open) > self._most:
                await self._make_room()

    async def _make_room(self) -> None:
        """Cut the client that has waited longest, if it had its chance: those who come again at once are held up."""
        longest = next(iter(self._waiting), None)
        if longest is None or time.monotonic() - self._waiting[longest] < self._limits.chance:
            await asyncio.sleep(_PAUSE_SECONDS)
        else:
            longest.cancel()
            await asyncio.wait([longest])

    def _ended(self, stream: ClientStream, task: _Task) -> None:
        stream.close()
        self._open.discard(task)
        self._waiting.pop(task, None)
        self._sending.pop(task, None)
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
        me = cast(_Task, asyncio.current_task())
        http = HttpConnection(stream, self._limits)
        try:
            goes_on = True
            while goes_on and not self._stopping.is_set():
                self._waiting[me] = time.monotonic()
                request = await http.receive()
                self._waiting.pop(me, None)
                async with asyncio.timeout(self._limits.answer):
                    answer = await self._answer(request)
                    self._sending[me] = None
                    if len(self._sending) > self._limits.answers:
                        oldest = next(iter(self._sending))
                        del self._sending[oldest]
                        oldest.cancel()
                    goes_on = await http.send(answer, last=self._stopping.is_set())
                    self._sending.pop(me, None)
        except h11.RemoteProtocolError as error:
            status = HTTPStatus(error.error_status_hint)
            log.debug("request refused", extra=fields(client=stream.client, reason=status.phrase))
            await http.refuse(status)
        await stream.linger()

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
