"""The house's rules for what the exporter exposes, beyond what promtool checks.

Owns the rules: each is a function from a family to findings, listed in one table. Reading text is the business of
`tests.exposition_text`. Families of prometheus_client's own collectors (process_, python_) need not keep the rules of
wording, which are theirs.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.exposition_text import Family, Misplaced, read

OWN_PREFIX = "celery_"
PREFIXES = (OWN_PREFIX, "process_", "python_")

BASE_UNITS = ("seconds", "bytes")
OTHER_UNITS = {"ns", "nanos", "nanoseconds", "us", "micros", "microseconds", "ms", "millis", "milliseconds"}
OTHER_UNITS |= {"second", "minute", "minutes", "hour", "hours", "day", "days", "percent", "percentage"}
OTHER_UNITS |= {"byte", "bits", "kb", "mb", "gb", "kib", "mib", "gib", "kilobytes", "megabytes", "gigabytes"}
WORDS_OF_TIME = {
    "age",
    "delay",
    "duration",
    "elapsed",
    "interval",
    "lag",
    "latency",
    "offset",
    "runtime",
    "time",
}
WORDS_OF_TIME |= {"timestamp", "trip", "uptime", "wait"}
RESERVED_SUFFIXES = ("_total", "_count", "_sum", "_bucket", "_created")
SUFFIXES_OF_KIND = {"counter": ("_total",), "info": ("_info",)}
RESERVED_LABELS = {"le": "histogram", "quantile": "summary", "job": "", "instance": ""}

_SNAKE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_TWO_SENTENCES = re.compile(r"[.!?]\s+[A-Z]")
_SHORTEST_HELP = 11


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken rule: its name, where, and what is wrong."""

    rule: str
    where: str
    problem: str

    def __str__(self) -> str:
        return f"{self.where}: {self.problem} [{self.rule}]"


def lint_text(text: str) -> list[Finding]:
    """Check Prometheus' text format; nothing found means that every rule holds."""
    return list(_lint(text, openmetrics=False))


def lint_openmetrics(text: str) -> list[Finding]:
    """Check the OpenMetrics format; nothing found means that every rule holds."""
    return list(_lint(text, openmetrics=True))


def _lint(text: str, *, openmetrics: bool) -> Iterator[Finding]:
    names: Counter[str] = Counter()
    for item in read(text, openmetrics=openmetrics):
        if isinstance(item, Misplaced):
            yield Finding("format", repr(item.line), item.problem)
            continue
        names[item.name] += 1
        if names[item.name] > 1:
            yield Finding("format", item.name, "the family's lines do not stand together")
        for name, rule in RULES.items():
            for problem in rule(item):
                yield Finding(name, item.full_name, problem)


def _prefix(family: Family) -> Iterator[str]:
    if not family.name.startswith(PREFIXES):
        yield f"the name does not begin with {OWN_PREFIX}"
    if not _SNAKE.fullmatch(family.name):
        yield "the name is not snake_case"


def _kind(family: Family) -> Iterator[str]:
    if family.kind is None:
        yield "no TYPE"
    elif family.kind not in {"counter", "gauge", "histogram", "summary", "info", "stateset"}:
        yield f"the type is {family.kind}"


def _suffix(family: Family) -> Iterator[str]:
    name = family.full_name
    if family.kind == "counter" and not name.endswith("_total"):
        yield "a counter's name ends in _total"
    if family.kind == "counter" and name.endswith("_total_total"):
        yield "_total stands twice"
    allowed = SUFFIXES_OF_KIND.get(family.kind or "", ())
    for suffix in RESERVED_SUFFIXES:
        if name.endswith(suffix) and suffix not in allowed:
            yield f"a {family.kind}'s name does not end in {suffix}"
    if name.endswith("_info"):
        if family.kind not in {"info", "gauge"}:
            yield f"a {family.kind}'s name does not end in _info"
        if any(sample.value != 1 for sample in family.samples):
            yield "an _info is 1"


def _unit(family: Family) -> Iterator[str]:
    words = family.full_name.removesuffix("_total").removesuffix("_info").split("_")
    for word in words:
        if word in OTHER_UNITS:
            yield f"{word} is not a base unit (seconds, bytes)"
    for unit in BASE_UNITS:
        if unit in words[:-1]:
            yield f"the unit {unit} does not stand last"
    if "timestamp" in words and words[-2:] != ["timestamp", "seconds"]:
        yield "a timestamp's name ends in _timestamp_seconds"
    elif words[-1] != "seconds" and not WORDS_OF_TIME.isdisjoint(words):
        yield "a time's name ends in _seconds"
    if "memory" in words and words[-1] != "bytes":
        yield "a memory's name ends in _bytes"
    if family.kind in {"histogram", "summary"} and words[-1] not in BASE_UNITS:
        yield f"a {family.kind}'s name ends in its unit"
    if family.unit and words[-1] != family.unit:
        yield f"UNIT says {family.unit}"


def _help(family: Family) -> Iterator[str]:
    if not family.help:
        yield "no HELP"
    elif family.name.startswith(OWN_PREFIX):
        if len(family.help) < _SHORTEST_HELP:
            yield "HELP is too short"
        if not family.help.endswith("."):
            yield "HELP does not end in a full stop"
        if _TWO_SENTENCES.search(family.help) or "\\n" in family.help:
            yield "HELP is more than one sentence"


def _label_names(family: Family) -> Iterator[str]:
    sets = {frozenset(name for name, _ in sample.labels) - {"le", "quantile"} for sample in family.samples}
    if len(sets) > 1:
        yield "its series have different labels"
    for name in sorted({name for sample in family.samples for name, _ in sample.labels}):
        if not _SNAKE.fullmatch(name):
            yield f"the label {name} is not snake_case"
        if RESERVED_LABELS.get(name, family.kind) != family.kind or name.startswith("exported_"):
            yield f"the label {name} is reserved"


def _label_values(family: Family) -> Iterator[str]:
    for name, value in sorted({label for sample in family.samples for label in sample.labels}):
        if any(unicodedata.category(character) in {"Cc", "Cs"} for character in value):
            yield f"the label {name}={value!a} holds a control character or a lone surrogate"


def _created(family: Family) -> Iterator[str]:
    if not family.openmetrics and family.name.endswith("_created"):
        yield "_created series have no place in the text format"


def _duplicates(family: Family) -> Iterator[str]:
    series = Counter((sample.name, frozenset(sample.labels)) for sample in family.samples)
    for (name, labels), count in series.items():
        if count > 1:
            yield f"{count} series are {name} {dict(sorted(labels))}"
    for sample in family.samples:
        if len({name for name, _ in sample.labels}) < len(sample.labels):
            yield f"a label stands twice in {dict(sample.labels)}"


def _values(family: Family) -> Iterator[str]:
    for sample in family.samples:
        counts = family.kind == "counter" or (family.kind == "histogram" and not sample.name.endswith("_sum"))
        if math.isnan(sample.value) and family.kind != "gauge":
            yield f"{sample.name} {dict(sample.labels)} is NaN"
        if counts and sample.value < 0:
            yield f"{sample.name} {dict(sample.labels)} is negative"


def _buckets(family: Family) -> Iterator[str]:
    if family.kind != "histogram":
        return
    series: dict[frozenset[tuple[str, str]], dict[float, float]] = {}
    counts: dict[frozenset[tuple[str, str]], float] = {}
    for sample in family.samples:
        labels = dict(sample.labels)
        bound = float(labels.pop("le", "nan"))
        key = frozenset(labels.items())
        series.setdefault(key, {})
        if sample.name.endswith("_bucket"):
            series[key][bound] = sample.value
        elif sample.name.endswith("_count"):
            counts[key] = sample.value
    for key, buckets in series.items():
        ordered = [buckets[bound] for bound in sorted(buckets)]
        if ordered != sorted(ordered):
            yield f"the buckets of {dict(sorted(key))} do not grow"
        if buckets.get(math.inf) is None or buckets[math.inf] != counts.get(key):
            yield f"the +Inf bucket of {dict(sorted(key))} is not its count"


RULES: dict[str, Callable[[Family], Iterator[str]]] = {
    "prefix": _prefix,
    "type": _kind,
    "suffix": _suffix,
    "unit": _unit,
    "help": _help,
    "label names": _label_names,
    "label values": _label_values,
    "created": _created,
    "duplicates": _duplicates,
    "values": _values,
    "buckets": _buckets,
}
