"""Encode and parse the few AMQP frames that passive declares need.

Source of the facts: the AMQP 0-9-1 specification, sections 2.3.5 (frames) and 4.2 (grammar), and ``amqp/spec.py`` for
the numbers of methods. py-amqp reads a frame in four steps and passes an answer through promises; this costs ten times
as much CPU (60 ms for 1,000 queues).
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final

from amqp import spec
from amqp.exceptions import UnexpectedFrame

#: Class and method, as in ``amqp/spec.py``.
Method = tuple[int, int]

_METHOD: Final = 1  # a frame's type; other types are messages, which nobody sends us, and heartbeats
_HEARTBEAT: Final = 8
_END: Final = 0xCE
_HEAD: Final = Struct(">BHI")  # type, channel, size of the payload
_METHOD_HEAD: Final = Struct(">BHIHH")  # the same, with class and method: the payload's first four bytes
_COUNTS: Final = Struct(">II")
_CODE: Final = Struct(">H")
_METHOD_ID: Final = Struct(">HH")
_OVERHEAD_BYTES: Final = _HEAD.size + 1
_SHORTEST_METHOD_BYTES: Final = 4
_LONGEST_NAME_BYTES: Final = 255


def is_queue_name(name: str) -> bool:
    """Whether a queue can have this name.

    RabbitMQ removes line ends (``rabbit_channel:strip_cr_lf``) and would answer for another queue. The empty name means
    the queue that was declared last.
    """
    try:
        text = name.encode()
    except UnicodeEncodeError:
        return False
    return 0 < len(text) <= _LONGEST_NAME_BYTES and b"\n" not in text and b"\r" not in text


def method(channel: int, which: Method, arguments: bytes = b"") -> bytes:
    """The frame of a method."""
    return _METHOD_HEAD.pack(_METHOD, channel, 4 + len(arguments), *which) + arguments + b"\xce"


def open_channel(channel: int) -> bytes:
    """The frame that opens a channel."""
    return method(channel, spec.Channel.Open, b"\0")


def close(channel: int, which: Method) -> bytes:
    """The frame that closes a channel or, on channel 0, the connection."""
    return method(channel, which, b"\0" * 7)  # code 0, no text, caused by no method


def passive_declare(channel: int, queue: str) -> bytes:
    """The frame that asks for a queue without creating it; its name is valid, see :func:`is_queue_name`."""
    name = queue.encode()
    arguments = b"\0\0%c%b\x01\0\0\0\0" % (len(name), name)  # reserved, name, flags, an empty table
    return method(channel, spec.Queue.Declare, arguments)


def counts(arguments: bytes) -> tuple[int, int]:
    """The numbers of messages and of consumers in a Queue.DeclareOk."""
    ready, consumers = _COUNTS.unpack_from(arguments, 1 + arguments[0])
    return ready, consumers


def reason(arguments: bytes) -> tuple[int, str, Method]:
    """The code, the text and the failed method of a Channel.Close or Connection.Close."""
    (code,) = _CODE.unpack_from(arguments)
    end = 3 + arguments[2]
    cause = _METHOD_ID.unpack_from(arguments, end)
    return code, arguments[3:end].decode(errors="replace"), (cause[0], cause[1])


def parse(buffer: bytearray, longest: int) -> Iterator[tuple[int, Method, bytes]]:
    """Remove all complete frames from a buffer.

    Yields:
        Channel, method and arguments of each frame but heartbeats.

    Raises:
        amqp.exceptions.UnexpectedFrame: the bytes are not AMQP, or a frame has more than ``longest`` bytes.
    """
    start, end = 0, len(buffer)
    try:
        while end - start >= _OVERHEAD_BYTES:
            kind, channel, size = _HEAD.unpack_from(buffer, start)
            if size + _OVERHEAD_BYTES > longest:
                raise UnexpectedFrame(f"a frame of {size} bytes")
            after = start + _OVERHEAD_BYTES + size
            if after > end:
                return
            if (
                buffer[after - 1] != _END
                or kind not in {_METHOD, _HEARTBEAT}
                or (kind == _METHOD and size < _SHORTEST_METHOD_BYTES)
            ):
                raise UnexpectedFrame(f"a frame of type {kind}")
            payload = bytes(buffer[start + _HEAD.size : after - 1])
            start = after
            if kind == _METHOD:
                which = _METHOD_ID.unpack_from(payload)
                yield channel, (which[0], which[1]), payload[4:]
    finally:
        del buffer[:start]
