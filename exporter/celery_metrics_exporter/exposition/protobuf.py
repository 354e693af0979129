"""Encode a registry as Prometheus' protobuf messages, the only format that has native histograms.

Each family is a message with its length before it. Our own families (``exposition.rows``) are written from their
numbers: the bytes of a series' labels are the same in every scrape, and are cached by label values. Other families go
through their samples (``exposition.samples``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from io import BytesIO
from itertools import accumulate
from typing import Final, NamedTuple, TypeVar

from prometheus_client import Metric
from prometheus_client.registry import Collector

from celery_metrics_exporter.bucket_counts import Native
from celery_metrics_exporter.cells import ZERO_THRESHOLD
from celery_metrics_exporter.exemplar import Exemplar
from celery_metrics_exporter.exposition import wire
from celery_metrics_exporter.exposition.accept import PROTOBUF
from celery_metrics_exporter.exposition.cache import Cache
from celery_metrics_exporter.exposition.exemplars import label_pairs
from celery_metrics_exporter.exposition.rows import HistogramRows, Labels, Rows, ValueRows
from celery_metrics_exporter.exposition.samples import COUNTER, GAUGE, HISTOGRAM, families, names_of

_KeyT = TypeVar("_KeyT")

CONTENT_TYPE: Final = f"{PROTOBUF}; proto=io.prometheus.client.MetricFamily; encoding=delimited"
# In the templates below stand the tags of fields: \x22 of a series in its family, \x3a of a histogram in its series,
# \x08 of its count, \x11 of its sum, \x1a of a bucket, \x09 of the number in a counter or a gauge.
#: The tag of a counter or a gauge in its series.
_VALUE: Final = {COUNTER: b"\x1a", GAUGE: b"\x12"}
#: A double with its tag.
_NUMBER_LENGTH: Final = 9
_CREATED_OF_COUNTER, _CREATED_OF_HISTOGRAM = b"\x1a", b"\x7a"


class ProtobufEncoder:
    """Encodes /metrics of a registry. Any thread may use it; it caches the labels that recent scrapes needed."""

    def __init__(self) -> None:
        self._pairs: dict[Labels, _Pairs] = {}  # by label names
        self._times = _Times()

    def encode(self, registry: Collector) -> bytes:
        """The messages of all families."""
        page = BytesIO()
        for metric in registry.collect():
            if isinstance(metric, HistogramRows) and metric.want_native():
                return self.encode(registry)
            for name, kind, series in self._families(metric):
                head = [wire.text(1, name), wire.text(2, metric.documentation), wire.integer(3, kind)]
                unit = wire.text(5, metric.unit) if metric.unit else b""
                body = b"".join([*head, *series, unit])
                page.write(wire.varint(len(body)))
                page.write(body)
        for pairs in tuple(self._pairs.values()):  # another thread's scrape may add to them
            pairs.trim()
        self._times.trim()
        return page.getvalue()

    def _families(self, metric: Metric) -> Iterator[tuple[str, int, list[bytes]]]:
        if isinstance(metric, ValueRows):
            kind = COUNTER if metric.type == "counter" else GAUGE
            yield (
                metric.sample_names[0],
                kind,
                _value_series(metric, kind, self._pairs_of(metric), self._times),
            )
        elif isinstance(metric, HistogramRows):
            yield metric.name, HISTOGRAM, _histogram_series(metric, self._pairs_of(metric), self._times)
        else:
            yield from families(metric)

    def _pairs_of(self, metric: Rows) -> _Pairs:
        pairs = self._pairs.get(metric.label_names)
        if pairs is None:
            pairs = self._pairs[metric.label_names] = _Pairs(metric.label_names)
        pairs.needed = max(pairs.needed, len(metric.labels))
        self._times.needed = max(self._times.needed, pairs.needed)
        return pairs


class Chosen(NamedTuple):
    """A registry with those families of another one of which somebody named a part.

    A family is one message: a part of a histogram could be told from an empty one by nobody.
    """

    registry: Collector
    names: Collection[str]

    def collect(self) -> Iterator[Metric]:
        """The families."""
        return (each for each in self.registry.collect() if not names_of(each).isdisjoint(self.names))


class _Pairs(Cache[Labels, bytes]):
    """Label values -> the labels in a series."""

    def __init__(self, label_names: Labels) -> None:
        super().__init__()
        self._names = label_names

    def __missing__(self, labels: Labels) -> bytes:
        pairs = self[labels] = wire.label_pairs(zip(self._names, labels, strict=True))
        return pairs


def _value_series(metric: ValueRows, kind: int, pairs: _Pairs, times: _Times) -> list[bytes]:
    """The series of a counter or a gauge."""
    varint, pack, tag, is_counter = wire.varint, wire.pack_double, _VALUE[kind], kind == COUNTER
    found, time = [], b""
    for labels, value, created in zip(metric.labels, metric.values, metric.created, strict=True):
        if is_counter:
            time = times[created or metric.since]
        size = len(time) + _NUMBER_LENGTH
        head = pairs[labels]
        found.append(
            b"\x22%b%b%b%b\x09%b%b"
            % (varint(len(head) + 2 + size), head, tag, varint(size), pack(value), time)
        )
    for place, exemplar in metric.exemplars.items():
        time = times[metric.created[place] or metric.since]
        counter = wire.message(3, wire.double(1, metric.values[place]), _exemplar(2, exemplar, times), time)
        found[place] = wire.message(4, pairs[metric.labels[place]], counter)
    return found


def _histogram_series(metric: HistogramRows, pairs: _Pairs, times: _Times) -> list[bytes]:
    """The series of a histogram: all its buckets in one step, in which few numbers come up again and again."""
    varint, pack = wire.varint, wire.pack_double
    start_of, natives = _Encoded[int](_bucket_start).__getitem__, _Natives()
    parts = [b""] * (2 * len(metric.bounds))
    parts[1::2] = [wire.double(2, float(bound)) for bound in metric.bounds]
    found = []
    for labels, counts, sum_, created, exemplars, source in zip(
        metric.labels,
        metric.counts,
        metric.sums,
        metric.created,
        metric.exemplars,
        metric.sources,
        strict=True,
    ):
        native = None
        if source is not None:
            now = source.snapshot()
            counts, sum_, native = now.classic(), now.total, now.native()  # noqa: PLW2901 - of one moment
        cumulative = tuple(accumulate(counts))
        parts[::2] = map(start_of, cumulative[: len(metric.bounds)])
        buckets = _with_exemplars(parts, cumulative, exemplars, times) if exemplars and parts else parts
        body = b"\x08%b\x11%b%b%b%b%b" % (
            varint(cumulative[-1]),
            pack(sum_),
            b"".join(buckets),
            natives.encoded(native),
            times[created or metric.since].replace(_CREATED_OF_COUNTER, _CREATED_OF_HISTOGRAM, 1),
            b""
            if parts
            else b"".join(_exemplar(16, each, times) for each in sorted(filter(None, exemplars), key=_time)),
        )
        size, head = varint(len(body)), pairs[labels]
        length = varint(len(head) + 1 + len(size) + len(body))
        found.append(b"\x22%b%b\x3a%b%b" % (length, head, size, body))
    return found


def _with_exemplars(
    parts: Sequence[bytes], cumulative: Sequence[int], exemplars: Sequence[Exemplar | None], times: _Times
) -> list[bytes]:
    """The same buckets, some with exemplars. Prometheus takes these for native histograms too."""
    found = list(parts)
    for place, exemplar in enumerate(exemplars):
        if exemplar is not None:
            bucket = (wire.integer(1, cumulative[place]), parts[2 * place + 1], _exemplar(3, exemplar, times))
            found[2 * place : 2 * place + 2] = wire.message(3, *bucket), b""
    return found


def _exemplar(field: int, exemplar: Exemplar, times: _Times) -> bytes:
    labels = label_pairs(exemplar)
    if not labels:
        return b""
    times.needed += 1
    return wire.message(field, wire.label_pairs(labels), wire.double(2, exemplar.value), times[exemplar.time])


def _time(exemplar: Exemplar) -> float:
    return exemplar.time


class _Natives:
    """Encodes native buckets, of which parts come up again and again; to be kept for one family."""

    def __init__(self) -> None:
        self._scales = _Encoded[tuple[int, int]](
            lambda scale: wire.native_scale(scale[0], ZERO_THRESHOLD, scale[1])
        )
        self._spans = _Encoded[tuple[int, int]](lambda span: wire.native_span(12, *span))
        self._deltas = _Encoded[int](lambda delta: wire.signed(13, delta))

    def encoded(self, native: Native | None) -> bytes:
        """The native buckets; the zero bucket tells that there are some, before any has a value."""
        if native is None:
            return b""
        scale = self._scales[native.schema, native.zero_count]
        spans = map(self._spans.__getitem__, native.spans)
        return b"".join((scale, *spans, *map(self._deltas.__getitem__, native.deltas)))


class _Encoded(dict[_KeyT, bytes]):
    """Parts of a message that were made before."""

    def __init__(self, encode: Callable[[_KeyT], bytes]) -> None:
        self._encode = encode

    def __missing__(self, key: _KeyT) -> bytes:
        part = self[key] = self._encode(key)
        return part


class _Times(Cache[float, bytes]):
    """Epoch seconds -> the time of creation in a counter, which an exemplar has in the same field."""

    def __missing__(self, seconds: float) -> bytes:
        time = self[seconds] = wire.timestamp(3, seconds) if seconds else b""
        return time


def _bucket_start(number: int) -> bytes:
    """All of a bucket that stands before its bound, by the number of values up to that."""
    inner = wire.integer(1, number)
    return b"\x1a" + wire.varint(len(inner) + _NUMBER_LENGTH) + inner
