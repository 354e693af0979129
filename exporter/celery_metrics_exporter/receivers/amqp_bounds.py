"""What a message over AMQP may need, found out before py-amqp has put it together.

Owns: the limit of a body's size, and messages whose properties cannot be read. Must not know: bodies, events, metrics.

Source of the facts: ``amqp/method_framing.py`` (``frame_handler`` collects a body of any size; RabbitMQ lets 128 MB
pass by default), ``amqp/serialization.py`` (text that is no UTF-8, a time after the year 9999 or deep tables in the
properties make it raise, out of ``drain_events``, so that one message would cost the connection) and the AMQP 0-9-1
specification, 4.2.6 (content header: class, weight, size of the body, flags of the properties, properties).
"""

from __future__ import annotations

from struct import pack, unpack_from
from typing import Any, Final

import amqp

from celery_metrics_exporter.receivers import MAX_MESSAGE_BYTES, OVERSIZED

_HEADER: Final = 2
_BODY: Final = 3
_CLASS_BASIC: Final = 60
_HAS_CONTENT_TYPE: Final = 1 << 15


def bound_messages(connection: Any) -> None:
    """Let an ``amqp.Connection`` deliver any message that is too large or unreadable as one that is empty and says so.

    Other connections stay as they are. ``Connection.on_inbound_frame`` takes each frame that was read, as (type,
    channel, payload), and tells whether it completes something.
    """
    if not isinstance(connection, amqp.Connection):
        return
    take = connection.on_inbound_frame
    left: dict[int, int] = {}  # by channel, bytes still to come of a body that is not kept

    def on_frame(frame: tuple[int, int, Any]) -> Any:
        kind, channel, payload = frame
        if kind == _HEADER:
            return on_header(frame)
        if kind != _BODY or channel not in left:
            return take(frame)
        left[channel] -= len(payload)
        if left[channel] > 0:
            return False
        del left[channel]
        return take((_HEADER, channel, _header(0, OVERSIZED)))

    def on_header(frame: tuple[int, int, Any]) -> Any:
        kind, channel, payload = frame
        (size,) = unpack_from(">Q", payload, 4)
        if size > MAX_MESSAGE_BYTES:
            left[channel] = size
            return False
        if not size:  # complete with this frame, and no event whatever its properties are
            return take((kind, channel, _header(0)))
        try:
            return take(frame)
        except Exception:  # noqa: BLE001 - odd properties make py-amqp raise anything
            return take((kind, channel, _header(size)))

    connection.on_inbound_frame = on_frame


def _header(size: int, content_type: str = "") -> bytes:
    """The content header of a message with no other property."""
    name = content_type.encode()
    flags = _HAS_CONTENT_TYPE if name else 0
    return pack(">HHQH", _CLASS_BASIC, 0, size, flags) + (bytes((len(name),)) + name if name else b"")
