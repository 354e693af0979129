"""docs/migration.md: both sides are PromQL, ours name what there is, theirs what the page says they had."""

import re

import promql_parser
import pytest

from celery_metrics_exporter.cli.main import commands
from tests.docs.pages import ROOT, tables
from tests.grafana.contract import known_to_the_code, uses_in_promql, uses_in_text
from tests.integration.danihodovic import METRICS

PAGE = (ROOT / "docs" / "migration.md").read_text(encoding="utf-8")
TABLES = list(tables(PAGE))
KNOWN = known_to_the_code()


def rows(heading: str) -> list[tuple[str, str]]:
    """The rows of every table whose first column is called so."""
    return [(row[0], row[1]) for head, body in TABLES if head[0] == heading for row in body]


def queries(cell: str) -> list[str]:
    """The PromQL of a cell."""
    return re.findall(r"`([^`]+)`", cell)


def names(text: str) -> set[str]:
    """The metrics that a text names."""
    return set(re.findall(r"\b(?:celery|flower)_\w+", text))


@pytest.mark.parametrize(("before", "after"), rows("before (PromQL)"))
def test_queries_are_promql(before: str, after: str) -> None:
    """Both sides parse; ours uses metrics and labels that there are."""
    for expr in queries(before):
        promql_parser.parse(expr)
    for expr in queries(after):
        promql_parser.parse(expr)
        assert [problem for use in uses_in_promql("after", expr) if (problem := KNOWN.wrong(use))] == []


def test_what_was_used_before_has_a_row() -> None:
    """A metric in a query of the left side is told what became of it."""
    told = names(" ".join(before for before, _ in rows("before")))
    used = names(" ".join(before for before, _ in rows("before (PromQL)")))
    assert used
    assert used <= told


@pytest.mark.parametrize("after", [after for _, after in rows("before")])
def test_names_of_today_exist(after: str) -> None:
    """Each metric of the right side, with the labels it is named with."""
    uses = list(uses_in_text("after", after))
    assert uses
    assert [problem for use in uses if (problem := KNOWN.wrong(use))] == []


def test_what_relabeling_renames_is_told() -> None:
    """Each metric that grafana/compatibility makes of one with another name, and no other."""
    (table,) = [body for head, body in TABLES if head[1] == "is ours, renamed"]
    renamed = {metric for metric in METRICS if metric not in KNOWN.labels} | {"celery_task_failed_total"}
    assert names(" ".join(before for before, _ in table)) == renamed


def test_flags_of_today_exist() -> None:
    """Each flag of the right side."""
    options = {flag for option in commands().options() for flag in (*option.opts, *option.secondary_opts)}
    said = {flag for _, after in rows("flag before") for flag in re.findall(r"--[\w.-]+", after)}
    assert said
    assert said <= options
