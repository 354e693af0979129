"""Turns plain connections into TLS ones, in the thread that serves them.

Owns: what is said to clients that speak no TLS, and which handshakes are logged. Must not know: how requests are
served.
"""

import logging
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress

from celery_metrics_exporter.web.client_hello import HANDSHAKE
from celery_metrics_exporter.web.sparing_log import SparingLog
from celery_metrics_exporter.web.tls import Tls
from celery_metrics_exporter.web.tls_socket import TlsSocket

_log = logging.getLogger(__name__)

_PLAIN = b"this port speaks https, not http\n"
_ANSWER = (
    b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_PLAIN), _PLAIN)
)
_LINGER_BYTES = 65_536
_LINGER_S = 0.2


class Handshakes:
    """Makes handshakes with the certificate that holds at the moment."""

    def __init__(self, current: Callable[[], Tls]) -> None:
        self._current = current
        self._tell = SparingLog(_log, logging.WARNING, "TLS connections are refused")

    def wrap(self, sock: socket.socket) -> TlsSocket | None:
        """Take over a connection on which something has arrived; None: it is no TLS, and was told so.

        Raises OSError.
        """
        first = sock.recv(1, socket.MSG_PEEK)
        if first and first[0] == HANDSHAKE:
            return self._current().wrap(sock)
        if first.isalpha():  # the beginning of GET, HEAD, POST ...
            self._tell(reason="plain HTTP", client=_peer(sock))
            _answer_in_plain(sock)
        return None

    def complete(self, sock: TlsSocket) -> bool:
        """Make the handshake, within the socket's timeout; false: the client is not let in."""
        # Another version may hold by now: whom that one lets in is let in.
        tls = self._current()
        try:
            sock.do_handshake()
        except ssl.SSLEOFError:
            return False  # it went away, as port scanners do
        except ssl.SSLError as error:
            self._tell(reason=(error.reason or "unknown").lower().replace("_", " "), client=_peer(sock))
            _linger(sock)
            return False
        except OSError as error:
            _log.debug("connection lost in a TLS handshake: %s", error)
            return False
        if tls.admits(sock):
            return True
        self._tell(reason="no allowed name in the client's certificate", client=_peer(sock))
        return False


def _answer_in_plain(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.settimeout(0)
        sock.sendall(_ANSWER)
    _linger(sock)


def _linger(sock: socket.socket) -> None:
    """Give the client a moment to read the refusal: with data unread, the end would make it lost."""
    with suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_WR)
        until = time.monotonic() + _LINGER_S
        while (left := until - time.monotonic()) > 0:
            sock.settimeout(left)
            if not socket.socket.recv(sock, _LINGER_BYTES):
                return


def _peer(sock: socket.socket) -> str:
    with suppress(OSError):
        return str(sock.getpeername()[0])
    return "unknown"
