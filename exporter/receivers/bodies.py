"""From kombu's messages to bodies in JSON, for every message that takes kombu's whole way.

Owns: what becomes of another content type, another encoding and a message that cannot be read. Must not know:
transports, events, metrics.

Source of the facts: ``kombu/message.py`` (``Message``: decompression and its errors) and ``kombu/serialization.py``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from kombu.serialization import loads, prepare_accept_content

from exporter.receivers import MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from exporter.receivers import Sink

_UTF8: Final = (None, "utf-8", "utf8", "us-ascii", "binary")


class Bodies:
    """Feeds a sink with the bodies of messages."""

    def __init__(self, sink: Sink, serializer: str) -> None:
        """``serializer``: the one of kombu's that events may come in besides JSON, the setting event_serializer."""
        self._sink = sink
        self._accept = prepare_accept_content({serializer, "json"})

    def take(self, message: Any) -> None:
        """Feed the body of a ``kombu.Message``, or drop what has none."""
        try:
            size = len(message.body)
            if size > MAX_MESSAGE_BYTES:
                self._sink.drop("oversized", f"a body of {size} bytes")
                return
            body = self._json(message.body, message.content_type, message.content_encoding)
        except Exception as error:  # noqa: BLE001 - whatever a codec raises
            self._sink.drop("undecodable", f"{message.content_type}: {type(error).__name__}: {error}")
            return
        self._sink.feed(body)

    def unreadable(self, _message: Any, error: Exception) -> None:
        """Drop a message that kombu could not even unpack."""
        self._sink.drop("undecodable", f"{type(error).__name__}: {error}")

    def _json(self, body: Any, content_type: Any, content_encoding: Any) -> bytes:
        if not isinstance(body, str | bytes | bytearray | memoryview):
            raise TypeError(f"a body of type {type(body).__name__}")
        if content_type != "application/json" or content_encoding not in _UTF8:
            body = json.dumps(loads(body, content_type, content_encoding, accept=self._accept))
        return body.encode() if isinstance(body, str) else bytes(body)
