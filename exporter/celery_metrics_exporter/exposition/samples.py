"""Families of prometheus_client, and of its users' collectors, as messages: from their samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import isnan
from typing import Final, TypeAlias

from prometheus_client import Metric
from prometheus_client.samples import Exemplar, NativeHistogram, Sample, Timestamp

from celery_metrics_exporter.exposition import wire

#: Name, type (of ``io.prometheus.client.MetricType``) and series of a family.
Family: TypeAlias = tuple[str, int, list[bytes]]

COUNTER, GAUGE, SUMMARY, UNTYPED, HISTOGRAM, GAUGE_HISTOGRAM = range(6)
#: By type of prometheus_client: what follows the family's name in that of the message; its type; where the message of a
#: series has its value; and the suffixes of the samples of a series.
_KINDS: Final[Mapping[str, tuple[str, int, int, tuple[str, ...]]]] = {
    "counter": ("_total", COUNTER, 3, ("_total", "_created")),
    "gauge": ("", GAUGE, 2, ("",)),
    "stateset": ("", GAUGE, 2, ("",)),
    "info": ("_info", GAUGE, 2, ("_info",)),
    "unknown": ("", UNTYPED, 5, ("",)),
    "untyped": ("", UNTYPED, 5, ("",)),
    "summary": ("", SUMMARY, 4, ("", "_count", "_sum", "_created")),
    "histogram": ("", HISTOGRAM, 7, ("", "_bucket", "_count", "_sum", "_created")),
    "gaugehistogram": ("", GAUGE_HISTOGRAM, 7, ("_bucket", "_gcount", "_gsum")),
}
#: Where the message of a series has its time.
_TIME: Final = 6
_INFINITE: Final = float("inf")


@dataclass(slots=True)
class _Series:
    """What the samples of one series say. A number that is not there is None."""

    value: float | None = None
    count: float | None = None
    sum: float | None = None
    created: float | None = None
    points: list[tuple[float, float, Exemplar | None]] = field(
        default_factory=list
    )  # bound or quantile, number
    native: NativeHistogram | None = None
    exemplar: Exemplar | None = None
    timestamp: float | Timestamp | None = None


def names_of(metric: Metric) -> set[str]:
    """The names under which a family, or a part of it, can be asked for."""
    _, _, _, suffixes = _KINDS.get(metric.type, _KINDS["unknown"])
    return {metric.name, *(metric.name + suffix for suffix in suffixes)}


def families(metric: Metric) -> Iterator[Family]:
    """The family; what its type has no place for follows as families of their own, without a type."""
    suffix, kind, place, suffixes = _KINDS.get(metric.type, _KINDS["unknown"])
    series: dict[tuple[tuple[str, str], ...], _Series] = {}
    others: dict[str, list[Sample]] = {}
    for sample in metric.samples:
        found = sample.name.removeprefix(metric.name)
        if not sample.name.startswith(metric.name) or found not in suffixes or not _fits(kind, found, sample):
            others.setdefault(sample.name, []).append(sample)
            continue
        key = {"_bucket": "le", "": "quantile" if kind == SUMMARY else ""}.get(found, "")
        labels = tuple(sorted((name, value) for name, value in sample.labels.items() if name != key))
        _note(series.setdefault(labels, _Series()), found, sample, kind)
    yield metric.name + suffix, kind, [_message(labels, one, kind, place) for labels, one in series.items()]
    for name, samples in others.items():
        yield name, UNTYPED, [_untyped(sample) for sample in samples]


def _fits(kind: int, suffix: str, sample: Sample) -> bool:
    if suffix == "_bucket":
        return _is_number(sample.labels.get("le"))
    if suffix == "":
        if kind == SUMMARY:
            return _is_number(sample.labels.get("quantile"))
        return kind != HISTOGRAM or sample.native_histogram is not None
    return True


def _is_number(text: str | None) -> bool:
    try:
        return text is not None and not isnan(float(text))
    except ValueError:
        return False


def _note(series: _Series, suffix: str, sample: Sample, kind: int) -> None:
    if sample.timestamp is not None:
        series.timestamp = sample.timestamp
    if suffix == "_bucket":
        series.points.append((float(sample.labels["le"]), sample.value, sample.exemplar))
    elif suffix in {"_count", "_gcount"}:
        series.count = sample.value
    elif suffix in {"_sum", "_gsum"}:
        series.sum = sample.value
    elif suffix == "_created":
        series.created = float(sample.value)
    elif kind == SUMMARY:
        series.points.append((float(sample.labels["quantile"]), sample.value, None))
    elif kind == HISTOGRAM:
        series.native = sample.native_histogram
    else:
        series.value, series.exemplar = sample.value, sample.exemplar


def _message(labels: Iterable[tuple[str, str]], series: _Series, kind: int, place: int) -> bytes:
    if kind in {HISTOGRAM, GAUGE_HISTOGRAM}:
        value = wire.message(place, *_histogram(series))
    elif kind == SUMMARY:
        points = [
            wire.message(3, wire.double(1, share), wire.double(2, at)) for share, at, _ in series.points
        ]
        whole, _ = wire.count(1, 0, series.count or 0)
        value = wire.message(place, whole, _double(2, series.sum), *points, _created(4, series))
    else:
        value = wire.message(
            place, _double(1, series.value), _exemplar(2, series.exemplar), _created(3, series)
        )
    return wire.message(
        4, _with_time(wire.label_pairs(labels), value, series.timestamp, before=place > _TIME)
    )


def _histogram(series: _Series) -> Iterator[bytes]:
    native, points = series.native, sorted(series.points, key=lambda point: point[0])
    number = series.count
    if number is None:
        number = native.count_value if native else next((n for at, n, _ in points if at == _INFINITE), 0)
    total = native.sum_value if series.sum is None and native else series.sum
    whole, fractional = wire.count(1, 4, number)
    yield from (whole, _double(2, total))
    yield from (wire.bucket(each, bound, _exemplar(3, found)) for bound, each, found in points)
    yield fractional
    if native:
        yield wire.native_scale(native.schema, native.zero_threshold, native.zero_count)
        yield wire.native_buckets(9, native.neg_spans or (), native.neg_deltas or ())
        yield wire.native_buckets(12, native.pos_spans or (), native.pos_deltas or ())
    yield _created(15, series)
    if native:
        yield from (_exemplar(16, each) for each in native.nh_exemplars or ())


def _untyped(sample: Sample) -> bytes:
    value = wire.message(5, _double(1, sample.value))
    return wire.message(4, _with_time(wire.label_pairs(sample.labels.items()), value, sample.timestamp))


def _with_time(labels: bytes, value: bytes, time: float | Timestamp | None, *, before: bool = False) -> bytes:
    if time is None:
        return labels + value
    stamp = wire.integer(_TIME, round(float(time) * 1000))
    return labels + (stamp + value if before else value + stamp)


def _exemplar(number: int, found: Exemplar | None) -> bytes:
    return b"" if found is None else wire.exemplar(number, found.labels.items(), found.value, found.timestamp)


def _double(number: int, value: float | None) -> bytes:
    return b"" if value is None else wire.double(number, float(value))


def _created(number: int, series: _Series) -> bytes:
    return b"" if series.created is None else wire.timestamp(number, series.created)
