"""JSON bodies from kombu messages and unusual Redis envelopes: other content types, encodings, compression.

A message that is too large is dropped as ``oversized``, one that cannot be read as ``undecodable``.

Source of the facts: ``kombu/message.py`` (the constructor of ``Message`` decompresses without any bound) and
``kombu/serialization.py`` (``loads`` gives a body without a deserializer to the codec that the message names, which can
be ``zlib``).
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from kombu import message as kombu_message
from kombu.serialization import loads, prepare_accept_content

from celery_metrics_exporter.errors import one_line
from celery_metrics_exporter.receivers import MAX_MESSAGE_BYTES, OVERSIZED
from celery_metrics_exporter.receivers.compression import OversizedError, decompress

if TYPE_CHECKING:
    from celery_metrics_exporter.receivers import Sink

#: Longest body in another format than JSON: such formats are read slowly (YAML: 100 KB a second).
MAX_FOREIGN_BYTES: Final = 1024 * 1024
#: Longest JSON that such a body may become: YAML's aliases can expand to any size.
_MAX_CONVERTED_BYTES: Final = 2 * MAX_FOREIGN_BYTES

_JSON: Final = "application/json"
_PICKLE: Final = "application/x-python-serialize"


class Bodies:
    """Feeds a sink with the bodies of messages."""

    def __init__(self, sink: Sink, serializer: str) -> None:
        """``serializer``: Celery's setting event_serializer, accepted beside JSON."""
        self._sink = sink
        self._foreign = prepare_accept_content({serializer}) - {_JSON, _PICKLE}

    def take(self, message: Any) -> None:
        """Feed the body of a ``kombu.Message``, or drop it; its channel went through :func:`keep_bodies_raw`."""
        compression = getattr(message, "compression", None)
        self.unpack(message.body, message.content_type, compression)

    def unreadable(self, _message: Any, error: Exception) -> None:
        """Drop a message that kombu could not construct."""
        self._sink.drop("undecodable", one_line(error))

    def unpack(self, body: Any, content_type: Any, compression: Any) -> None:
        """Feed a body as it was published, or drop it; content type and compression are those of its message."""
        try:
            if content_type == OVERSIZED:
                self._sink.drop("oversized", f"more than {MAX_MESSAGE_BYTES} bytes")
                return
            plain = _plain(body, compression)
            if content_type != _JSON:
                plain = self._from_foreign(plain, content_type)
        except OversizedError as error:
            self._sink.drop("oversized", str(error))
            return
        except Exception as error:  # noqa: BLE001 - whatever a codec raises
            self._sink.drop("undecodable", f"{str(content_type)[:60]}: {type(error).__name__}: {error}")
            return
        self._sink.feed(plain)

    def _from_foreign(self, body: bytes, content_type: Any) -> bytes:
        if content_type not in self._foreign:
            raise ValueError("content of this type is not accepted")
        if len(body) > MAX_FOREIGN_BYTES:
            raise OversizedError(f"a body of {len(body)} bytes that is no JSON")
        content = loads(body, content_type, "binary", accept=self._foreign)
        size, parts = 0, []
        for part in json.JSONEncoder().iterencode(content):
            size += len(part)
            if size > _MAX_CONVERTED_BYTES:
                raise OversizedError(f"expands to more than {_MAX_CONVERTED_BYTES} bytes")
            parts.append(part)
        return "".join(parts).encode()


def _plain(body: Any, compression: Any) -> bytes:
    if not isinstance(body, str | bytes | bytearray | memoryview):
        raise TypeError(f"a body of type {type(body).__name__}")
    packed = body.encode() if isinstance(body, str) else bytes(body)
    if len(packed) > MAX_MESSAGE_BYTES:
        raise OversizedError(f"a body of {len(packed)} bytes")
    return decompress(packed, compression, MAX_MESSAGE_BYTES) if compression else packed


class _CompressedMessage(kombu_message.Message):  # type: ignore[misc]  # kombu is untyped
    """Keeps its compressed body: hides the header ``compression`` from ``kombu.Message``."""

    def __init__(self, body: Any = None, *, headers: Any = None, **more: Any) -> None:
        headers = dict(headers or {})
        self.compression = headers.pop("compression", None)
        super().__init__(body, headers=headers, **more)


def keep_bodies_raw(channel: Any) -> None:
    """Make this kombu channel deliver messages to :class:`Bodies` as they were published.

    They are not decompressed. A message that kombu cannot construct is given to the consumer's ``on_decode_error``;
    without this kombu would raise, and the connection would be lost. ``Channel.Message`` is the class of a channel's
    messages (``kombu/transport/base.py``, ``StdChannel``).
    """
    kind: Any = channel.Message

    class RawMessage(kind, _CompressedMessage):  # type: ignore[misc]  # the base depends on the transport
        def __init__(self, *args: Any, **more: Any) -> None:
            try:
                super().__init__(*args, **more)
            except Exception:  # noqa: BLE001 - an odd envelope makes kombu raise anything
                kombu_message.Message.__init__(self)
                self.errors = [sys.exc_info()]

    channel.Message = RawMessage
