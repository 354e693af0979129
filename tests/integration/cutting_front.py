"""A front of a broker that cuts the line at a chosen moment: when a client sends certain bytes."""

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

from tests.integration.servers import HOST

_CHUNK = 65536


class CuttingFront:
    """Passes connections on to ``upstream_port`` until a client sends ``trigger``; a context manager.

    The trigger never reaches the broker: all connections are cut, and new ones are refused until :meth:`heal`. After
    that nothing is cut any more.
    """

    def __init__(self, upstream_port: int, trigger: bytes) -> None:
        self._upstream_port = upstream_port
        self._trigger = trigger
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.was_cut = threading.Event()
        self._healed = False
        self._listener = self._listen(0)
        self.port = int(self._listener.getsockname()[1])

    def heal(self) -> None:
        """Take connections again, on the same port."""
        self._healed = True
        self._listener = self._listen(self.port)

    def __enter__(self) -> Self:
        """Do nothing: it listens already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cut everything."""
        self._close_all()

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server((HOST, port))
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it was closed
            while True:
                client, _ = listener.accept()
                broker = socket.create_connection((HOST, self._upstream_port))
                with self._lock:
                    self._sockets |= {client, broker}
                threading.Thread(target=self._pump, args=(client, broker, True), daemon=True).start()
                threading.Thread(target=self._pump, args=(broker, client, False), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, watched: bool) -> None:
        tail = b""
        with contextlib.suppress(OSError):  # the other pump, or a cut, closed one of them
            while data := source.recv(_CHUNK):
                if watched and not self._healed:
                    tail = tail[-len(self._trigger) :] + data
                    if self._trigger in tail:
                        self._close_all()
                        self.was_cut.set()
                        return
                sink.sendall(data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _close_all(self) -> None:
        # shutdown() wakes the threads that wait on a socket, which close() alone does not
        with self._lock:
            for each in (self._listener, *self._sockets):
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()
            self._sockets.clear()
