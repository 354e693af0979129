"""What a TLS client says before anything is decided: the elliptic curves that it can use.

Owns reading of a ClientHello that is still in the socket. Must not know: certificates, HTTP.

Python's ssl can give one curve to a context, not a list (``SSLContext.set_ecdh_curve``). To have a list in an order of
preference, as Go has, the curve is chosen here and the connection gets the context of that curve.

Facts: RFC 8446, 4.1.2 (ClientHello), 4.2.7 (supported_groups), 5.1 (records).
"""

import socket
import struct
from contextlib import suppress

#: The first byte of whatever a TLS client sends first: a record with a handshake message.
HANDSHAKE = 0x16

_CLIENT_HELLO = 0x01
_SUPPORTED_GROUPS = 10
_RECORD_HEAD = 5
_LONGEST_RECORD = 1 << 14
_VERSION_AND_RANDOM = 2 + 32


def peek_groups(sock: socket.socket) -> tuple[int, ...]:
    """The numbers of the client's groups, its favourite first; () where it names none or says something else.

    Waits for the rest of the message no longer than the socket's timeout, and takes nothing out of the socket. Raises
    OSError like any read.
    """
    head = _peek(sock, _RECORD_HEAD)
    if len(head) < _RECORD_HEAD or head[0] != HANDSHAKE:
        return ()
    length = min(int.from_bytes(head[3:5]), _LONGEST_RECORD)
    return supported_groups(_peek(sock, _RECORD_HEAD + length)[_RECORD_HEAD:])


def supported_groups(message: bytes) -> tuple[int, ...]:
    """The groups of a ClientHello; () where it is none, or carries none, or is cut short."""
    with suppress(IndexError, struct.error):
        if message[0] != _CLIENT_HELLO:
            return ()
        at = 4 + _VERSION_AND_RANDOM
        at += 1 + message[at]  # session id
        at += 2 + struct.unpack_from(">H", message, at)[0]  # cipher suites
        at += 1 + message[at]  # compression methods
        end = at + 2 + struct.unpack_from(">H", message, at)[0]
        at += 2
        while at < end:
            kind, length = struct.unpack_from(">HH", message, at)
            if kind == _SUPPORTED_GROUPS:
                (size,) = struct.unpack_from(">H", message, at + 4)
                return struct.unpack_from(f">{size // 2}H", message, at + 6)
            at += 4 + length
    return ()


def _peek(sock: socket.socket, size: int) -> bytes:
    # With this mark set, a read waits until that much is there, or the client is gone.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
    try:
        return sock.recv(size, socket.MSG_PEEK)
    finally:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
