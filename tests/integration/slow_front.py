"""A front of a broker on a line that is very slow in one direction: answers arrive byte by byte."""

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

from tests.integration.servers import HOST

_CHUNK = 65536


class SlowFront:
    """Passes connections on to ``upstream_port``; a context manager.

    After :meth:`slow_down` it takes ``pause_s`` seconds for each byte from the broker.
    """

    def __init__(self, upstream_port: int, *, pause_s: float) -> None:
        self._upstream_port = upstream_port
        self._pause_s = pause_s
        self._slow = False
        self._stopped = threading.Event()
        self._listener = socket.create_server((HOST, 0))
        self.port = int(self._listener.getsockname()[1])

    def slow_down(self) -> None:
        """Be slow from now on."""
        self._slow = True

    def __enter__(self) -> Self:
        """Listen."""
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take no more connections; those that there are end with their client."""
        self._stopped.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # it was closed
            while True:
                client, _ = self._listener.accept()
                broker = socket.create_connection((HOST, self._upstream_port))
                for ends in ((client, broker, False), (broker, client, True)):
                    threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):  # the other pump closed one of them
            while data := source.recv(_CHUNK):
                if answers and self._slow:
                    for byte in data:
                        sink.sendall(bytes((byte,)))
                        self._stopped.wait(self._pause_s)
                else:
                    sink.sendall(data)
        for each in (source, sink):
            each.close()
