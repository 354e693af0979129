"""A front of a broker that decides in which pieces, and when, its bytes reach the client."""

import contextlib
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.integration.servers import HOST

_CHUNK = 65536


class ShapingFront:
    """Passes connections on to ``upstream_port``; a context manager.

    ``piece_bytes``: what the broker says reaches the client in pieces of this size. After :meth:`hold`, or as soon as a
    client sends ``hold_at``, it is kept back until :meth:`release`, and then sent in one piece.
    """

    def __init__(
        self, upstream_port: int, *, piece_bytes: int = _CHUNK, hold_at: bytes | None = None
    ) -> None:
        self._upstream_port = upstream_port
        self._piece_bytes = piece_bytes
        self._hold_at = hold_at
        self._lock = threading.Lock()
        self._holding = False
        self._held: dict[socket.socket, bytes] = {}
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server((HOST, 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self) -> None:
        """Keep back what the broker says from now on."""
        self._holding = True

    def release(self) -> None:
        """Pass on what was kept back, and all that follows."""
        with self._lock:
            self._holding = False
            for client, data in self._held.items():
                client.sendall(data)
            self._held.clear()

    @property
    def held_bytes(self) -> int:
        """How much is kept back."""
        with self._lock:
            return sum(map(len, self._held.values()))

    def __enter__(self) -> Self:
        """Do nothing: it listens already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cut everything."""
        for each in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # it was closed
            while True:
                client, _ = self._listener.accept()
                broker = socket.create_connection((HOST, self._upstream_port))
                for each in (client, broker):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._sockets.append(each)
                threading.Thread(target=self._pump, args=(client, broker, self._ask), daemon=True).start()
                threading.Thread(target=self._pump, args=(broker, client, self._answer), daemon=True).start()

    @staticmethod
    def _pump(
        source: socket.socket, sink: socket.socket, passing: Callable[[socket.socket, bytes], None]
    ) -> None:
        with contextlib.suppress(OSError):  # the other pump, or the end, closed one of them
            while data := source.recv(_CHUNK):
                passing(sink, data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _ask(self, broker: socket.socket, data: bytes) -> None:
        if self._hold_at is not None and self._hold_at in data:
            self.hold()
        broker.sendall(data)

    def _answer(self, client: socket.socket, data: bytes) -> None:
        with self._lock:
            if self._holding:
                self._held[client] = self._held.get(client, b"") + data
                return
            for start in range(0, len(data), self._piece_bytes):
                client.sendall(data[start : start + self._piece_bytes])
