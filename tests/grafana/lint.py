"""What a dashboard must be like: a table of rules, each a function that says what is wrong.

After the rules of Grafana's dashboard-linter (github.com/grafana/dashboard-linter, docs/index.md: data source, job and
instance variables, titles, descriptions, units), and our own: what keeps a dashboard from breaking (ids, layout, links)
and a reader from guessing (empty states, thresholds). The rules for queries stand in a module of their own.
"""

import re
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Final

from grafana_foundation_sdk.models import units

from tests.grafana import lint_look
from tests.grafana.board import Board, Json, label_values
from tests.grafana.lint_queries import (
    Problems,
    aggregated_by,
    both_kinds_of_histogram,
    counters_in_rate,
    few_lines,
    job_and_instance_matchers,
    known_functions,
    legends,
    no_quantile_of_nothing,
    no_ratio_of_nothing,
    only_workers_that_are_up,
    own_variables_used,
    valid_promql,
    windows,
)

UIDS: Final = {f"celery-exporter-{about}" for about in ("overview", "task", "worker", "queue", "instance")}

_DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_UNITS: Final = {
    value for name, value in vars(units).items() if isinstance(value, str) and name[0].isupper()
} | {
    "count:/s"  # a number with this behind it
}


def uid_and_tags(board: Board) -> Problems:
    """The uid is one that alerts link to, and the tag is the one that dashboards link to each other by."""
    if board.json.get("uid") not in UIDS:
        yield f"uid {board.json.get('uid')!r}"
    if "celery-exporter" not in board.json.get("tags", ()):
        yield "no tag celery-exporter"
    if not board.json.get("description"):
        yield "no description"


def datasource_variable(board: Board) -> Problems:
    """The first variable chooses a Prometheus."""
    first = board.variables()[0]
    if (first["name"], first["type"], first.get("query")) != ("datasource", "datasource", "prometheus"):
        yield "the first variable is no choice of a Prometheus"


def job_and_instance_variables(board: Board) -> Problems:
    """Job and instance come next, of exporters alone: one job, and no `allValue` that matches other targets' `up`."""
    named = board.variables()[1:3]
    if [variable["name"] for variable in named] != ["job", "instance"]:
        yield "job and instance are not the second and third variable"
    for variable in named:
        if variable.get("allValue"):
            yield f"{variable['name']}: All matches other jobs' targets"
    if named[0].get("multi") or named[0].get("includeAll") or named[0].get("current"):
        yield "job: not one, the first to begin with: two jobs' workers of one name would be one"


def variables_cascade(board: Board) -> Problems:
    """Each one but job can have several values or All, is asked again with the time range, and heeds earlier ones."""
    before = {"datasource"}
    for variable in board.variables():
        name = variable["name"]
        if name in board.queried_variables():
            if name != "job" and not (variable["multi"] and variable["includeAll"]):
                yield f"{name}: not multi, or without All"
            if variable["refresh"] != 2:
                yield f"{name}: not refreshed"
            if variable["datasource"] != _DATASOURCE:
                yield f"{name}: another data source"
            selector, label = label_values(variable["query"]["query"])
            if label != name:
                yield f"{name}: asks for {label}"
            used = set(re.findall(r"\$(\w+)", selector))
            if used - before:
                yield f"{name}: uses {used - before}, which come later"
            missing = ({"job", "instance"} & before) - used
            if missing:
                yield f"{name}: heeds not {missing}"
        elif name in board.functions() and not variable.get("skipUrlSync"):
            yield f"{name}: an address would fix it"
        before.add(name)


def datasource_of_queries(board: Board) -> Problems:
    """Every panel, query and annotation asks the chosen data source."""
    for panel in board.panels():
        for asked in (panel, *panel["targets"]):
            if asked.get("datasource") != _DATASOURCE:
                yield f"{panel['title']}: {asked.get('datasource')}"
    for annotation in board.json["annotations"]["list"]:
        if annotation["datasource"] != _DATASOURCE:
            yield f"annotation {annotation['name']}"


def titles_and_descriptions(board: Board) -> Problems:
    """Every panel has both, and no two of a row the same title."""
    seen: set[tuple[str, str]] = set()
    for row, panel in board.panels_by_row():
        if not panel.get("title") or not panel.get("description"):
            yield f"{row} / {panel.get('title')}: no title or no description"
        if (row, panel.get("title", "")) in seen:
            yield f"{row} / {panel['title']} twice"
        seen.add((row, panel.get("title", "")))


def units_are_known(board: Board) -> Problems:
    """Every panel, and every column of values of a table, has a unit that Grafana knows."""
    for panel in board.panels():
        found = [panel["fieldConfig"]["defaults"].get("unit")]
        found += [value["value"] for _, value in _properties(panel) if value["id"] == "unit"]
        for unit in found:
            if unit not in _UNITS:
                yield f"{panel['title']}: {unit}"
        if panel["type"] == "table":
            renamed = panel["transformations"][-1]["options"]["renameByName"]
            columns = {head for field, head in renamed.items() if field.startswith("Value")}
            with_unit = {head for head, value in _properties(panel) if value["id"] == "unit"}
            for head in columns - with_unit:
                yield f"{panel['title']}: column {head} has no unit"


def empty_states(board: Board) -> Problems:
    """Every panel says what it means when it is empty."""
    for panel in board.panels():
        if not panel["fieldConfig"]["defaults"].get("noValue"):
            yield panel["title"]


def thresholds_in_order(board: Board) -> Problems:
    """Steps begin below everything and rise."""
    for panel in board.panels():
        configured = [panel["fieldConfig"]["defaults"].get("thresholds")]
        configured += [value["value"] for _, value in _properties(panel) if value["id"] == "thresholds"]
        for thresholds in filter(None, configured):
            first, *others = [step["value"] for step in thresholds["steps"]]
            if first is not None or others != sorted(others):
                yield f"{panel['title']}: {[first, *others]}"


def has_queries(board: Board) -> Problems:
    """Every panel asks something, by names A, B, C that differ."""
    for panel in board.panels():
        named = [target["refId"] for target in panel.get("targets", ())]
        if not named or len(named) != len(set(named)):
            yield f"{panel['title']}: {named}"


def unique_ids(board: Board) -> Problems:
    """No two panels or rows have the same id."""
    found = [panel.get("id") for panel in (*board.rows(), *board.panels())]
    if None in found or 0 in found or len(found) != len(set(found)):
        yield f"{found}"


def layout(board: Board) -> Problems:
    """Panels lie within 24 columns and upon nothing else; those of a collapsed row among themselves."""
    open_panels = list(board.json["panels"])
    for together in (open_panels, *(row["panels"] for row in board.rows() if row.get("panels"))):
        for panel in together:
            place = panel["gridPos"]
            if place["x"] < 0 or place["x"] + place["w"] > 24 or place["w"] < 1 or place["h"] < 1:
                yield f"{panel['title']} leaves the grid"
        for one, other in combinations(together, 2):
            if _overlap(one["gridPos"], other["gridPos"]):
                yield f"{one['title']} lies upon {other['title']}"


def links(board: Board) -> Problems:
    """Buttons and data links lead to dashboards of the set and keep time range, data source and job."""
    top = board.json.get("links", ())
    if not any(
        link["tags"] == ["celery-exporter"] and link["keepTime"] and link["includeVars"] for link in top
    ):
        yield "no buttons to the other dashboards"
    for panel in board.panels():
        found = list(panel["fieldConfig"]["defaults"].get("links", ()))
        found += [
            link for _, value in _properties(panel) if value["id"] == "links" for link in value["value"]
        ]
        for link in found:
            path, _, query = link["url"].partition("?")
            if path.removeprefix("/d/").replace("${__data.fields.kind}", "task") not in UIDS:
                yield f"{panel['title']}: to {path}"
            for kept in ("${__url_time_range}", "${datasource:queryparam}", "${job:queryparam}"):
                if kept not in query:
                    yield f"{panel['title']}: loses {kept}"


RULES: Final[tuple[Callable[[Board], Problems], ...]] = (
    *lint_look.RULES,
    uid_and_tags,
    datasource_variable,
    job_and_instance_variables,
    variables_cascade,
    datasource_of_queries,
    titles_and_descriptions,
    units_are_known,
    empty_states,
    thresholds_in_order,
    has_queries,
    valid_promql,
    windows,
    counters_in_rate,
    job_and_instance_matchers,
    own_variables_used,
    aggregated_by,
    few_lines,
    only_workers_that_are_up,
    no_ratio_of_nothing,
    no_quantile_of_nothing,
    both_kinds_of_histogram,
    known_functions,
    legends,
    unique_ids,
    layout,
    links,
)


def _properties(panel: Json) -> Iterator[tuple[str, Json]]:
    """Every override: the field that it is for, and one property."""
    for override in panel["fieldConfig"].get("overrides", ()):
        for value in override["properties"]:
            yield override["matcher"]["options"], value


def _overlap(one: Json, other: Json) -> bool:
    return bool(
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )
