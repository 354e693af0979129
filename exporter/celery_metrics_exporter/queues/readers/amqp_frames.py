"""The few AMQP frames that asking about queues takes, as bytes.

Owns: how they are written and cut apart. Must not know: connections, queues, events, metrics.

Source of the facts: the AMQP 0-9-1 specification, sections 2.3.5 (frames) and 4.2 (grammar), and ``amqp/spec.py`` for
the numbers of methods. py-amqp reads a frame in four steps and hands an answer on through promises, which costs ten
times the CPU of this (60 ms for 1,000 queues).
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from amqp import spec
from amqp.exceptions import UnexpectedFrame

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Class and method, as in ``amqp/spec.py``.
Method = tuple[int, int]

_METHOD: Final = 1  # a frame's type; the others carry messages, which nobody sends us, and heartbeats
_HEARTBEAT: Final = 8
_END: Final = 0xCE
_HEAD: Final = Struct(">BHI")  # type, channel, size of the payload
_METHOD_HEAD: Final = Struct(">BHIHH")  # the same with class and method, the payload's first four bytes
_COUNTS: Final = Struct(">II")
_CODE: Final = Struct(">H")
_METHOD_ID: Final = Struct(">HH")
_OVERHEAD: Final = _HEAD.size + 1
_SHORTEST: Final = 4  # bytes of a method's payload
_LONGEST_NAME: Final = 255


def queue_name(name: str) -> bytes | None:
    """A queue's name as it is sent; None when no queue can have it.

    RabbitMQ leaves out line ends (``rabbit_channel:strip_cr_lf``): its answer would be about another queue. The empty
    name means the queue last declared.
    """
    try:
        text = name.encode()
    except UnicodeEncodeError:
        return None
    return None if not 0 < len(text) <= _LONGEST_NAME or b"\n" in text or b"\r" in text else text


def method(channel: int, which: Method, arguments: bytes = b"") -> bytes:
    """A method's frame."""
    return _METHOD_HEAD.pack(_METHOD, channel, 4 + len(arguments), *which) + arguments + b"\xce"


def open_channel(channel: int) -> bytes:
    """Open a channel."""
    return method(channel, spec.Channel.Open, b"\0")


def close(channel: int, which: Method) -> bytes:
    """Close a channel or, on channel 0, the connection."""
    return method(channel, which, b"\0" * 7)  # code 0, no text, caused by no method


def passive_declare(channel: int, queue: bytes) -> bytes:
    """Ask for a queue; passive: it is never made."""
    arguments = b"\0\0%c%b\x01\0\0\0\0" % (len(queue), queue)  # reserved, name, flags, an empty table
    return method(channel, spec.Queue.Declare, arguments)


def counts(arguments: bytes) -> tuple[int, int]:
    """The numbers of messages and of consumers in a Queue.DeclareOk."""
    ready, consumers = _COUNTS.unpack_from(arguments, 1 + arguments[0])
    return ready, consumers


def reason(arguments: bytes) -> tuple[int, str, Method]:
    """The code, the text and the method to blame in a Channel.Close or Connection.Close."""
    (code,) = _CODE.unpack_from(arguments)
    end = 3 + arguments[2]
    cause = _METHOD_ID.unpack_from(arguments, end)
    return code, arguments[3:end].decode(errors="replace"), (cause[0], cause[1])


def cut(buffer: bytearray, longest: int) -> Iterator[tuple[int, Method, bytes]]:
    """Take all complete frames out of a buffer.

    Yields:
        Channel, method, its arguments; heartbeats are left out.

    Raises:
        amqp.exceptions.UnexpectedFrame: this is no AMQP, or a frame is longer than was agreed.
    """
    start, end = 0, len(buffer)
    try:
        while end - start >= _OVERHEAD:
            kind, channel, size = _HEAD.unpack_from(buffer, start)
            if size + _OVERHEAD > longest:
                raise UnexpectedFrame(f"a frame of {size} bytes")
            after = start + _OVERHEAD + size
            if after > end:
                return
            if (
                buffer[after - 1] != _END
                or kind not in {_METHOD, _HEARTBEAT}
                or (kind == _METHOD and size < _SHORTEST)
            ):
                raise UnexpectedFrame(f"a frame of type {kind}")
            payload = bytes(buffer[start + _HEAD.size : after - 1])
            start = after
            if kind == _METHOD:
                which = _METHOD_ID.unpack_from(payload)
                yield channel, (which[0], which[1]), payload[4:]
    finally:
        del buffer[:start]
