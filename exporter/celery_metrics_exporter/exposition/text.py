"""Registries as text: the bytes of prometheus_client's encoders, for a fraction of what those cost.

Two ways lead to a line:

- A family of ours (``exposition.rows``) holds numbers by label values. What stands between the name and the number of a
  line, ``{queue="q",task="t"} ``, is the same in every family with these labels, in both formats, in each scrape. It is
  made once for each set of label values; a scrape puts names and numbers around it.
- Of any other family, what stands before the number of a line is remembered by name and labels. It is not made here but
  cut out of what prometheus_client's encoder writes of that one sample, and so are HELP, TYPE and UNIT of all families:
  the rules for names and formats stay theirs. A family with anything rare in it (timestamps, exemplars, native
  histograms, ``_created`` and what else moves in the text format) is left to them whole.

Owns: the encoders and what they remember. Must not know: any particular metric, the web.
"""

from __future__ import annotations

from copy import copy
from functools import partial
from io import BytesIO
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, TypeVar

from prometheus_client.exposition import choose_encoder, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.samples import Sample

from celery_metrics_exporter.exposition.rows import HistogramRows, Labels, Rows, ValueRows, go_string

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from prometheus_client import Metric
    from prometheus_client.registry import Collector

    Encode: TypeAlias = Callable[[Collector], bytes]

_KeyT = TypeVar("_KeyT")

#: Escaping schemes that leave our names, of letters, digits and underscores, as they are.
_VERBATIM: Final = frozenset((openmetrics.UNDERSCORES, openmetrics.ALLOWUTF8))
#: Samples with these endings come last in the text format, as families of their own.
_LATE: Final = ("_created", "_gsum", "_gcount")
#: What prometheus_client writes of the number 0, and the end of its line.
_ZERO: Final = "0.0\n"
#: Numbers from here on have an exponent, see prometheus_client's ``floatToGoString``.
_EXPONENT: Final = 1_000_000
#: Integers up to here are floats too, digit for digit.
_EXACT: Final = 2**53
#: What the fields of a sample after its value are, mostly.
_NOTHING: Final = [None, None, None]
#: The exponent of a number, by one less than its digits before the point.
_TENS: Final = tuple(f"e+{digits:02d}" for digits in range(17))
#: Lines that are written at once.
_PIECE: Final = 500
#: As many entries may be remembered whatever a scrape needs.
_SPARE: Final = 1000


class Encoder:
    """Makes /metrics of a registry. Any thread may use it; it remembers what the latest scrapes needed."""

    def __init__(self) -> None:
        self._tails: dict[Labels, _Tails] = {}  # by label names
        self._formats: dict[tuple[str, str], _Format] = {}  # by name and escaping scheme

    def choose(self, accept: str) -> tuple[Encode, str]:
        """The encoder for this Accept header and its content type, as prometheus_client's ``choose_encoder``."""
        try:
            theirs, content_type = choose_encoder(accept)
        except TypeError:  # it compares numbers with a version that is none, as in version=x
            theirs, content_type = choose_encoder("")
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
        """Write a piece at a time: no step keeps other threads from the interpreter, memory is used again at once."""
        form = self._formats.get((name, escaping))
        if form is None:
            form = self._formats[name, escaping] = _Format(theirs)
        page = BytesIO()
        for metric in registry.collect():
            page.write(form.header(metric, theirs).encode())
            for lines in self._pieces(metric, escaping) or form.pieces(metric, theirs):
                page.write(lines)
        page.write(form.end.encode())
        form.settle()
        for tails in tuple(self._tails.values()):  # another thread's scrape may add to them
            tails.settle()
        return page.getvalue()

    def _pieces(self, metric: Metric, escaping: str) -> Iterator[bytes] | None:
        """The lines of a family of ours, unless something about its names is not as usual."""
        if escaping in _VERBATIM:
            if isinstance(metric, ValueRows):
                return _value_lines(metric, self._tails_of(metric))
            if isinstance(metric, HistogramRows) and min(metric.label_names, default="le") >= "le":
                return _histogram_lines(metric, self._tails_of(metric))
        return None

    def _tails_of(self, metric: Rows) -> _Tails:
        tails = self._tails.get(metric.label_names)
        if tails is None:
            tails = self._tails[metric.label_names] = _Tails(metric.label_names)
        tails.needed = max(tails.needed, len(metric.labels))
        return tails


class _Memory(dict[_KeyT, str]):
    """What was made once. Emptied when it has more than twice what a scrape needs: series come and go."""

    needed = 0

    def settle(self) -> None:
        """A scrape is over."""
        if self.needed and len(self) > 2 * self.needed + _SPARE:
            self.clear()
        self.needed = 0


class _Tails(_Memory[Labels]):
    """Label values -> what stands between the name and the number of a line."""

    def __init__(self, label_names: Labels) -> None:
        super().__init__()
        self._order = sorted((name, position) for position, name in enumerate(label_names))

    def __missing__(self, labels: Labels) -> str:
        pairs = ",".join([f'{name}="{_escaped(labels[position])}"' for name, position in self._order])
        tail = self[labels] = f"{{{pairs}}} " if pairs else " "
        return tail


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _value_lines(metric: ValueRows, tails: _Tails) -> Iterator[bytes]:
    name = metric.sample_name
    for start in range(0, len(metric.labels), _PIECE):
        labels, values = metric.labels[start : start + _PIECE], metric.values[start : start + _PIECE]
        yield "".join(
            [
                f"{name}{tails[key]}{value}.0\n"
                if type(value) is int and -_EXPONENT < value < _EXPONENT
                else f"{name}{tails[key]}{number(value)}\n"
                for key, value in zip(labels, values, strict=True)
            ]
        ).encode()


def _histogram_lines(metric: HistogramRows, tails: _Tails) -> Iterator[bytes]:
    """A series at a time: all its numbers are written in one step, and the labels between them in another.

    As bytes that takes 0.7 of the time that it takes as str.
    """
    bucket, count, total = metric.sample_names
    after_bound, after_name = (",\0", "{\0") if metric.label_names else ("} ", " ")
    lines = [f'{bucket}{{le="{bound}"{after_bound}%d.0\n' for bound in metric.bounds]
    template = "".join([*lines, f"{count}{after_name}%d.0\n{total}{after_name}%a\n"])
    usual, large = template.encode(), template.replace("%d.0", "%b").replace("%a", "%b").encode()
    for labels, counts, sum_ in zip(metric.labels, metric.counts, metric.sums, strict=True):
        cumulative = tuple(accumulate(counts))
        if cumulative[-1] < _EXPONENT and 0 <= sum_ < _EXPONENT:
            text = usual % (*cumulative, cumulative[-1], float(sum_))
        else:
            texts = {value: number(value).encode() for value in set(cumulative)}
            text = large % (*map(texts.get, cumulative), texts[cumulative[-1]], number(sum_).encode())
        yield text.replace(b"\0", tails[labels][1:].encode())


def number(value: float) -> str:
    """The value as both formats write it: prometheus_client's ``floatToGoString``, the frequent cases first."""
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
    """A registry of these families."""

    metrics: Sequence[Metric] = ()

    def collect(self) -> Sequence[Metric]:
        """The families."""
        return self.metrics


class _Format:
    """One of the two formats with one escaping scheme, known by what prometheus_client's encoder writes."""

    def __init__(self, theirs: Encode) -> None:
        self.end = theirs(_Only()).decode()
        self._headers: _Memory[tuple[str, ...]] = _Memory()
        self._prefixes: _Memory[tuple[object, ...]] = _Memory()

    def header(self, metric: Metric, theirs: Encode) -> str:
        """HELP, TYPE and UNIT."""
        key = (metric.name, metric.documentation, metric.type, metric.unit)
        self._headers.needed += 1
        header = self._headers.get(key)
        if header is None:
            header = self._headers[key] = self._written(metric, (), theirs)
        return header

    def pieces(self, metric: Metric, theirs: Encode) -> Iterator[bytes]:
        """All that follows."""
        late = {metric.name + suffix for suffix in _LATE}
        header = len(self.header(metric, theirs))
        lines = []
        for sample in metric.samples:
            name, labels, value, *rare = sample
            if name in late or rare != _NOTHING:
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

    def settle(self) -> None:
        """A scrape is over."""
        self._headers.settle()
        self._prefixes.settle()

    def _written(self, metric: Metric, samples: Sequence[Sample], theirs: Encode) -> str:
        twin = copy(metric)
        twin.samples = list(samples)
        return theirs(_Only((twin,))).decode().removesuffix(self.end)
