"""Bound the size of AMQP messages before py-amqp collects them, and survive properties that it cannot read.

Source of the facts: ``amqp/method_framing.py`` (``frame_handler`` collects a body of any size; RabbitMQ allows 128 MB
by default), ``amqp/serialization.py`` (invalid UTF-8, a time after the year 9999 or deep tables in the properties make
``drain_events`` raise, so that one message would cost the connection) and the AMQP 0-9-1 specification, 4.2.6 (content
header: class, weight, size of the body, flags of the properties, properties).
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


def limit_messages(connection: Any) -> None:
    """Make an ``amqp.Connection`` deliver an empty message in place of one that is too large or unreadable.

    The content type of a message that was too large is then ``OVERSIZED``. Connections of other libraries are left as
    they are. ``Connection.on_inbound_frame`` takes each frame as (type, channel, payload), and returns whether it
    completes a method.
    """
    if not isinstance(connection, amqp.Connection):
        return
    take = connection.on_inbound_frame
    left: dict[int, int] = {}  # by channel: bytes still to come of a body that is skipped

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
        if not size:  # an empty message is complete with this frame, and no event whatever its properties are
            return take((kind, channel, _header(0)))
        try:
            return take(frame)
        except Exception:  # noqa: BLE001 - odd properties make py-amqp raise anything
            return take((kind, channel, _header(size)))

    connection.on_inbound_frame = on_frame


def _header(size: int, content_type: str = "") -> bytes:
    """A content header with no property but the content type."""
    name = content_type.encode()
    flags = _HAS_CONTENT_TYPE if name else 0
    return pack(">HHQH", _CLASS_BASIC, 0, size, flags) + (bytes((len(name),)) + name if name else b"")
