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
    for suffix in ("", "_bucket", "_sum", "_count")
}
#: Series of classic histograms -> their families, which are the names of native ones.
_OF_CLASSIC: Final = {
    f"{family.name}{suffix}": family.name
    for family in CATALOGUE
    if family.kind == "histogram"
    for suffix in ("_bucket", "_sum", "_count")
}
_OTHER_COUNTERS: Final = {"process_cpu_seconds_total"}
_TOP: Final = {"topk", "bottomk"}
#: When a worker was last seen is known of those that are down, too.
_OF_A_WORKER: Final = {
    family.name
    for family in CATALOGUE
    if family.kind == "gauge" and family.name.startswith("celery_worker_") and "worker" in family.labels
} - {"celery_worker_up", "celery_worker_last_seen_timestamp_seconds"}
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
        for name in re.findall(r"\$\{?([A-Za-z_]\w*)", expr):
            if not name.startswith("__") and name not in known:
                yield f"{place}: ${name}"


def windows(board: Board) -> Problems:
    """`rate` and `increase` look back `$__rate_interval`, or `$__range` for one figure or `@ end()`; never `irate`."""
    for target in board.targets():
        for called, window in re.findall(r"(\w+)\([^()]*\[([^\]]+\](?: @ end\()?)", target.expr):
            if called in {"irate", "idelta"}:
                yield f"{target.panel}: {called}"
            allowed = {"$__rate_interval]", "$__range]" if target.instant else "$__range] @ end("}
            if called in {"rate", "increase"} and window not in allowed:
                yield f"{target.panel}: {called} over {window}"


def few_lines(board: Board) -> Problems:
    """A graph has the same few lines from end to end: `topk` chooses anew at each moment, unless it is `@ end()`.

    A line for each task, queue or worker is chosen that way; there may be hundreds.
    """
    for panel in board.panels():
        if panel["type"] not in {"timeseries", "state-timeline"}:
            continue
        for target in panel["targets"]:
            found = [node for node, _ in promql.walk(promql.parse(target["expr"]))]
            chosen = [node for node in found if isinstance(node, AggregateExpr) and str(node.op) in _TOP]
            if any("@ end()" not in str(node) for node in chosen):
                yield f"{panel['title']}: chosen at each moment"
            many = {"task", "queue", "worker", "exception"} & set(
                _LEGEND_LABEL.findall(target["legendFormat"])
            )
            if many and not chosen:
                yield f"{panel['title']}: a line for each {many}"


def only_workers_that_are_up(board: Board) -> Problems:
    """What a worker reports of itself is shown while it is up: its last values stay for an hour after it was lost."""
    for place, selector, above in _selectors(board):
        if not set(promql.names(selector)) & _OF_A_WORKER:
            continue
        others = {
            name
            for node in above
            if isinstance(node, BinaryExpr) and str(node.op) == "and"
            for found, _ in promql.walk(node.rhs)
            if isinstance(found, VectorSelector)
            for name in promql.names(found)
        }
        if "celery_worker_up" not in others:
            yield f"{place}: {selector.name} of workers that are down"


def counters_in_rate(board: Board) -> Problems:
    """A counter stands in `rate` or `increase`, and nothing else does; but for the question whether it is there."""
    for place, selector, above in _selectors(board):
        called = promql.function(above)
        for name in promql.names(selector):
            is_counter = name in _COUNTERS | _OTHER_COUNTERS
            if called is None and any(_asked_for(selector, node) for node in above):
                continue
            if is_counter != (called in {"rate", "increase"}):
                yield f"{place}: {name} in {called}"


def job_and_instance_matchers(board: Board) -> Problems:
    """Every selector is filtered by job and instance; alerts by job, or they have none; settings are for all jobs."""
    for place, selector, _ in _selectors(board):
        name, found = str(selector.name), promql.matchers(selector)
        if name.startswith("celery:threshold:"):
            continue
        right = found.get("job") == ".+" and found.get("instance") == ".+"
        if name.startswith("ALERTS"):
            right = found.get("job") in {".+", ""}
        if not right:
            yield f"{place}: {name} by {found}"


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
        outer = [node for node in above if isinstance(node, AggregateExpr) and str(node.op) not in _TOP]
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
            if not any(isinstance(outer, BinaryExpr) and str(outer.op) == ">=" for outer in above):
                yield f"{place}: NaN"
            inner = node.args[1]
            kept = promql.kept_labels(inner) if isinstance(inner, AggregateExpr) else None
            if kept is None or ("le" in kept) != any(name.endswith("_bucket") for name in _names_in(inner)):
                yield f"{place}: le"


def both_kinds_of_histogram(board: Board) -> Problems:
    """Who asks for a histogram asks for it as native and as classic series, and takes one of them."""
    for panel in board.panels():
        asked = {name for target in panel["targets"] for name in _names_in(promql.parse(target["expr"]))}
        for name in asked & _OF_CLASSIC.keys():
            if _OF_CLASSIC[name] not in asked:
                yield f"{panel['title']}: {name} alone"
        for name in asked & set(_OF_CLASSIC.values()):
            if not any(family == name and part in asked for part, family in _OF_CLASSIC.items()):
                yield f"{panel['title']}: {name} alone"


def known_functions(board: Board) -> Problems:
    """No function of native histograms is called by its name: a server that knows it not refuses the whole query."""
    for place, expr in board.expressions():
        for called in re.findall(r"(?<![$\w])(histogram_\w+)\(", expr):
            if called != "histogram_quantile":
                yield f"{place}: {called}"


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


def _asked_for(selector: VectorSelector, node: Any) -> bool:
    """Whether a node is an `unless`, and the selector stands behind it."""
    return (
        isinstance(node, BinaryExpr)
        and str(node.op) == "unless"
        and any(found is selector or str(found) == str(selector) for found, _ in promql.walk(node.rhs))
    )


def _names_in(tree: Any) -> Iterator[str]:
    for node, _ in promql.walk(tree):
        if isinstance(node, VectorSelector):
            yield from promql.names(node)


def _nodes(board: Board) -> Iterator[tuple[str, Any, Any]]:
    for target in board.targets():
        for node, above in promql.walk(promql.parse(target.expr)):
            yield f"{target.panel} {target.name}", node, above


def _selectors(board: Board) -> Iterator[tuple[str, VectorSelector, Any]]:
    for place, node, above in _nodes(board):
        if isinstance(node, VectorSelector):
            yield place, node, above
