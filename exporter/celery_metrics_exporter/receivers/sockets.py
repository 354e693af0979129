"""Pause between the reads of a socket, and shut a socket down while another thread waits for it.

Without pauses each message wakes the thread, which costs more CPU than to handle the message: at 5,000 events a second
over RabbitMQ, in lists of 3, an event takes 29 us without pauses and 6 us with them.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from typing import Final

#: Far below the timeouts of libraries; what arrives in this time fits into a socket's buffer many times over.
PAUSE_SECONDS: Final = 0.005
#: After a read of so many bytes there is no pause: there may be more data than we can keep up with.
BUSY_BYTES: Final = 16 * 1024


class ReadPauses:
    """Waits between the reads of one socket, so that one read takes several messages."""

    def __init__(self, sock: socket.socket) -> None:
        # With TLS one read returns one record, and each message is a record.
        self._waiting = select.poll() if isinstance(sock, ssl.SSLSocket) else None
        if self._waiting is not None:
            self._waiting.register(sock, select.POLLIN)

    def wait_after(self, size: int) -> None:
        """Pause after a read of ``size`` bytes, unless more data is already there or likely."""
        if size < BUSY_BYTES and not (self._waiting is not None and self._waiting.poll(0)):
            time.sleep(PAUSE_SECONDS)


def shut_down(sock: object) -> None:
    """Make a thread that reads or writes this socket see its end at once; ignores anything but a socket.

    ``ssl.SSLSocket.shutdown`` is not called: it would remove the TLS state while the other thread uses it.
    """
    if isinstance(sock, socket.socket):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
