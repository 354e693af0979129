"""JSON bodies from kombu messages and unusual Redis envelopes: other content types, encodings, compression.

A message that is too large is dropped as ``oversized``, one that cannot be read as ``undecodable``.

Source of the facts: ``kombu/message.py`` (the constructor of ``Message`` decompresses without any bound),
``kombu/serialization.py`` (``loads`` gives a body without a deserializer to the codec that the message names, which can
be ``zlib``) and ``kombu/compression.py``, whose decoders have no limit: a few kilobytes can expand to gigabytes. Celery
itself never compresses an event (``celery/events/dispatcher.py``). zstd and brotli are refused, because we do not
depend on their libraries.
"""

from __future__ import annotations

import bz2
import json
import lzma
import sys
import zlib
from collections.abc import Callable
from typing import Any, Final

from kombu import message as kombu_message
from kombu.serialization import loads, prepare_accept_content

from celery_metrics_exporter.errors import one_line
from celery_metrics_exporter.receivers import MAX_MESSAGE_BYTES, OVERSIZED, Sink

#: Longest body in another format than JSON: such formats are read slowly (YAML: 100 KB a second).
MAX_FOREIGN_BYTES: Final = 1024 * 1024
#: Longest JSON that such a body may become: YAML's aliases can expand to any size.
_MAX_CONVERTED_BYTES: Final = 2 * MAX_FOREIGN_BYTES

#: Memory that the decoder of lzma may use beside its output: the highest preset of xz takes 65 MB.
_LZMA_MEMORY_BYTES: Final = 80 * 1024 * 1024
#: Compressed streams that may follow one another in one body.
_MAX_STREAMS: Final = 100

_JSON: Final = "application/json"
_PICKLE: Final = "application/x-python-serialize"


class OversizedError(Exception):
    """A body is larger than its limit, or would become larger by decompression."""


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


def decompress(body: bytes, compression: object, limit: int) -> bytes:
    """Decompress a body.

    Args:
        body: as it arrived.
        compression: value of the header, one of kombu's names or content types.
        limit: greatest size of the result in bytes.

    Raises:
        OversizedError: the result would be larger.
        Exception: the body is damaged, or the compression is not known.
    """
    decoder = _DECODERS.get(compression) if isinstance(compression, str) else None
    if decoder is None:
        raise ValueError(f"compression {str(compression)[:60]!r} is not accepted")
    found: list[bytes] = []
    size = 0
    for _ in range(_MAX_STREAMS):
        stream = decoder()
        part: bytes = stream.decompress(body, limit - size + 1)
        size += len(part)
        if size > limit:
            raise OversizedError(f"expands to more than {limit} bytes")
        if not stream.eof:
            raise ValueError("the compressed body ends too early")
        found.append(part)
        body = stream.unused_data
        if not body:
            return b"".join(found)
    raise OversizedError(f"more than {_MAX_STREAMS} compressed streams in one body")


def _lzma() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(memlimit=_LZMA_MEMORY_BYTES)


_DECODERS: Final[dict[str, Callable[[], Any]]] = {
    **dict.fromkeys(("application/x-gzip", "gzip", "zlib"), zlib.decompressobj),
    **dict.fromkeys(("application/x-bz2", "bzip2", "bzip"), bz2.BZ2Decompressor),
    **dict.fromkeys(("application/x-lzma", "lzma", "xz"), _lzma),
}


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
                tag = getattr(args[0], "delivery_tag", None) if args else None
                kombu_message.Message.__init__(self, delivery_tag=tag)
                self.errors = [sys.exc_info()]

    channel.Message = RawMessage
