"""TLS below HTTP: a socket that several threads may hold, and how cheroot reads and writes it.

Owns what a TLS connection does otherwise than a plain one. Must not know: certificates, requests.
"""

import socket
import ssl
from contextlib import suppress
from typing import Any, Protocol

from cheroot.makefile import StreamReader, StreamWriter


class TlsSocket(ssl.SSLSocket):
    """A TLS connection that any thread may end while another one reads it."""

    def shutdown(self, how: int) -> None:
        """End the connection below TLS; ssl.SSLSocket's own would let a reader go on without decryption."""
        socket.socket.shutdown(self, how)

    def say_goodbye(self) -> None:
        """Tell the client that nothing more will come, without waiting for its answer."""
        with suppress(OSError, ValueError):
            self.settimeout(0)
            self.unwrap()


class Security(Protocol):
    """Makes TLS connections of plain ones."""

    def wrap(self, sock: socket.socket, /) -> TlsSocket | None:
        """Take over a connection on which something has arrived; None: no TLS. Raises OSError."""

    def complete(self, sock: TlsSocket, /) -> bool:
        """Make the handshake within the socket's timeout; false: the client is not let in."""


class TlsReader(StreamReader):
    """Reads requests; knows of bytes that were decrypted but not read, which no selector would tell."""

    def __init__(self, sock: TlsSocket, mode: str, size: int) -> None:
        super().__init__(sock, mode, size)
        self._sock = sock

    def has_data(self) -> bool:
        """Whether there is something to read already."""
        return bool(super().has_data() or self._sock.pending())  # type: ignore[no-untyped-call]  # cheroot's


class TlsWriter(StreamWriter):
    """Writes answers record by record; cheroot's own copies all that is left for each record of 16 KB."""

    def __init__(self, sock: TlsSocket, mode: str, size: int) -> None:
        super().__init__(sock, mode, size)
        self._sock = sock

    def write(self, val: bytes, *_args: Any, **_kwargs: Any) -> int:  # type: ignore[override]  # cheroot's
        """Send all of it. Raises OSError, TimeoutError when one record makes no progress."""
        self._sock.sendall(val)
        self.bytes_written += len(val)
        return len(val)
