"""What is said of metrics, in dashboards, alert rules, docs and the chart, held against what the code declares.

Owns the reading of those files: PromQL where there is PromQL (metrics with their labels), else names in the text. The
truth is the catalogue, with what Prometheus and prometheus_client add to it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import yaml
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from celery_metrics_exporter.collectors import CATALOGUE, Family
from celery_metrics_exporter.in_worker.publishing import PUBLISHED_HEADER, RETRIES_HEADER
from tests.grafana import promql
from tests.grafana.board import Board

ROOT: Final = Path(__file__).resolve().parents[2]
ALERTS: Final = ROOT / "grafana" / "alerts"

#: Labels of the place where an exporter runs, and of its broker. Nobody has to have them; `without` and `ignoring` may
#: name them.
OF_THE_PLACE: Final = frozenset(
    ("job", "instance", "cluster", "namespace", "pod", "container", "endpoint", "service", "node", "broker")
)
#: Labels that an alert gets by its rule.
_OF_ALERTS: Final = frozenset(("alertname", "alertstate", "severity"))
_OF_TARGETS: Final = ("up", "scrape_duration_seconds", "scrape_samples_scraped")
_HISTOGRAM: Final = ("_bucket", "_sum", "_count")

_NAME: Final = re.compile(r"\bcelery_(?:task|worker|queue|broker|exporter)_[a-z0-9_]*[a-z0-9]\b(?![_*{.])")
#: Names of the same kind that are no metrics: headers of messages.
_HEADERS: Final = frozenset({PUBLISHED_HEADER, RETRIES_HEADER})
_SELECTED: Final = re.compile(r"\b(celery_(?:task|worker|queue|broker|exporter)_[a-z0-9_]+)\{([^{}]*)\}")
_PROMQL_BLOCK: Final = re.compile(r"^```promql\n(.*?)^```", re.DOTALL | re.MULTILINE)
_TEMPLATE_LABEL: Final = re.compile(r"\$labels\.(\w+)|\.Labels\.(\w+)")
_SETTING: Final = re.compile(r"- record: (celery:\S+)")

Labels = frozenset[str]


@dataclass(frozen=True, slots=True)
class Use:
    """A metric that is used somewhere, or a label that is used with some metrics."""

    place: str
    metrics: tuple[str, ...]
    label: str | None = None


@dataclass(slots=True)
class Known:
    """Metric -> its labels: those of the code, those that Prometheus adds, and results of recording rules."""

    labels: dict[str, Labels] = field(default_factory=dict)

    def wrong(self, use: Use) -> str | None:
        """What is wrong with a use."""
        meant = {metric: self._meant(metric) for metric in use.metrics}
        for metric, names in meant.items():
            if not names:
                return f"{use.place}: there is no metric {metric}"
        if use.label is None or use.label in OF_THE_PLACE:
            return None
        if any(use.label in self.labels[name] for names in meant.values() for name in names):
            return None
        return f"{use.place}: none of {', '.join(use.metrics)} has the label {use.label}"

    def _meant(self, metric: str) -> list[str]:
        """The names that a name, or a pattern of names, stands for."""
        if metric in self.labels:
            return [metric]
        return [name for name in self.labels if re.fullmatch(metric, name)]


def series_of(family: Family) -> tuple[str, ...]:
    """Names of a family's series in queries; a native histogram is one series with the name of the family."""
    if family.kind != "histogram":
        return (family.name,)
    return (family.name, *(f"{family.name}{suffix}" for suffix in _HISTOGRAM))


def known_to_the_code() -> Known:
    """The catalogue, and what every target and every Python process with prometheus_client has."""
    found: dict[str, Labels] = {}
    for family in CATALOGUE:
        for name in series_of(family):
            found[name] = frozenset(family.labels) | ({"le"} if name.endswith("_bucket") else set())
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    for metric in registry.collect():
        for sample in metric.samples:
            found[sample.name] = frozenset(sample.labels)
    found |= dict.fromkeys(_OF_TARGETS, frozenset())
    every_label = frozenset(label for family in CATALOGUE for label in family.labels)
    return Known(found | {"ALERTS": every_label | _OF_ALERTS, "ALERTS_FOR_STATE": every_label | _OF_ALERTS})


def uses_of_boards(boards: list[Board]) -> Iterator[Use]:
    """Metrics and labels of every expression of the dashboards."""
    for board in boards:
        for place, expr in board.expressions():
            yield from uses_in_promql(place, expr)


def uses_in_promql(place: str, expr: str) -> Iterator[Use]:
    """Metrics and labels of an expression."""
    for selector, _ in promql.selectors(expr):
        yield Use(place, tuple(promql.names(selector)))
    for label, metrics in promql.used_labels(expr):
        if label != "__name__":
            yield Use(place, tuple(metrics), label)


def rules_in(path: Path) -> Iterator[dict[str, object]]:
    """The rules of a file for Prometheus."""
    for group in yaml.safe_load(path.read_text(encoding="utf-8")).get("groups", ()):
        yield from group["rules"]


def with_records(known: Known, rules: list[dict[str, object]]) -> Known:
    """Add the results of recording rules: with the labels of what they are made from, and those that the rule sets."""
    found = dict(known.labels)
    records = [rule for rule in rules if "record" in rule]
    for _ in records:  # rules are made from rules; each round settles those whose parts are settled
        for rule in records:
            expr = str(rule["expr"])
            parts = [name for selector, _ in promql.selectors(expr) for name in promql.names(selector)]
            own: Mapping[str, str] = rule.get("labels") or {}  # type: ignore[assignment]  # YAML
            labels = frozenset().union(*(found.get(part, frozenset()) for part in parts), own)
            name = str(rule["record"])
            found[name] = found.get(name, frozenset()) | labels
    return Known(found)


def with_settings(known: Known, path: Path) -> Known:
    """Add what users may set in a file of settings, in rules or in comments: by task or by queue, as they like."""
    text = path.read_text(encoding="utf-8")
    return Known(known.labels | dict.fromkeys(_SETTING.findall(text), frozenset(("task", "queue"))))


def uses_of_rules(place: str, rules: list[dict[str, object]]) -> Iterator[Use]:
    """Metrics and labels of the rules' expressions, and labels of the texts of alerts."""
    for rule in rules:
        where = f"{place}: {rule.get('alert') or rule['record']}"
        expr = str(rule["expr"])
        yield from uses_in_promql(where, expr)
        metrics = tuple(name for selector, _ in promql.selectors(expr) for name in promql.names(selector))
        texts = yaml.safe_dump([rule.get("annotations"), rule.get("labels")])
        for match in _TEMPLATE_LABEL.finditer(texts):
            yield Use(where, metrics, match[1] or match[2])


def queries_in(text: str) -> Iterator[str]:
    """Each expression in the blocks of PromQL of a page, without its comment."""
    for block in _PROMQL_BLOCK.findall(text):
        for expr in re.split(r"\n(?=#)|\n\n|\n(?=\S)(?!\)|\s)", block):
            lines = "\n".join(line for line in expr.splitlines() if not line.startswith("#"))
            if lines.strip():
                yield lines


_OTHERS = re.compile(r"^\| before\b.*\n(?:\|.*\n?)+", re.MULTILINE)


def uses_in_text(place: str, text: str) -> Iterator[Use]:
    """Metrics that a page names, with the labels that it names them with; its blocks of PromQL in whole.

    A name that goes on (``celery_worker_*``) stands for several and is left out. So is the first column of a table
    whose heading begins with "before": those names are other exporters'.
    """
    text = _OTHERS.sub(lambda table: re.sub(r"(?m)^\|[^|]*", "|", table[0]), text)
    for expr in queries_in(text):
        yield from uses_in_promql(place, expr)
    for match in _SELECTED.finditer(text):
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=|,|$)", re.sub(r'"[^"]*"', "", match[2])):
            yield Use(place, (match[1],), label)
    for match in _NAME.finditer(text):
        if match[0] not in _HEADERS:
            yield Use(place, (match[0],))


def pages() -> list[Path]:
    """What people read, and the chart once there is one."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "grafana").glob("**/*.md")]
    for suffix in ("yaml", "yml", "tpl", "txt", "md", "json"):
        found += (ROOT / "helm").glob(f"**/*.{suffix}")
    return sorted(path for path in found if path.is_file())


def alert_files() -> list[Path]:
    """The rules that users load; their unit tests are promtool's business."""
    return sorted(ALERTS.glob("*.yaml"))
