"""Rules for the PromQL of a dashboard: that it is right, and that a panel made of it does not lie.

After Grafana's dashboard-linter (target rules: valid PromQL, rate intervals, job and instance), and our own: guards,
aggregation, legends.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from promql_parser import AggregateExpr, BinaryExpr, Call, VectorSelector

from celery_metrics_exporter.collectors import CATALOGUE
from tests.grafana import promql
from tests.grafana.board import Board

_COUNTERS: Final = {family.name for family in CATALOGUE if family.kind == "counter"} | {
    f"{family.name}{suffix}"
    for family in CATALOGUE
    if family.kind == "histogram"
    for suffix in ("_bucket", "_sum", "_count")
}
_OTHER_COUNTERS: Final = {"process_cpu_seconds_total"}
_LEGEND_LABEL: Final = re.compile(r"\{\{\s*(\w+)\s*\}\}")

Problems = Iterator[str]


def valid_promql(board: Board) -> Problems:
    """Every expression parses, and uses no variable that there is not."""
    known = {variable["name"] for variable in board.variables()}
    for place, expr in board.expressions():
        try:
            promql.parse(expr)
        except (ValueError, KeyError) as error:
            yield f"{place}: {error}"
        for name in re.findall(r"\$\{?(\w+)", expr):
            if not name.startswith("__") and name not in known:
                yield f"{place}: ${name}"


def windows(board: Board) -> Problems:
    """`rate` and `increase` look back `$__rate_interval`, or `$__range` where one figure is shown; never `irate`."""
    for target in board.targets():
        for called, window in re.findall(r"(\w+)\([^()]*\[([^\]]+)\]", target.expr):
            if called in {"irate", "idelta"}:
                yield f"{target.panel}: {called}"
            allowed = {"$__rate_interval", "$__range"} if target.instant else {"$__rate_interval"}
            if called in {"rate", "increase"} and window not in allowed:
                yield f"{target.panel}: {called} over {window}"


def counters_in_rate(board: Board) -> Problems:
    """A counter stands in `rate` or `increase`, and nothing else does."""
    for place, selector, above in _selectors(board):
        called = promql.function(above)
        for name in promql.names(selector):
            is_counter = name in _COUNTERS | _OTHER_COUNTERS
            if is_counter != (called in {"rate", "increase"}):
                yield f"{place}: {name} in {called}"


def job_and_instance_matchers(board: Board) -> Problems:
    """Every selector is filtered by job and instance; alerts by job, if they have one (a sum over jobs has none)."""
    for place, selector, _ in _selectors(board):
        found = promql.matchers(selector)
        wanted = {"job": ".+|"} if selector.name == "ALERTS" else {"job": ".+", "instance": ".+"}
        if any(found.get(label) != value for label, value in wanted.items()):
            yield f"{place}: {selector.name} by {found}"


def own_variables_used(board: Board) -> Problems:
    """Every selector is filtered by each of the dashboard's variables that its metric has a label for."""
    labels = {family.name: family.labels for family in CATALOGUE}
    own = set(board.queried_variables())
    for place, selector, _ in _selectors(board):
        for name in promql.names(selector):
            base = name if name in labels else re.sub("_(bucket|sum|count)$", "", name)
            missing = (own & set(labels.get(base, ()))) - promql.matchers(selector).keys()
            if missing:
                yield f"{place}: {name} not by {missing}"


def aggregated_by(board: Board) -> Problems:
    """Every selector is aggregated `by` named labels: cluster, namespace and the like may be there or not."""
    for place, selector, above in _selectors(board):
        outer = [
            node
            for node in above
            if isinstance(node, AggregateExpr) and str(node.op) not in {"topk", "bottomk"}
        ]
        if not outer or any(promql.kept_labels(node) is None for node in outer):
            yield f"{place}: {selector.name}"


def no_ratio_of_nothing(board: Board) -> Problems:
    """What is divided by is compared with 0, so that a ratio of nothing is no sample."""
    for place, node, _ in _nodes(board):
        if isinstance(node, BinaryExpr) and str(node.op) == "/" and not promql.is_positive(node.rhs):
            yield f"{place}: {node}"


def no_quantile_of_nothing(board: Board) -> Problems:
    """A quantile keeps `le` until it is worked out, and is compared with 0, since it is NaN of no observation."""
    for place, node, above in _nodes(board):
        if isinstance(node, Call) and node.func.name == "histogram_quantile":
            outer = above[0] if above else None
            if not (isinstance(outer, BinaryExpr) and str(outer.op) == ">="):
                yield f"{place}: NaN"
            inner = node.args[1]
            if not isinstance(inner, AggregateExpr) or "le" not in (promql.kept_labels(inner) or ()):
                yield f"{place}: le"


def legends(board: Board) -> Problems:
    """Every series of a graph has a name, of labels that it has."""
    for panel in board.panels():
        if panel["type"] == "table":
            continue
        for target in panel["targets"]:
            legend = target.get("legendFormat")
            if not legend:
                yield f"{panel['title']}: no legend"
                continue
            kept = {
                label
                for node, _ in promql.walk(promql.parse(target["expr"]))
                if isinstance(node, AggregateExpr)
                for label in promql.kept_labels(node) or ()
            }
            unknown = set(_LEGEND_LABEL.findall(legend)) - kept
            if unknown:
                yield f"{panel['title']}: {unknown}"


def _nodes(board: Board) -> Iterator[tuple[str, Any, Any]]:
    for target in board.targets():
        for node, above in promql.walk(promql.parse(target.expr)):
            yield f"{target.panel} {target.name}", node, above


def _selectors(board: Board) -> Iterator[tuple[str, VectorSelector, Any]]:
    for place, node, above in _nodes(board):
        if isinstance(node, VectorSelector):
            yield place, node, above
