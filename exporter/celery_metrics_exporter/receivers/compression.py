"""Decompress bodies without more memory than their limit, for messages with a header ``compression``.

Source of the facts: ``kombu/compression.py``, whose decoders have no limit: a few kilobytes can expand to gigabytes.
Celery itself never compresses an event (``celery/events/dispatcher.py``). zstd and brotli are refused, because we do
not depend on their libraries.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: Memory that the decoder of lzma may use beside its output: the highest preset of xz takes 65 MB.
_LZMA_MEMORY_BYTES: Final = 80 * 1024 * 1024
#: Compressed streams that may follow one another in one body.
_MAX_STREAMS: Final = 100


class OversizedError(Exception):
    """A body is larger than its limit, or would become larger by decompression."""


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
