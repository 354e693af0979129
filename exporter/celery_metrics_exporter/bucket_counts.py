"""The numbers of a distribution at one moment, by classic and by native bucket."""

from __future__ import annotations

from typing import Final, NamedTuple

from celery_metrics_exporter.cells import Cells

#: Empty native buckets that are cheaper than a new span (``prometheus/histogram.go`` of Go's client, ``makeBuckets``).
_MAX_GAP: Final = 2


class Native(NamedTuple):
    """Native buckets as Prometheus' protobuf messages have them.

    Attributes:
        schema: the resolution.
        zero_count: number of values in the zero bucket.
        spans: of each row of buckets its distance to the one before, for the first one its bucket, and its length.
        deltas: of each bucket in the spans the number of values in it, less that of the bucket before.
    """

    schema: int
    zero_count: int
    spans: list[tuple[int, int]]
    deltas: list[int]


class BucketCounts:
    """What a distribution was at one moment; the numbers of both kinds are of the same values.

    Attributes:
        cells: what the numbers are of.
        numbers: of the values in each cell.
        total: sum of all values.
    """

    __slots__ = ("cells", "numbers", "total")

    def __init__(self, cells: Cells, numbers: dict[int, int], total: float) -> None:
        self.cells = cells
        self.numbers = numbers
        self.total = total

    def classic(self) -> tuple[int, ...]:
        """How many values are in each classic bucket, those beyond all bounds last."""
        counts = [0] * (len(self.cells.classic_bounds) + 1)
        bucket_of = self.cells.classic
        for cell, number in self.numbers.items():
            counts[bucket_of[cell]] += number
        return tuple(counts)

    def native(self) -> Native | None:
        """The native buckets; None if there shall be none."""
        cells = self.cells
        if cells.schema is None:
            return None
        numbers = native_counts(cells, self.numbers)
        zero_count = numbers.pop(cells.zero, 0)
        spans: list[tuple[int, int]] = []
        deltas: list[int] = []
        offset = length = following = before = 0
        for bucket, number in sorted(numbers.items()):
            gap = bucket - following
            if gap:
                if not length or gap > _MAX_GAP:
                    if length:
                        spans.append((offset, length))
                    offset, length = gap, 0
                else:
                    deltas += (-before, 0)[:gap]
                    length, before = length + gap, 0
            deltas.append(number - before)
            length, before, following = length + 1, number, bucket + 1
        if length:
            spans.append((offset, length))
        return Native(cells.schema, zero_count, spans, deltas)


def native_counts(cells: Cells, counts: dict[int, int]) -> dict[int, int]:
    """Number of values by native bucket."""
    numbers: dict[int, int] = {}
    for cell, number in counts.items():
        bucket = cells.native[cell]
        numbers[bucket] = numbers.get(bucket, 0) + number
    return numbers
