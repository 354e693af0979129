"""Rules for what a reader sees: words in empty cells, widths, colours, and where a click leads.

What the drawn page looks like is another test's business (``test_drawn``); these hold for all data.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from tests.grafana.board import Board, Json
from tests.grafana.lint_queries import Problems

#: The last word of a line's name -> its colour, in whatever shade.
_MEANT: Final = {
    "succeeded": "green",
    "up": "green",
    "failed": "red",
    "down": "red",
    "terminated": "red",
    "rejected": "red",
    "retried": "orange",
    "sent": "blue",
    "received": "purple",
}
#: Pixels that one of 24 columns of the grid has on a screen of 1600, and those that a name needs.
_GRID_PX: Final = 65
_NAME_PX: Final = 200

#: Quantiles and buckets of run times and waits, and failures by themselves.
_EXEMPLARY: Final = re.compile(
    r"(?:histogram_quantile\(.*|sum by \(le\) \()rate\(celery_task_(?:runtime|queue_wait)_seconds_bucket\{"
    r"|^(?!.*celery_task_succeeded_total).*celery_task_failed_total\{"
)
_RAW_VALUE: Final = re.compile(r"=\$\{__(?:value|field|data)[^}:]*\}")


def empty_cells(board: Board) -> Problems:
    """Every column has its own text for a cell without a value: the one of the table would stand in each of them."""
    for panel in _tables(board):
        for head in _heads(panel):
            if _property(panel, head, "noValue") != "\N{EN DASH}":
                yield f"{panel['title']}: {head}"


def tables_fit(board: Board) -> Problems:
    """Columns of numbers have widths that leave room for names, so that no table scrolls sideways."""
    for panel in _tables(board):
        renamed = panel["transformations"][-1]["options"]["renameByName"]
        width = 0
        for field, head in renamed.items():
            if _property(panel, head, "custom.hidden"):
                continue
            own = _property(panel, head, "custom.width")
            width += own or _NAME_PX
            if own and field.startswith("Value") and not 80 <= own <= 130:
                yield f"{panel['title']}: {head} of {own} pixels"
        if width > panel["gridPos"]["w"] * _GRID_PX:
            yield f"{panel['title']}: {width} pixels"


def colours_by_meaning(board: Board) -> Problems:
    """A line whose name means something has that colour; the palette would give it one by its place."""
    for panel in board.panels():
        if panel["type"] != "timeseries":
            continue
        for target in panel["targets"]:
            word = target["legendFormat"].split()[-1]
            colour = _property(panel, target["legendFormat"], "color") or {}
            if word in _MEANT and not colour.get("fixedColor", "").endswith(_MEANT[word]):
                yield f"{panel['title']}: {word} is {colour}"
            if "{{outcome}}" in word:
                patterns = [override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]]
                for outcome in ("succeeded", "failed", "retried"):
                    if not any(outcome in pattern for pattern in patterns):
                        yield f"{panel['title']}: {outcome} has no colour"


def values_in_links(board: Board) -> Problems:
    """A value in an address is encoded: names have & and # in them."""
    for panel in board.panels():
        for link in _links(panel):
            kept = link["url"].replace("var-${__data.fields.kind}=", "var-kind=")
            if _RAW_VALUE.search(kept):
                yield f"{panel['title']}: {link['url']}"


def axes_of_zeros(board: Board) -> Problems:
    """An axis ends at something fit for its unit, if all values are 0; Grafana's own choice is 100."""
    for panel in board.panels():
        defaults = panel["fieldConfig"]["defaults"]
        if panel["type"] == "timeseries" and defaults["unit"] != "bytes":
            ends = defaults.get("max") or defaults["custom"].get("axisSoftMax")
            if not ends:
                yield panel["title"]


def exemplars(board: Board) -> Problems:
    """Graphs of what has exemplars ask for them once: they lead from a slow or failed attempt to its log and trace."""
    for panel in board.panels():
        is_graph = panel["type"] in {"timeseries", "heatmap"}
        wanted = is_graph and any(_EXEMPLARY.search(target["expr"]) for target in panel["targets"])
        asked = [bool(_EXEMPLARY.search(each["expr"])) for each in panel["targets"] if each.get("exemplar")]
        if asked != [True] * wanted:
            yield f"{panel['title']}: {asked}"


def requirements(board: Board) -> Problems:
    """Grafana's import is told the version, the data source and all kinds of panels."""
    needed = {(need["type"], need["id"]) for need in board.json.get("__requires", ()) if need["id"]}
    wanted = {("panel", panel["type"]) for panel in board.panels()}
    wanted |= {("grafana", "grafana"), ("datasource", "prometheus")}
    if needed != wanted:
        yield f"{needed ^ wanted}"


def annotation_targets(board: Board) -> Problems:
    """Annotations are asked for in both forms; one region for each alert's name, at first the critical ones."""
    for annotation in board.json["annotations"]["list"]:
        name, expr = annotation["name"], annotation["expr"]
        if annotation.get("target", {}).get("expr") != expr:
            yield f"{name}: no target"
        if "ALERTS" in expr:
            if not expr.startswith("max by (alertname) ("):
                yield f"{name}: a region for each series"
            if annotation["enable"] != ('severity="critical"' in expr):
                yield f"{name}: shown at first, or not"


RULES: Final = (
    empty_cells,
    tables_fit,
    colours_by_meaning,
    values_in_links,
    axes_of_zeros,
    exemplars,
    requirements,
    annotation_targets,
)


def _tables(board: Board) -> Iterator[Json]:
    return (panel for panel in board.panels() if panel["type"] == "table")


def _heads(panel: Json) -> list[str]:
    return list(panel["transformations"][-1]["options"]["renameByName"].values())


def _property(panel: Json, field: str, name: str) -> Any:
    """The value that an override gives to a property of a field."""
    for override in panel["fieldConfig"].get("overrides", ()):
        if override["matcher"]["options"] == field:
            for value in override["properties"]:
                if value["id"] == name:
                    return value["value"]
    return None


def _links(panel: Json) -> Iterator[Json]:
    yield from panel["fieldConfig"]["defaults"].get("links", ())
    for override in panel["fieldConfig"].get("overrides", ()):
        for value in override["properties"]:
            if value["id"] == "links":
                yield from value["value"]
