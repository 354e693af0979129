"""Reads exposition text, Prometheus' and OpenMetrics, line by line, keeping what a lenient parser forgives.

Owns the grammar. Must not know: which names and texts are good.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"'
_SAMPLE = re.compile(rf"({_NAME})(?:\{{((?:{_LABEL},?)*)\}})? ([^ ]+)(?: (-?[0-9.e+]+))?(?: # \{{.*)?")
_LABELS = re.compile(_LABEL)
_META = re.compile(rf"# (HELP|TYPE|UNIT) ({_NAME})(?: (.*))?")
_ESCAPES = {"\\\\": "\\", "\\n": "\n", '\\"': '"'}

# What may follow a family's name in its samples' names; in text a counter's name ends in _total itself.
_SUFFIXES = {
    "counter": ("_total", "_created"),
    "histogram": ("_bucket", "_sum", "_count", "_created"),
    "summary": ("", "_sum", "_count", "_created"),
    "info": ("_info",),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One line with a value."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float


@dataclass(slots=True)
class Family:
    """A family as it was declared, with the samples that stand under it; None where a line is missing."""

    name: str
    kind: str | None = None
    help: str | None = None
    unit: str | None = None
    samples: list[Sample] = field(default_factory=list)
    openmetrics: bool = False

    @property
    def full_name(self) -> str:
        """The name that queries use: with _total and _info, which OpenMetrics leaves to the samples."""
        suffix = {"counter": "_total", "info": "_info"}.get(self.kind or "", "") if self.openmetrics else ""
        return self.name + suffix

    def owns(self, sample_name: str) -> bool:
        """Tell whether a sample of this name belongs here."""
        suffixes: tuple[str, ...] = _SUFFIXES.get(self.kind or "", ("",))
        if self.kind == "counter" and not self.openmetrics:
            suffixes = ("",)
        return sample_name in {self.name + suffix for suffix in suffixes}


@dataclass(frozen=True, slots=True)
class Misplaced:
    """A line that breaks the order or the grammar of the format."""

    line: str
    problem: str


def read(text: str, *, openmetrics: bool) -> Iterator[Family | Misplaced]:
    """Yield every line that is out of place, and each family when it is complete."""
    lines = text.split("\n")  # not splitlines(): a carriage return inside a label is for the rules to judge
    if lines.pop() != "":
        yield Misplaced(text[-40:], "the last line does not end")
    if openmetrics and lines[-1:] == ["# EOF"]:
        lines.pop()
    elif openmetrics:
        yield Misplaced(text[-40:], "no # EOF at the end")
    family: Family | None = None
    for line in lines:
        meta = _META.fullmatch(line)
        if meta and (family is None or family.name != meta[2]):
            if family:
                yield family
            family = Family(meta[2], openmetrics=openmetrics)
        problem = _declare(family, meta) if meta and family else _add(family, line)
        if problem:
            yield Misplaced(line, problem)
    if family:
        yield family


def _declare(family: Family, meta: re.Match[str]) -> str | None:
    """Add a HELP, TYPE or UNIT line to its family; tell what is wrong with it."""
    attribute = {"HELP": "help", "TYPE": "kind", "UNIT": "unit"}[meta[1]]
    seen = getattr(family, attribute) is not None
    setattr(family, attribute, meta[3] or "")
    if seen:
        return f"a second {meta[1]}"
    return f"{meta[1]} after the samples" if family.samples else None


def _add(family: Family | None, line: str) -> str | None:
    """Add a sample to its family; tell what is wrong with the line."""
    sample = _sample(line)
    if sample is None:
        return "not a line of the format"
    if family is None or not family.owns(sample.name):
        return "a sample without its TYPE directly above"
    family.samples.append(sample)
    return None


def _sample(line: str) -> Sample | None:
    match = _SAMPLE.fullmatch(line)
    if match is None:
        return None
    try:
        value = float(match[5])
    except ValueError:
        return None
    labels = ((name, _unescaped(quoted)) for name, quoted in _LABELS.findall(match[2] or ""))
    return Sample(match[1], tuple(labels), value)


def _unescaped(quoted: str) -> str:
    return re.sub(r"\\.", lambda match: _ESCAPES.get(match[0], match[0]), quoted)
