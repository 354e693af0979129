"""Encode a registry as text: the same bytes as prometheus_client's encoders, at a fraction of their cost.

There are two kinds of families:

- Our own families (``exposition.rows``) hold numbers by label values. The text between the name and the number of a
  line, ``{queue="q",task="t"} ``, is the same in every family with these labels, in both formats and in every scrape.
  It is cached by label values; a scrape only adds names and numbers.
- For other families the text before the number of a line is cached by name and labels. It is cut out of what
  prometheus_client's encoder writes for this one sample, and so are HELP, TYPE and UNIT of all families: the library
  keeps the rules for names and formats. It encodes a family with anything unusual (timestamps, exemplars, native
  histograms, ``_created``, other samples that the text format moves) completely.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from functools import partial
from io import BytesIO
from itertools import accumulate
from typing import Final, NamedTuple, TypeAlias

from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from celery_metrics_exporter.exemplar import Exemplar
from celery_metrics_exporter.exposition.accept import PROTOBUF, best_format
from celery_metrics_exporter.exposition.cache import Cache
from celery_metrics_exporter.exposition.exemplars import label_pairs
from celery_metrics_exporter.exposition.protobuf import CONTENT_TYPE, ProtobufEncoder
from celery_metrics_exporter.exposition.rows import HistogramRows, Labels, Rows, ValueRows, go_string

Encode: TypeAlias = Callable[[Collector], bytes]

#: Escaping schemes that do not change our names, which consist of letters, digits and underscores.
_VERBATIM: Final = frozenset((openmetrics.UNDERSCORES, openmetrics.ALLOWUTF8))
#: The text format puts samples with these suffixes at the end, as families of their own.
_MOVED_SUFFIXES: Final = ("_created", "_gsum", "_gcount")
#: How prometheus_client ends a line with the number 0.
_ZERO: Final = "0.0\n"
#: Numbers from here on have an exponent, see prometheus_client's ``floatToGoString``.
_EXPONENT: Final = 1_000_000
#: Integers up to here are exact as floats.
_EXACT: Final = 2**53
#: Timestamp, exemplar and native histogram of an ordinary sample.
_NO_EXTRAS: Final = [None, None, None]
#: The exponent of a number, by its digits before the point less one.
_TENS: Final = tuple(f"e+{digits:02d}" for digits in range(17))
#: Lines that are encoded in one step.
_BATCH_LINES: Final = 500


class Encoder:
    """Encodes /metrics of a registry. Any thread may use it; it caches the texts that recent scrapes needed."""

    def __init__(self) -> None:
        self._label_texts: dict[Labels, _LabelTexts] = {}  # by label names
        self._formats: dict[tuple[str, str], _Format] = {}  # by name and escaping scheme
        self._protobuf = ProtobufEncoder()

    def choose(self, accept: str) -> tuple[Encode, str]:
        """The encoder and the content type for this Accept header, or for what ``best_format`` made of it."""
        form = best_format(accept)
        if form == PROTOBUF:
            return self._protobuf.encode, CONTENT_TYPE
        theirs, content_type = choose_encoder(form)
        options = theirs.keywords if isinstance(theirs, partial) else {}
        ours = self.openmetrics if content_type.startswith("application/openmetrics-text") else self.text
        return partial(ours, **options), content_type

    def text(self, registry: Collector, escaping: str = openmetrics.UNDERSCORES) -> bytes:
        """The bytes of ``prometheus_client.generate_latest``."""
        return self._encode(registry, "text", escaping, partial(generate_latest, escaping=escaping))

    def openmetrics(
        self, registry: Collector, escaping: str = openmetrics.UNDERSCORES, version: str = "1.0.0"
    ) -> bytes:
        """The bytes of ``prometheus_client.openmetrics.exposition.generate_latest``."""
        theirs = partial(openmetrics.generate_latest, escaping=escaping, version=version)
        return self._encode(registry, "openmetrics", escaping, theirs)

    def _encode(self, registry: Collector, name: str, escaping: str, theirs: Encode) -> bytes:
        """Encode in small steps: none keeps other threads from running for long, and memory is reused at once."""
        form = self._formats.get((name, escaping))
        if form is None:
            form = self._formats[name, escaping] = _Format(theirs)
        page = BytesIO()
        own_lines = partial(self._own_lines, escaping=escaping, with_exemplars=name == "openmetrics")
        for metric in registry.collect():
            page.write(form.header(metric, theirs).encode())
            for lines in own_lines(metric) or form.lines(metric, theirs):
                page.write(lines)
        page.write(form.end.encode())
        form.trim()
        for texts in tuple(self._label_texts.values()):  # another thread's scrape may add to them
            texts.trim()
        return page.getvalue()

    def _own_lines(self, metric: Metric, *, escaping: str, with_exemplars: bool) -> Iterator[bytes] | None:
        """The lines of one of our families; None for another family, and for names that need the library."""
        if escaping in _VERBATIM:
            if isinstance(metric, ValueRows):
                return _value_lines(
                    metric, self._label_texts_of(metric), metric.exemplars if with_exemplars else {}
                )
            if isinstance(metric, HistogramRows) and min(metric.label_names, default="le") >= "le":
                return _histogram_lines(
                    metric,
                    self._label_texts_of(metric),
                    with_exemplars=with_exemplars and metric.bounds != (),
                )
        return None

    def _label_texts_of(self, metric: Rows) -> _LabelTexts:
        texts = self._label_texts.get(metric.label_names)
        if texts is None:
            texts = self._label_texts[metric.label_names] = _LabelTexts(metric.label_names)
        texts.needed = max(texts.needed, len(metric.labels))
        return texts


class _LabelTexts(Cache[Labels, str]):
    """Label values -> the text between the name and the number of a line."""

    def __init__(self, label_names: Labels) -> None:
        super().__init__()
        self._order = sorted((name, position) for position, name in enumerate(label_names))

    def __missing__(self, labels: Labels) -> str:
        pairs = ",".join([f'{name}="{_escaped(labels[position])}"' for name, position in self._order])
        text = self[labels] = f"{{{pairs}}} " if pairs else " "
        return text


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _value_lines(metric: ValueRows, texts: _LabelTexts, exemplars: Mapping[int, Exemplar]) -> Iterator[bytes]:
    (name,) = metric.sample_names
    for start in range(0, len(metric.labels), _BATCH_LINES):
        end = start + _BATCH_LINES
        labels, values = metric.labels[start:end], metric.values[start:end]
        lines = [
            f"{name}{texts[key]}{value}.0\n"
            if type(value) is int and -_EXPONENT < value < _EXPONENT
            else f"{name}{texts[key]}{number(value)}\n"
            for key, value in zip(labels, values, strict=True)
        ]
        for place, exemplar in exemplars.items():
            if start <= place < end:
                lines[place - start] = f"{lines[place - start][:-1]}{_exemplar_text(exemplar)}\n"
        yield "".join(lines).encode()


def _exemplar_text(exemplar: Exemplar) -> str:
    """The exemplar after the number of its line; "" if it has no room."""
    pairs = ",".join([f'{name}="{_escaped(value)}"' for name, value in label_pairs(exemplar)])
    return f" # {{{pairs}}} {number(exemplar.value)} {exemplar.time}" if pairs else ""


def _histogram_lines(metric: HistogramRows, texts: _LabelTexts, *, with_exemplars: bool) -> Iterator[bytes]:
    """The lines of one series at a time: one step formats all numbers, another one inserts the labels.

    With bytes this takes 0.7 of the time that it takes with str.
    """
    *buckets, count, total = metric.sample_names
    after_bound, after_name = (",\0", "{\0") if metric.label_names else ("} ", " ")
    lines = [f'{name}{{le="{bound}"{after_bound}%d.0\n' for name in buckets for bound in metric.bounds]
    template = "".join([*lines, f"{count}{after_name}%d.0\n{total}{after_name}%a\n"])
    usual, large = template.encode(), template.replace("%d.0", "%b").replace("%a", "%b").encode()
    for labels, counts, sum_, exemplars in zip(
        metric.labels, metric.counts, metric.sums, metric.exemplars, strict=True
    ):
        cumulative = tuple(accumulate(counts))
        shown = (*cumulative[: len(lines)], cumulative[-1])
        if cumulative[-1] < _EXPONENT and 0 <= sum_ < _EXPONENT:
            text = usual % (*shown, float(sum_))
        else:
            numbers = {value: number(value).encode() for value in set(cumulative)}
            text = large % (*map(numbers.get, shown), number(sum_).encode())
        text = text.replace(b"\0", texts[labels][1:].encode())
        if with_exemplars and exemplars:
            parts = text.split(b"\n")
            for place, exemplar in enumerate(exemplars):
                if exemplar is not None:
                    parts[place] += _exemplar_text(exemplar).encode()
            text = b"\n".join(parts)
        yield text


def number(value: float) -> str:
    """The value as in both formats: prometheus_client's ``floatToGoString``, with the frequent cases first."""
    if type(value) is int and _EXPONENT <= value <= _EXACT:
        whole, fraction = str(value), ""
    else:
        value = float(value)
        if -_EXACT < value < _EXPONENT:
            return repr(value)
        if not _EXPONENT <= value < _EXACT:
            return go_string(value)
        whole, _, fraction = repr(value).partition(".")
    return f"{whole[0]}.{whole[1:]}{fraction}".rstrip("0.") + _TENS[len(whole) - 1]


class _Only(NamedTuple):
    """A registry with these families only."""

    metrics: Sequence[Metric] = ()

    def collect(self) -> Sequence[Metric]:
        """The families."""
        return self.metrics


class _Format:
    """Texts that prometheus_client's encoder (``theirs``) writes in one format with one escaping scheme."""

    def __init__(self, theirs: Encode) -> None:
        self.end = theirs(_Only()).decode()
        self._headers: Cache[tuple[str, ...], str] = Cache()
        self._prefixes: Cache[tuple[object, ...], str] = Cache()

    def header(self, metric: Metric, theirs: Encode) -> str:
        """HELP, TYPE and UNIT of a family."""
        key = (metric.name, metric.documentation, metric.type, metric.unit)
        self._headers.needed += 1
        header = self._headers.get(key)
        if header is None:
            header = self._headers[key] = self._written(metric, (), theirs)
        return header

    def lines(self, metric: Metric, theirs: Encode) -> Iterator[bytes]:
        """The lines of a family after its header."""
        moved = {metric.name + suffix for suffix in _MOVED_SUFFIXES}
        header = len(self.header(metric, theirs))
        lines = []
        for sample in metric.samples:
            name, labels, value, *extras = sample
            if name in moved or extras != _NO_EXTRAS:
                yield self._written(metric, metric.samples, theirs)[header:].encode()
                return
            key = (name, *labels.items())
            prefix = self._prefixes.get(key)
            if prefix is None:
                line = self._written(metric, (Sample(name, labels, 0),), theirs)
                prefix = self._prefixes[key] = line[header : -len(_ZERO)]
            lines.append(f"{prefix}{number(value)}\n")
        self._prefixes.needed += len(lines)
        yield "".join(lines).encode()

    def trim(self) -> None:
        """Trim the caches at the end of a scrape."""
        self._headers.trim()
        self._prefixes.trim()

    def _written(self, metric: Metric, samples: Sequence[Sample], theirs: Encode) -> str:
        part = copy(metric)
        part.samples = list(samples)
        return theirs(_Only((part,))).decode().removesuffix(self.end)
