"""Bytes from and to one client, in plain or through TLS, while other clients are served.

Not asyncio's streams: they keep 256 KiB for each TLS connection, and do not send the alert that tells a client why its
handshake failed (CPython, asyncio/sslproto.py: SSLProtocol).
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TypeVar

READ_BYTES = 16_384

_LINGER_SECONDS = 0.2

_ResultT = TypeVar("_ResultT")


class ClientStream:
    """A connected socket. Methods that wait raise OSError, of which ssl.SSLError is one, when the client is gone."""

    def __init__(self, sock: socket.socket, client: str) -> None:
        """``client``: its IP address."""
        sock.settimeout(0)
        self._sock = sock
        self.client = client

    async def peek(self) -> bytes:
        """The first byte that arrives, which stays there; b"" at the end."""
        return await self._until_done(partial(self._sock.recv, 1, socket.MSG_PEEK))

    async def shake_hands(self, context: ssl.SSLContext) -> Mapping[str, object]:
        """Go on in TLS; the client's certificate, verified, as ssl tells it; {} where there is none."""
        self._sock = tls = context.wrap_socket(self._sock, server_side=True, do_handshake_on_connect=False)
        await self._until_done(tls.do_handshake)
        return tls.getpeercert() or {}

    async def read(self) -> bytes:
        """What has arrived, or what arrives next; b"" at the end."""
        await asyncio.sleep(0)  # a client that sends without a pause lets others be served
        return await self._until_done(partial(self._sock.recv, READ_BYTES))

    async def write(self, data: bytes | memoryview) -> None:
        """Send all of it."""
        rest = memoryview(data)
        while rest:
            rest = rest[await self._until_done(partial(self._sock.send, rest), sends=True) :]

    async def linger(self) -> None:
        """End the sending, and give the client a moment to read it: with data unread, a close would make it lost."""
        self._say_goodbye()
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)  # what is read from here on is not decrypted
            async with asyncio.timeout(_LINGER_SECONDS):
                while await self.read():
                    pass

    def close(self) -> None:
        """End the connection now."""
        self._say_goodbye()
        self._sock.close()

    def abandon(self) -> None:
        """Close the socket in a process that was forked from ours; the connection goes on in ours."""
        self._sock.close()

    def _say_goodbye(self) -> None:
        """Say in TLS that nothing more comes; never waits."""
        if isinstance(self._sock, ssl.SSLSocket):
            with suppress(OSError, ValueError):  # the latter where it was said before
                self._sock.unwrap()

    async def _until_done(self, step: Callable[[], _ResultT], *, sends: bool = False) -> _ResultT:
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                await until_ready(self._sock)
            except ssl.SSLWantWriteError:
                await until_ready(self._sock, to_write=True)
            except BlockingIOError:
                await until_ready(self._sock, to_write=sends)


async def until_ready(sock: socket.socket, *, to_write: bool = False) -> None:
    """Wait until there is something to read, or room to write."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    watch, forget = (
        (loop.add_writer, loop.remove_writer) if to_write else (loop.add_reader, loop.remove_reader)
    )
    watch(sock, ready.set)
    try:
        await ready.wait()
    finally:
        forget(sock)
