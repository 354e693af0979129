"""Decompression that cannot fill the memory, for messages with a header ``compression``.

Owns: the compressions that event messages may come in, and their limits. Must not know: messages, events, metrics.

Source of the facts: ``kombu/compression.py``, whose decoders take whatever a few kilobytes unfold to. Celery itself
never compresses an event (``celery/events/dispatcher.py``). zstd and brotli are refused: their libraries are none of
our dependencies.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: What a decoder of lzma may need beside its output: the highest preset of xz takes 65 MB.
_LZMA_MEMORY: Final = 80 * 1024 * 1024
#: Compressed texts may follow one another in a body; more of them than this are no message.
_MAX_STREAMS: Final = 100


class OversizedError(Exception):
    """A body would unfold to more than its limit."""


def decompress(body: bytes, compression: object, limit: int) -> bytes:
    """Unfold a body.

    Args:
        body: as it came.
        compression: value of the header, one of kombu's names or content types.
        limit: bytes that the result may have.

    Raises:
        OversizedError: the result is larger.
        Exception: the body is damaged, or the compression not known.
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
            raise OversizedError(f"unfolds to more than {limit} bytes")
        if not stream.eof:
            raise ValueError("the compressed body ends too early")
        found.append(part)
        body = stream.unused_data
        if not body:
            return b"".join(found)
    raise OversizedError(f"more than {_MAX_STREAMS} compressed bodies in one")


def _lzma() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(memlimit=_LZMA_MEMORY)


_DECODERS: Final[dict[str, Callable[[], Any]]] = {
    **dict.fromkeys(("application/x-gzip", "gzip", "zlib"), zlib.decompressobj),
    **dict.fromkeys(("application/x-bz2", "bzip2", "bzip"), bz2.BZ2Decompressor),
    **dict.fromkeys(("application/x-lzma", "lzma", "xz"), _lzma),
}
