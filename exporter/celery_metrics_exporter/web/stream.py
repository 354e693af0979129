"""Bytes from and to one client, in plain or through TLS, while other clients are served."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

READ_BYTES = 16_384

_LINGER_SECONDS = 0.2

_ResultT = TypeVar("_ResultT")


class ClientStream:
    """A connected socket that does not block. To be made in the loop's thread."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()

    async def read(self) -> bytes:
        """What has arrived, or what arrives next; b"" at the end. Raises OSError."""
        await asyncio.sleep(0)  # sock_recv lets nobody else run as long as there is something to read
        return await self._loop.sock_recv(self._sock, READ_BYTES)

    async def write(self, data: bytes | memoryview) -> None:
        """Send all of it. Raises OSError."""
        await self._loop.sock_sendall(self._sock, data)

    async def linger(self) -> None:
        """End the sending, and give the client a moment to read it: with data unread, a close would make it lost."""
        self.farewell()
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(_LINGER_SECONDS):
                while await ClientStream.read(self):
                    pass

    def farewell(self) -> None:
        """Say that nothing more comes; never waits."""


class TlsStream(ClientStream):
    """TLS over the same socket; ``received`` is what was read from it already."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, received: bytes) -> None:
        super().__init__(sock)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._incoming.write(received)
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    @property
    def certificate(self) -> dict[str, object]:
        """The client's, once it is verified, as ssl tells it; {} where there is none."""
        return dict(self._tls.getpeercert() or {})

    async def shake_hands(self) -> None:
        """Make the handshake. Raises ssl.SSLError, other OSError."""
        await self._until_done(self._tls.do_handshake)

    async def read(self) -> bytes:
        """What has arrived, or what arrives next; b"" at the end. Raises OSError."""
        return await self._until_done(lambda: self._tls.read(READ_BYTES))

    async def write(self, data: bytes | memoryview) -> None:
        """Send all of it. Raises OSError."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._tls.write(rest) :]
        await super().write(self._outgoing.read())

    def farewell(self) -> None:
        """Say in TLS that nothing more comes; never waits."""
        with suppress(OSError):
            self._tls.unwrap()
        with suppress(OSError):
            self._sock.send(self._outgoing.read())

    async def _until_done(self, step: Callable[[], _ResultT]) -> _ResultT:
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                pass
            finally:
                if self._outgoing.pending:  # also the alert that tells why it failed
                    await super().write(self._outgoing.read())
            received = await super().read()
            if received:
                self._incoming.write(received)
            else:
                self._incoming.write_eof()
