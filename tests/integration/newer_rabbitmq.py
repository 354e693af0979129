"""A front that makes an old RabbitMQ refuse what newer ones refuse, in the bytes that were recorded from 4.3.6."""

import contextlib
import re
import socket
import struct
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self

from tests.integration.servers import HOST

_CHUNK: Final = 65536
_HEAD: Final = struct.Struct(">BHI")
_PROTOCOL_BYTES: Final = 8
_DECLARE: Final = b"\x00\x32\x00\x0a"
_CHANNEL_CLOSE: Final = b"\x00\x14\x00\x28"
_CONNECTION_CLOSE: Final = b"\x00\x0a\x00\x32"
_PASSIVE, _DURABLE, _EXCLUSIVE = 1, 2, 4
#: The broker is asked for a queue of this name, which is missing, in place of one that is forbidden.
_FORBIDDEN: Final = b"forbidden:"
_MISSING: Final = re.compile(rb"NOT_FOUND - no queue '" + _FORBIDDEN + rb"(.*)' in (vhost '.*')", re.DOTALL)
_REFUSED: Final = b"ACCESS_REFUSED - configure access to queue '%b' in %b refused for user 'least'"
_DEPRECATED: Final = (
    b"INTERNAL_ERROR - Feature `transient_nonexcl_queues` is deprecated.\n"
    b"Its use is not permitted per the configuration (overriding the default, which is permitted):\n"
    b'    "deprecated_features.permit.transient_nonexcl_queues = false"\n'
    b"Its use will not be permit..."
)


class NewerRabbitMQ:
    """Passes connections on to ``upstream_port``; a context manager.

    A passive declare of a queue whose name does not match ``permits`` is refused (403), whether or not it is there, as
    RabbitMQ 4.2.7 and 4.3.1 do where a user has no permission on the queue. A queue that is neither durable nor
    exclusive is refused (541), unless ``permits_transient``.

    Attributes:
        permits: a regular expression, such as those of ``rabbitmqctl set_permissions``; may be changed at any time.
        refusals: the names of the queues that were refused, one for each channel that was closed by it.
    """

    def __init__(self, upstream_port: int, permits: str, *, permits_transient: bool = False) -> None:
        self.permits = permits
        self.refusals: list[str] = []
        self._permits_transient = permits_transient
        self._upstream_port = upstream_port
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server((HOST, 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        """Do nothing: it listens already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cut everything."""
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Cut all connections; new ones are taken."""
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # it was closed
            while True:
                client, _ = self._listener.accept()
                broker = socket.create_connection((HOST, self._upstream_port))
                self._sockets += (client, broker)
                threading.Thread(target=self._ask, args=(client, broker), daemon=True).start()
                threading.Thread(target=self._answer, args=(broker, client), daemon=True).start()

    def _ask(self, client: socket.socket, broker: socket.socket) -> None:
        with client, broker, contextlib.suppress(OSError):
            broker.sendall(client.recv(_PROTOCOL_BYTES))
            for channel, frame in _frames(client):
                if frame[7:11] != _DECLARE:
                    broker.sendall(frame)
                    continue
                length = frame[13]  # of the name, after class, method and a reserved field
                name, flags = frame[14 : 14 + length], frame[14 + length]
                if flags & _PASSIVE and not re.search(self.permits, name.decode()):
                    other = _FORBIDDEN + name
                    broker.sendall(_method(channel, frame[7:13] + _short(other) + frame[14 + length : -1]))
                elif flags & (_PASSIVE | _DURABLE | _EXCLUSIVE) or self._permits_transient:
                    broker.sendall(frame)
                else:
                    client.sendall(
                        _method(0, _CONNECTION_CLOSE + b"\x02\x1d" + _short(_DEPRECATED) + _DECLARE)
                    )

    def _answer(self, broker: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            for channel, frame in _frames(broker):
                is_close = frame[7:11] == _CHANNEL_CLOSE
                if is_close and (missing := _MISSING.fullmatch(frame, 14, 14 + frame[13])):
                    self.refusals.append(missing[1].decode())
                    text = _REFUSED % (missing[1], missing[2])
                    frame = _method(channel, _CHANNEL_CLOSE + b"\x01\x93" + _short(text) + _DECLARE)  # noqa: PLW2901
                client.sendall(frame)
            client.shutdown(socket.SHUT_RDWR)


def _frames(source: socket.socket) -> Iterator[tuple[int, bytes]]:
    """The channel of each frame, and the frame."""
    buffer = b""
    while data := source.recv(_CHUNK):
        buffer += data
        while len(buffer) >= _HEAD.size:
            _, channel, size = _HEAD.unpack_from(buffer)
            if len(buffer) < _HEAD.size + size + 1:
                break
            yield channel, buffer[: _HEAD.size + size + 1]
            buffer = buffer[_HEAD.size + size + 1 :]


def _method(channel: int, payload: bytes) -> bytes:
    return _HEAD.pack(1, channel, len(payload)) + payload + b"\xce"


def _short(text: bytes) -> bytes:
    return bytes((len(text),)) + text
