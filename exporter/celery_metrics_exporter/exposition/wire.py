"""The parts of Prometheus' protobuf messages, as bytes.

Source of the facts: ``io/prometheus/client/metrics.proto`` of prometheus/client_model (version 2 of the language, so
that numbers of a list are not packed), and the encoding of protobuf: https://protobuf.dev/programming-guides/encoding.
Fields are written in ascending order, and those that a message has are written though they are 0, as Go's client does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from struct import Struct
from typing import Final

from prometheus_client.samples import Timestamp

_VARINT, _DOUBLE, _BYTES = 0, 1, 2
_U64: Final = (1 << 64) - 1
_NANOS: Final = 1_000_000_000
_MAX_SECONDS: Final = 1e11

#: A double in eight bytes.
pack_double: Final = Struct("<d").pack


def _make_varint(number: int) -> bytes:
    parts = bytearray()
    while number > 127:  # noqa: PLR2004 - of seven bits
        parts.append(number & 127 | 128)
        number >>= 7
    parts.append(number)
    return bytes(parts)


#: The frequent ones: lengths, and numbers of what is rare.
_USUAL: Final = tuple(map(_make_varint, range(4096)))


def varint(number: int) -> bytes:
    """An integer in as many bytes as it needs; a negative one has ten."""
    return _USUAL[number] if 0 <= number < len(_USUAL) else _make_varint(number & _U64)


def message(field: int, *parts: bytes) -> bytes:
    """A message, or a text, as a field of another message."""
    body = b"".join(parts)
    return varint(field << 3 | _BYTES) + varint(len(body)) + body


def text(field: int, value: str) -> bytes:
    """A text in UTF-8."""
    return message(field, value.encode())


def double(field: int, value: float) -> bytes:
    """A number as it is."""
    return varint(field << 3 | _DOUBLE) + pack_double(value)


def integer(field: int, number: int) -> bytes:
    """An integer, short if it is small and not negative."""
    return varint(field << 3 | _VARINT) + varint(number)


def signed(field: int, number: int) -> bytes:
    """An integer of either sign, short if it is near 0."""
    return integer(field, number << 1 if number >= 0 else (-number << 1) - 1)


def count(field: int, float_field: int, number: float) -> tuple[bytes, bytes]:
    """A number of observations in one of two fields, and nothing for the other: only an integer fits into the first."""
    if 0 <= number <= _U64 and number == int(number):
        return integer(field, int(number)), b""
    return b"", double(float_field, number)


def timestamp(field: int, seconds: float | Timestamp) -> bytes:
    """A time since the epoch; nothing for what is none."""
    if not abs(float(seconds)) < _MAX_SECONDS:
        return b""
    if isinstance(seconds, Timestamp):
        whole, nanos = seconds.sec, seconds.nsec
    else:
        whole = math.floor(seconds)
        nanos = min(round((seconds - whole) * _NANOS), _NANOS - 1)
    return message(field, integer(1, whole) if whole else b"", integer(2, nanos) if nanos else b"")


def label_pairs(labels: Iterable[tuple[str, str]]) -> bytes:
    """The labels of a series or an exemplar, which are the first field of both; sorted by name, as in the text."""
    pairs = []
    for name, value in sorted(labels):
        key, content = name.encode(), value.encode()
        pair = b"\x0a%b%b\x12%b%b" % (varint(len(key)), key, varint(len(content)), content)
        pairs.append(b"\x0a%b%b" % (varint(len(pair)), pair))
    return b"".join(pairs)


def exemplar(
    field: int, labels: Iterable[tuple[str, str]], value: float, time: float | Timestamp | None
) -> bytes:
    """An exemplar."""
    return message(field, label_pairs(labels), double(2, value), b"" if time is None else timestamp(3, time))


def bucket(number: float, bound: float, found: bytes = b"") -> bytes:
    """A classic bucket: the number of values up to its bound, and its exemplar as field 3."""
    whole, fractional = count(1, 4, number)
    return message(3, whole, double(2, bound), found, fractional)


def native_scale(schema: int, zero_threshold: float, zero_count: float) -> bytes:
    """The resolution and the zero bucket of a native histogram."""
    return b"".join((signed(5, schema), double(6, zero_threshold), *count(7, 8, zero_count)))


def native_span(field: int, offset: int, length: int) -> bytes:
    """A row of negative (9) or positive (12) buckets, and its distance to the one before."""
    return message(field, signed(1, offset), integer(2, length))


def native_buckets(field: int, spans: Iterable[tuple[int, int]], deltas: Iterable[int]) -> bytes:
    """The negative (9) or positive (12) buckets of a native histogram, as prometheus_client holds them."""
    return b"".join(
        [
            *(native_span(field, *span) for span in spans),
            *(signed(field + 1, delta) for delta in deltas),
        ]
    )
