"""The committed dashboards: that they are what the source says, in the form that Grafana reads, and good ones."""

import json
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.source.files import SHEETS
from tests.grafana.board import FOLDER, Board, boards
from tests.grafana.lint import RULES, UIDS

BOARDS = boards()

#: What Grafana's Prometheus data source reads of an annotation, and its import of a file: the SDK's models lack it.
NOT_IN_THE_MODEL = {"titleFormat", "textFormat", "tagKeys", "target", "__requires"}


@pytest.mark.parametrize("name", SHEETS)
def test_committed_json_is_what_the_source_says(name: str) -> None:
    """Who changes a panel runs `make dashboards`."""
    committed = (FOLDER / f"{name}.json").read_text(encoding="utf-8")
    assert committed == SHEETS[name].json(), "stale: run `make dashboards`"


def test_no_other_file() -> None:
    """Each committed dashboard has a source, and the five that alerts link to are there."""
    assert {board.name for board in BOARDS} == set(SHEETS)
    assert {board.json["uid"] for board in BOARDS} == UIDS


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_schema(board: Board) -> None:
    """Read into the SDK's models of Grafana's schema and written again, nothing is lost: every key is one of theirs."""
    register_default_plugins()
    again = json.loads(json.dumps(Dashboard.from_json(board.json), cls=JSONEncoder))
    assert list(lost(board.json, again)) == []
    assert board.json["schemaVersion"] == 41


def test_schema_check_finds_what_is_no_key() -> None:
    """A key that Grafana's schema does not have is lost on the way, at any depth."""
    register_default_plugins()
    broken = json.loads(json.dumps(BOARDS[0].json))
    broken["panels"][1]["options"]["colour"] = "red"
    broken["templating"]["list"][1]["allvalue"] = ".+"
    again = json.loads(json.dumps(Dashboard.from_json(broken), cls=JSONEncoder))
    assert list(lost(broken, again)) == ["/panels/1/options/colour", "/templating/list/1/allvalue"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_lint(board: Board, rule: Any) -> None:
    """Every dashboard obeys every rule."""
    assert list(rule(board)) == []


def test_overview_leads_to_the_failing_task() -> None:
    """Two clicks: the name of a task that fails, then its link, which chooses it and keeps time and job."""
    (overview,) = (board for board in BOARDS if board.name == "overview")
    (failing,) = (panel for panel in overview.panels() if panel["title"] == "Tasks that fail")
    (of_task,) = (
        override["properties"]
        for override in failing["fieldConfig"]["overrides"]
        if override["matcher"]["options"] == "Task"
    )
    (link,) = (link for value in of_task if value["id"] == "links" for link in value["value"])
    path, _, query = link["url"].partition("?")
    assert path == "/d/celery-exporter-task"
    assert query.split("&") == [
        "${__url_time_range}",
        *(f"${{{name}:queryparam}}" for name in ("datasource", "job", "instance")),
        "var-task=${__value.text:percentencode}",
    ]
    (task,) = (board for board in BOARDS if board.name == "task")
    assert task.json["uid"] == "celery-exporter-task"
    assert "task" in task.queried_variables()


def lost(before: Any, after: Any, path: str = "") -> list[str]:
    """Where something of ``before`` is missing or different in ``after``, which may have more."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            place
            for key in sorted(before.keys() - NOT_IN_THE_MODEL)
            for place in (
                lost(before[key], after[key], f"{path}/{key}") if key in after else [f"{path}/{key}"]
            )
        ]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [
            place
            for number, (one, other) in enumerate(zip(before, after, strict=True))
            for place in lost(one, other, f"{path}/{number}")
        ]
    return [] if before == after else [path]
