"""Prometheus' messages as the official protobuf package reads them.

The fields are those of ``io/prometheus/client/metrics.proto`` in prometheus/client_model 0.6, written down here by
name, number and type; the real Prometheus of the integration tests reads the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any, Final, TypeAlias

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, proto, timestamp_pb2
from google.protobuf.unknown_fields import UnknownFieldSet

#: Name, sorted labels and value.
Sample: TypeAlias = tuple[str, tuple[tuple[str, str], ...], float]

_PACKAGE: Final = "io.prometheus.client"
_MESSAGES: Final = """
LabelPair: 1 name string, 2 value string
Gauge: 1 value double
Counter: 1 value double, 2 exemplar Exemplar, 3 created_timestamp Timestamp
Quantile: 1 quantile double, 2 value double
Summary: 1 sample_count uint64, 2 sample_sum double, 3* quantile Quantile, 4 created_timestamp Timestamp
Untyped: 1 value double
Histogram: 1 sample_count uint64, 4 sample_count_float double, 2 sample_sum double, 3* bucket Bucket,
 15 created_timestamp Timestamp, 5 schema sint32, 6 zero_threshold double, 7 zero_count uint64,
 8 zero_count_float double, 9* negative_span BucketSpan, 10* negative_delta sint64, 11* negative_count double,
 12* positive_span BucketSpan, 13* positive_delta sint64, 14* positive_count double, 16* exemplars Exemplar
Bucket: 1 cumulative_count uint64, 4 cumulative_count_float double, 2 upper_bound double, 3 exemplar Exemplar
BucketSpan: 1 offset sint32, 2 length uint32
Exemplar: 1* label LabelPair, 2 value double, 3 timestamp Timestamp
Metric: 1* label LabelPair, 2 gauge Gauge, 3 counter Counter, 4 summary Summary, 5 untyped Untyped,
 7 histogram Histogram, 6 timestamp_ms int64
MetricFamily: 1 name string, 2 help string, 3 type MetricType, 4* metric Metric, 5 unit string
"""
_TYPES: Final = ("COUNTER", "GAUGE", "SUMMARY", "UNTYPED", "HISTOGRAM", "GAUGE_HISTOGRAM")


def _family_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="metrics.proto", package=_PACKAGE, syntax="proto2", dependency=[timestamp_pb2.DESCRIPTOR.name]
    )
    kinds = file.enum_type.add(name="MetricType")
    for number, name in enumerate(_TYPES):
        kinds.value.add(name=name, number=number)
    for line in _MESSAGES.replace(",\n", ",").strip().splitlines():
        name, _, fields = line.partition(": ")
        made = file.message_type.add(name=name)
        for each in fields.split(","):
            number_, star, field, kind = re.fullmatch(r"(\d+)(\*?) (\w+) (\w+)", each.strip()).groups()  # type: ignore[union-attr]  # our table
            added = made.field.add(name=field, number=int(number_), label=3 if star else 1)
            if kind.islower() or kind[0].islower():
                added.type = getattr(added, f"TYPE_{kind.upper()}")
            else:
                added.type = added.TYPE_ENUM if kind == "MetricType" else added.TYPE_MESSAGE
                package = "google.protobuf" if kind == "Timestamp" else _PACKAGE
                added.type_name = f".{package}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.MetricFamily"))


MetricFamily: Final = _family_class()


def read(page: bytes) -> list[Any]:
    """The families of a page, which must hold nothing else, nor anything that the package would write differently."""
    source, again, found = BytesIO(page), BytesIO(), []
    while family := proto.parse_length_prefixed(MetricFamily, source):
        proto.serialize_length_prefixed(family, again)
        _check_known(family)
        found.append(family)
    assert again.getvalue() == page
    return found


def _check_known(message: Any) -> None:
    assert len(UnknownFieldSet(message)) == 0
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in value if field.is_repeated else (value,):
                _check_known(each)


def labels_of(message: Any) -> dict[str, str]:
    """The labels of a series or an exemplar."""
    return {pair.name: pair.value for pair in message.label}


def samples(family: Any) -> Iterator[Sample]:
    """The samples that Prometheus takes from a family, classic buckets among them."""
    for metric in family.metric:
        labels = labels_of(metric)
        for suffix, extra, value in _points(metric):
            yield family.name + suffix, tuple(sorted({**labels, **extra}.items())), value


def _points(metric: Any) -> Iterator[tuple[str, dict[str, Any], float]]:
    for kind in ("counter", "gauge", "untyped"):
        if metric.HasField(kind):
            yield "", {}, getattr(metric, kind).value
    if metric.HasField("summary"):
        for each in metric.summary.quantile:
            yield "", {"quantile": each.quantile}, each.value
        yield "_count", {}, metric.summary.sample_count
        yield "_sum", {}, metric.summary.sample_sum
    if metric.HasField("histogram"):
        found = metric.histogram
        for bucket in found.bucket:
            number = bucket.cumulative_count_float or bucket.cumulative_count
            yield "_bucket", {"le": bucket.upper_bound}, number
        yield "_count", {}, found.sample_count_float or found.sample_count
        yield "_sum", {}, found.sample_sum
