"""A TCP front of a broker that can do to a connection whatever a network does."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from tests.integration.servers import HOST

T = TypeVar("T")

_STEP_S = 10.0
#: On close, throw away what was not sent and answer with RST (socket(7), SO_LINGER).
_ABRUPTLY = struct.pack("ii", 1, 0)


class Front:
    """Passes connections on to ``upstream_port`` of 127.0.0.1; a context manager.

    One thread does everything, so that each method below has taken its effect when it returns.
    """

    def __init__(self, upstream_port: int, *, host: str = HOST, port: int = 0) -> None:
        self.host = host
        self.port = port
        self.upstream_port = upstream_port
        self.was_reset = threading.Event()
        self.reset_marker: bytes | None = None
        self.paused = False
        self.lines: list[Line] = []
        self.loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self.loop.run_forever, name="front", daemon=True)

    def strand(self, *, to_client: bool = False, to_server: bool = False) -> None:
        """Pass nothing more on over the connections that there are; they stay open. New ones work."""

        def mute() -> None:
            for line in self.lines:
                line.strand(to_client=to_client, to_server=to_server)

        self._call(mute)

    def pause(self) -> None:
        """Be like a server that is stopped, until :meth:`resume`: connections are taken, nothing is read or said."""

        def stand_still() -> None:
            self.paused = True
            for line in self.lines:
                line.strand(to_client=True, to_server=True)

        self._call(stand_still)

    def resume(self) -> None:
        """Go on."""

        def go_on() -> None:
            self.paused = False
            for line in self.lines:
                line.resume()

        self._call(go_on)

    def reset_at(self, marker: bytes) -> None:
        """Reset the next connection over which the server sends ``marker``, right after these bytes."""
        self._call(lambda: setattr(self, "reset_marker", marker))

    def refuse(self) -> None:
        """Close all connections and take no more, until :meth:`accept`."""

        def close() -> None:
            assert self._server is not None
            self._server.close()
            for line in self.lines:
                line.close()
            self.lines.clear()

        self._call(close)

    def accept(self) -> None:
        """Take connections again, on the same port."""
        asyncio.run_coroutine_threadsafe(self._listen(), self.loop).result(_STEP_S)

    def __enter__(self) -> Self:
        """Listen."""
        self._thread.start()
        self.accept()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close everything."""
        self.refuse()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_STEP_S)
        self.loop.close()

    def _call(self, action: Callable[[], None]) -> None:
        async def act() -> None:
            action()

        asyncio.run_coroutine_threadsafe(act(), self.loop).result(_STEP_S)

    async def _listen(self) -> None:
        self._server = await self.loop.create_server(
            lambda: Line(self).client, self.host, self.port, reuse_address=True
        )
        self.port = self._server.sockets[0].getsockname()[1]


class Line:
    """One connection through the front: an end towards the client, and one towards the server."""

    def __init__(self, front: Front) -> None:
        self.front = front
        self.client = _End(self._ask, self._opened, self.close)
        self.server = _End(self._answer, self._passed, self.close)
        self._closed = False

    def strand(self, *, to_client: bool, to_server: bool) -> None:
        """Read no more from the ends whose bytes would go there: then the close of such an end is not seen either."""
        for end, muted in ((self.client, to_server), (self.server, to_client)):
            if muted and end.transport is not None:
                end.transport.pause_reading()

    def resume(self) -> None:
        """Read again from both ends."""
        for end in (self.client, self.server):
            if end.transport is not None:
                end.transport.resume_reading()

    def close(self, *, abruptly: bool = False) -> None:
        """Close both ends."""
        self._closed = True
        for end in (self.client, self.server):
            if end.transport is not None:
                if abruptly:
                    sock: socket.socket = end.transport.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABRUPTLY)
                end.transport.abort()

    def _opened(self) -> None:
        self.front.lines.append(self)
        task = self.front.loop.create_task(self._connect())
        self._connecting = task  # the loop keeps none alive
        if self.front.paused:
            self.strand(to_client=True, to_server=True)

    async def _connect(self) -> None:
        try:
            await self.front.loop.create_connection(lambda: self.server, HOST, self.front.upstream_port)
        except OSError:
            self.close()

    def _passed(self) -> None:
        if self._closed:
            self.close()
            return
        self._ask(bytes(self.client.waiting))
        if self.front.paused:
            self.strand(to_client=True, to_server=True)

    def _ask(self, data: bytes) -> None:
        if self.server.transport is None:
            self.client.waiting += data
        else:
            self.server.transport.write(data)

    def _answer(self, data: bytes) -> None:
        if self.client.transport is None:
            return
        marker = self.front.reset_marker
        if marker is None or (at := data.find(marker)) < 0:
            self.client.transport.write(data)
            return
        self.front.reset_marker = None
        self.client.transport.write(data[: at + len(marker)])
        self.close(abruptly=True)
        self.front.was_reset.set()


class _End(asyncio.Protocol):
    def __init__(
        self, take: Callable[[bytes], None], opened: Callable[[], None], closed: Callable[[], None]
    ) -> None:
        self._take = take
        self._opened = opened
        self._closed = closed
        self.transport: asyncio.Transport | None = None
        self.waiting = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._opened()

    def data_received(self, data: bytes) -> None:
        self._take(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed()
