"""Writes samples of any time into a Prometheus, native histograms and exemplars among them.

promtool 2.42 can write neither. Source of the facts: Prometheus' ``prompb/remote.proto`` and ``prompb/types.proto``
(remote write 1.0), https://prometheus.io/docs/specs/native_histograms, and Snappy's ``format_description.txt``.
"""

import math
import struct
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

#: For ``Prometheus(..., options=RECEIVES)``.
RECEIVES: Final = (
    "--web.enable-remote-write-receiver",
    "--enable-feature=native-histograms,exemplar-storage",
)
#: Samples of a request.
_BATCH: Final = 5000
_ZERO_THRESHOLD: Final = 2.0**-128
_VARINT, _DOUBLE, _BYTES = 0, 1, 2
#: The value that ends a series: a NaN of Prometheus' own.
STALE: Final = struct.unpack("<d", (0x7FF0000000000002).to_bytes(8, "little"))[0]


@dataclass(frozen=True, slots=True)
class NativeHistogram:
    """Counts of exponential buckets by their number: bucket k ends at 2^(k / 2^schema)."""

    buckets: Mapping[int, int]
    total: float
    zeros: int = 0
    schema: int = 3

    @classmethod
    def of(cls, values: Iterable[float], schema: int = 3) -> Self:
        """The histogram of these values, none of which is negative."""
        values = list(values)
        numbers = Counter(math.ceil(math.log2(value) * 2**schema) for value in values if value > 0)
        return cls(numbers, math.fsum(values), values.count(0), schema)

    def times(self, number: int) -> Self:
        """The histogram of these values, each of them ``number`` times."""
        buckets = {key: count * number for key, count in self.buckets.items()}
        return type(self)(buckets, self.total * number, self.zeros * number, self.schema)

    @property
    def count(self) -> int:
        """How many values there are."""
        return self.zeros + sum(self.buckets.values())


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A value with labels, at a time in seconds."""

    labels: Mapping[str, str]
    value: float
    at: float


@dataclass(frozen=True, slots=True)
class Series:
    """A series by its labels (``__name__`` among them) with samples (time in seconds, value)."""

    labels: Mapping[str, str]
    samples: Sequence[tuple[float, float | NativeHistogram]]
    exemplars: Sequence[Exemplar] = field(default=())


def write(url: str, series: Iterable[Series]) -> None:
    """Write them into the Prometheus at ``url``, the oldest samples first: it refuses what is an hour too late."""
    for batch in _batches(series):
        request = urllib.request.Request(  # noqa: S310 - always http on 127.0.0.1
            f"{url}/api/v1/write",
            data=_snappy(b"".join(_bytes(1, each) for each in batch)),
            headers={
                "Content-Encoding": "snappy",
                "Content-Type": "application/x-protobuf",
                "X-Prometheus-Remote-Write-Version": "0.1.0",
            },
        )
        with urllib.request.urlopen(request, timeout=60):  # noqa: S310 - as above
            pass


def _batches(series: Iterable[Series]) -> Iterator[list[bytes]]:
    moments: list[tuple[float, bytes]] = []
    for each in series:
        labels = b"".join(_labels(each.labels))
        moments += [(at, labels + _sample(at, value)) for at, value in each.samples]
        moments += [(exemplar.at, labels + _exemplar(exemplar)) for exemplar in each.exemplars]
    moments.sort(key=lambda moment: moment[0])
    for start in range(0, len(moments), _BATCH):
        yield [encoded for _, encoded in moments[start : start + _BATCH]]


def _labels(labels: Mapping[str, str]) -> Iterator[bytes]:
    for name, value in sorted(labels.items()):
        yield _bytes(1, _bytes(1, name.encode()) + _bytes(2, value.encode()))


def _sample(at: float, value: float | NativeHistogram) -> bytes:
    if isinstance(value, NativeHistogram):
        return _bytes(4, _histogram(value) + _integer(15, _milliseconds(at)))
    return _bytes(2, _double(1, value) + _integer(2, _milliseconds(at)))


def _exemplar(exemplar: Exemplar) -> bytes:
    labels = b"".join(_labels(exemplar.labels))
    return _bytes(3, labels + _double(2, exemplar.value) + _integer(3, _milliseconds(exemplar.at)))


def _histogram(value: NativeHistogram) -> bytes:
    spans, deltas = b"", b""
    after = before = 0
    for number in sorted(value.buckets):
        # Each bucket is a span of its own; the first offset is a number, others are gaps.
        spans += _bytes(11, _integer(1, _zigzag(number - after)) + _integer(2, 1))
        deltas += _varint(_zigzag(value.buckets[number] - before))
        after, before = number + 1, value.buckets[number]
    return (
        _integer(1, value.count)
        + _double(3, value.total)
        + _integer(4, _zigzag(value.schema))
        + _double(5, _ZERO_THRESHOLD)
        + _integer(6, value.zeros)
        + spans
        + _bytes(12, deltas)
    )


def _milliseconds(at: float) -> int:
    return round(at * 1000)


def _integer(number: int, value: int) -> bytes:
    return _varint(number << 3 | _VARINT) + _varint(value)


def _double(number: int, value: float) -> bytes:
    return _varint(number << 3 | _DOUBLE) + struct.pack("<d", value)


def _bytes(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(value)) + value


def _zigzag(value: int) -> int:
    return value * 2 if value >= 0 else -value * 2 - 1


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _snappy(data: bytes) -> bytes:
    """Snappy's block format without compression: one literal, whose length stands in four bytes."""
    return _varint(len(data)) + bytes([63 << 2]) + (len(data) - 1).to_bytes(4, "little") + data
