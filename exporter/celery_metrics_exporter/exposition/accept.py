"""What a client accepts, by its headers Accept and Accept-Encoding: RFC 9110, 12.4.2 to 12.5.3."""

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

_TEXT: Final = "text/plain"
_OPENMETRICS: Final = "application/openmetrics-text"
#: The version of OpenMetrics that we write; the text format has 0.0.4, and 1.0.0 where names may be escaped.
_OPENMETRICS_VERSION: Final = "1.0.0"
_WEIGHT: Final = re.compile(r"\d+\.?\d*|\.\d+")


class _Range(NamedTuple):
    """One element of such a header, as in ``text/plain;version=0.0.4;q=0.5``."""

    name: str
    parameters: Mapping[str, str]
    quality: float

    @property
    def version(self) -> str:
        """The format's version; "": any."""
        return self.parameters.get("version", "")

    @property
    def escaping(self) -> str:
        """How names are to be escaped; "": as the format has it."""
        return self.parameters.get("escaping", "")


def best_format(accept: str) -> str:
    """The one format for a page of metrics, as an Accept header for prometheus_client; "" is its plain text format.

    Of what we write it is what the client likes best, and the text format where anything goes. A version that we do
    not write is passed over for whatever else the client names; if it names nothing else, OpenMetrics gets ours.
    """
    ranges = sorted(_ranges(accept), key=lambda each: -each.quality)
    wanted = [each for each in ranges if each.quality]
    refused = {each.name for each in ranges if not each.quality}
    for each in wanted:
        if each.name == _OPENMETRICS and each.version in {"", _OPENMETRICS_VERSION}:
            return _openmetrics(each)
        if each.name == _TEXT and each.version in {"", "0.0.4"}:
            return ""
        if each.name == _TEXT and each.version == "1.0.0":
            return f"{_TEXT};version=1.0.0;escaping={each.escaping}"
        if each.name in {"text/*", "*/*"}:
            return _openmetrics(each) if _TEXT in refused else ""
    others = (each for each in wanted if each.name == _OPENMETRICS)
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
    version = f";version={_OPENMETRICS_VERSION}" if wanted.version else ""
    return f"{_OPENMETRICS}{version};escaping={wanted.escaping}"


def _ranges(header: str) -> Iterator[_Range]:
    """The elements of a header; a weight that is none counts as 1, as if it were not there."""
    for element in header.split(","):
        name, *rest = (part.strip() for part in element.split(";"))
        pairs = (part.partition("=") for part in rest)
        parameters = {key.strip().lower(): value.strip(' "') for key, _, value in pairs}
        weight = parameters.pop("q", "1")
        yield _Range(name.lower(), parameters, min(float(weight), 1.0) if _WEIGHT.fullmatch(weight) else 1.0)
