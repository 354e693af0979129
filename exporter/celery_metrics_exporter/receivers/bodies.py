"""From messages to bodies in JSON: for every message that takes kombu's whole way, and for odd envelopes on Redis.

Owns: what becomes of another content type, another encoding, a compressed message and one that cannot be read; how
kombu is kept from unpacking messages itself. Must not know: transports, events, metrics.

Source of the facts: ``kombu/message.py`` (``Message`` decompresses without any bound while it is made) and
``kombu/serialization.py`` (``loads``: whatever has no deserializer is given to the codec that the message names,
``zlib`` among them).
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

#: What a body in another form than JSON may have, for these are read slowly (YAML at 100 KB a second) ...
MAX_FOREIGN_BYTES: Final = 1024 * 1024
#: ... and what it may become in JSON, for aliases of YAML unfold to any size.
_MAX_CONVERTED_BYTES: Final = 2 * MAX_FOREIGN_BYTES

_JSON: Final = "application/json"
_PICKLE: Final = "application/x-python-serialize"


class Bodies:
    """Feeds a sink with the bodies of messages."""

    def __init__(self, sink: Sink, serializer: str) -> None:
        """``serializer``: the one of kombu's that events may come in besides JSON, the setting event_serializer."""
        self._sink = sink
        self._foreign = prepare_accept_content({serializer}) - {_JSON, _PICKLE}

    def take(self, message: Any) -> None:
        """Feed the body of a ``kombu.Message`` whose channel was sealed, or drop what has none."""
        compression = getattr(message, "compression", None)
        self.unpack(message.body, message.content_type, compression)

    def unreadable(self, _message: Any, error: Exception) -> None:
        """Drop a message that kombu could not even take in."""
        self._sink.drop("undecodable", one_line(error))

    def unpack(self, body: Any, content_type: Any, compression: Any) -> None:
        """Feed a body as it was published, or drop it; the other arguments are what its message says of it."""
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
            self._sink.drop("undecodable", f"{str(content_type)[:60]}: {one_line(error)}")
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
                raise OversizedError(f"unfolds to more than {_MAX_CONVERTED_BYTES} bytes")
            parts.append(part)
        return "".join(parts).encode()


def _plain(body: Any, compression: Any) -> bytes:
    if not isinstance(body, str | bytes | bytearray | memoryview):
        raise TypeError(f"a body of type {type(body).__name__}")
    packed = body.encode() if isinstance(body, str) else bytes(body)
    if len(packed) > MAX_MESSAGE_BYTES:
        raise OversizedError(f"a body of {len(packed)} bytes")
    return decompress(packed, compression, MAX_MESSAGE_BYTES) if compression else packed


class _Unopened(kombu_message.Message):  # type: ignore[misc]  # kombu is untyped
    """Stands between a transport's Message and kombu's, and hides the header that would have it decompressed."""

    def __init__(self, body: Any = None, *, headers: Any = None, **more: Any) -> None:
        headers = dict(headers or {})
        self.compression = headers.pop("compression", None)
        super().__init__(body, headers=headers, **more)


def seal(channel: Any) -> None:
    """Let the messages of this channel of kombu's come to :class:`Bodies` as they were published.

    They are not decompressed, and one that kombu cannot take in is given to the consumer's ``on_decode_error`` like any
    other that cannot be read, where kombu would raise, and the connection be lost. ``Channel.Message`` is the class
    that a channel makes messages of (``kombu/transport/base.py``, ``StdChannel``).
    """
    kind: Any = channel.Message

    class Sealed(kind, _Unopened):  # type: ignore[misc]  # made of what the transport has
        def __init__(self, *args: Any, **more: Any) -> None:
            try:
                super().__init__(*args, **more)
            except Exception:  # noqa: BLE001 - an odd envelope makes kombu raise anything
                kombu_message.Message.__init__(self)
                self.errors = [sys.exc_info()]

    channel.Message = Sealed
