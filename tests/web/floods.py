"""Clients by the hundred that leave their requests unfinished, and come again when they are cut."""

import resource
import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self
from urllib.parse import urlsplit

HALF_A_HEAD = b"GET /metrics HTTP/1.1\r\nHost: a\r\nX-Slow: "
HALF_A_BODY = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx"
HALF_A_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"

_FILES = 4096


@contextmanager
def many_files() -> Iterator[None]:
    """Let this process have thousands of connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Flood:
    """``count`` connections, each with ``data`` sent; whichever the server ends is opened anew."""

    def __init__(self, url: str, count: int, data: bytes) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "", parts.port or 0)
        self._count = count
        self._data = data
        self._selector = selectors.DefaultSelector()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="flood")
        self.sent = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]  # a socket
        self._selector.close()

    def _run(self) -> None:
        for _ in range(self._count):
            self._open()
        while not self._over.is_set():
            for key, events in self._selector.select(0.05):
                self._go_on(key.fileobj, events)  # type: ignore[arg-type]  # a socket

    def _open(self) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        with suppress(BlockingIOError):
            sock.connect(self._address)
        self._selector.register(sock, selectors.EVENT_WRITE)

    def _go_on(self, sock: socket.socket, events: int) -> None:
        with suppress(OSError):
            if events & selectors.EVENT_WRITE:
                sock.send(self._data)
                self.sent += 1
                self._selector.modify(sock, selectors.EVENT_READ)
                return
            if sock.recv(65_536):
                return
        self._selector.unregister(sock)
        sock.close()
        self._open()
