"""What a client accepts, by its headers Accept and Accept-Encoding: RFC 9110, 12.4.2 to 12.5.3."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

_TEXT: Final = "text/plain"
_OPENMETRICS: Final = "application/openmetrics-text"
#: Prometheus' messages, in which alone it takes native histograms; what ``best_format`` gives for them.
PROTOBUF: Final = "application/vnd.google.protobuf"
#: The version of OpenMetrics that we write; the text format has 0.0.4, and 1.0.0 where names may be escaped.
_OPENMETRICS_VERSION: Final = "1.0.0"
_WEIGHT: Final = re.compile(r"\d+\.?\d*|\.\d+")


class _Range(NamedTuple):
    """One element of such a header, as in ``text/plain;version=0.0.4;q=0.5``."""

    name: str
    parameters: Mapping[str, str]
    quality: float

    @property
    def escaping(self) -> str:
        """How names are to be escaped; "": as the format has it."""
        return self.parameters.get("escaping", "")


class _Format(NamedTuple):
    """A format that we write.

    Attributes:
        name: the media type.
        parameters: which a range may have, with the value that it then must have.
        written: what ``best_format`` gives, for the range that asked for it.
        is_usual: whether a range without parameters means it.
    """

    name: str
    parameters: Mapping[str, str]
    written: Callable[[_Range], str]
    is_usual: bool = True

    def fit(self, wanted: _Range) -> tuple[int, int] | None:
        """How closely a range describes the format; None if it means another one."""
        names = ("*/*", self.name.partition("/")[0] + "/*", self.name)
        given = [
            found == value for key, value in self.parameters.items() if (found := wanted.parameters.get(key))
        ]
        if wanted.name not in names or not all(given) or not (given or self.is_usual):
            return None
        return names.index(wanted.name), len(given)

    def decisive(self, ranges: Sequence[_Range]) -> _Range | None:
        """The range that decides about it: the closest one, and of several the one with the highest weight."""
        fitting = [(fit, each) for each in ranges if (fit := self.fit(each)) is not None]
        return max(fitting, key=lambda found: (found[0], found[1].quality), default=(None, None))[1]


def best_format(accept: str) -> str:
    """The one format for a page of metrics: PROTOBUF, or an Accept header for prometheus_client; "" is its plain text.

    Of what we write it is what the client likes best, of equals what it names first, and the text format where anything
    goes. A version that we do not write is passed over for whatever else the client names; if it names nothing else,
    OpenMetrics gets ours.
    """
    ranges = list(_ranges(accept))
    found = [(each, wanted) for each in _FORMATS if (wanted := each.decisive(ranges)) and wanted.quality]
    if found:
        best, wanted = max(found, key=lambda each: (each[1].quality, -ranges.index(each[1])))
        return best.written(wanted)
    others = (each for each in ranges if each.name == _OPENMETRICS and each.quality)
    return next(map(_openmetrics, others), "")


def gzip_is_best(accept_encoding: str) -> bool:
    """Whether to compress an answer."""
    qualities = {each.name: each.quality for each in _ranges(accept_encoding)}
    others = qualities.get("*")
    gzip, identity = qualities.get("gzip", others), qualities.get("identity", others)
    if gzip is None:
        return identity == 0
    return gzip > (identity or 0) or (gzip == identity and gzip > 0 and "gzip" in qualities)


def _openmetrics(wanted: _Range) -> str:
    version = f";version={_OPENMETRICS_VERSION}" if wanted.parameters.get("version") else ""
    return f"{_OPENMETRICS}{version};escaping={wanted.escaping}"


def _text_1(wanted: _Range) -> str:
    return f"{_TEXT};version=1.0.0;escaping={wanted.escaping}"


#: The first one is for who likes all of them alike.
_FORMATS: Final = (
    _Format(_TEXT, {"version": "0.0.4"}, lambda _: ""),
    _Format(_OPENMETRICS, {"version": _OPENMETRICS_VERSION}, _openmetrics),
    _Format(_TEXT, {"version": "1.0.0"}, _text_1, is_usual=False),
    _Format(
        PROTOBUF,
        {"proto": "io.prometheus.client.MetricFamily", "encoding": "delimited"},
        lambda _: PROTOBUF,
    ),
)


def _ranges(header: str) -> Iterator[_Range]:
    """The elements of a header; a weight that is none counts as 1, as if it were not there."""
    for element in header.split(","):
        name, *rest = (part.strip() for part in element.split(";"))
        pairs = (part.partition("=") for part in rest)
        parameters = {key.strip().lower(): value.strip(' "') for key, _, value in pairs}
        weight = parameters.pop("q", "1")
        yield _Range(name.lower(), parameters, min(float(weight), 1.0) if _WEIGHT.fullmatch(weight) else 1.0)
