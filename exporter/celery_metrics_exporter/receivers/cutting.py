"""Shutting a socket that another thread waits for. Must not know: whose socket it is."""

from __future__ import annotations

import socket


def shut(sock: object) -> None:
    """Let whoever reads or writes this socket see its end at once; does nothing with anything but a socket.

    Not by the method of ``ssl.SSLSocket``: it takes the TLS state from under the thread that uses it.
    """
    if isinstance(sock, socket.socket):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
