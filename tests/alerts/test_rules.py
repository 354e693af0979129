"""The alert rules by themselves: promtool's checks and unit tests, and what each alert must bring along."""

import json
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.alerts.hurried import ALERTS
from tests.docs.pages import anchors
from tests.integration.servers import promtool
from tests.integration.servers.exporter import REPOSITORY

RULES = sorted(ALERTS.glob("*.yaml"))
TESTS = sorted(path for path in (ALERTS / "tests").glob("*.yaml") if not path.name.endswith(".rules.yaml"))
RUNBOOK = REPOSITORY / "docs" / "runbook.md"
DASHBOARDS = {f"celery-exporter-{about}" for about in ("overview", "task", "worker", "queue", "instance")}

#: The first promtool in whose unit tests we have written native histograms; 2.42's cannot read them.
NATIVE_SINCE = (2, 53)

_THRESHOLD = re.compile(r"celery:threshold:\w+")
_LINK = re.compile(
    r'\{\{ with query "celery:links" \}\}\{\{ \. \| first \| label "(\w+)" \}\}\{\{ end \}\}(.*)'
)


def promtool_version() -> tuple[int, int]:
    """The version of promtool."""
    found = re.search(r"version (\d+)\.(\d+)", promtool("--version").stdout)
    assert found is not None
    return int(found[1]), int(found[2])


class Expected(NamedTuple):
    """What the unit tests say of one alert: how often it must fire, and how often it must be silent."""

    fires: int
    silent: int


def _rules() -> list[dict[str, Any]]:
    return [
        rule
        for path in RULES
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]


ALERT_RULES = {rule["alert"]: rule for rule in _rules() if "alert" in rule}


@cache
def _cases() -> list[dict[str, Any]]:
    return [
        case
        for path in TESTS
        for test in yaml.safe_load(path.read_text())["tests"]
        for case in test.get("alert_rule_test", ())
    ]


def _expected(name: str) -> Expected:
    cases = [case for case in _cases() if case["alertname"] == name]
    return Expected(
        sum(bool(case["exp_alerts"]) for case in cases), sum(not case["exp_alerts"] for case in cases)
    )


def _settings() -> set[str]:
    return set(_THRESHOLD.findall((ALERTS / "settings.yaml").read_text()))


@pytest.mark.needs("prometheus")
def test_promtool_accepts_the_rules() -> None:
    """All rule files are valid together, without two rules that write the same series."""
    checked = promtool("check", "rules", "--lint=all", "--lint-fatal", *RULES)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.needs("prometheus")
@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_alerts_fire_and_stay_silent(path: Path) -> None:
    """promtool's unit tests of one file hold.

    A range such as ``[15m]`` takes in a sample that is exactly 15 minutes old up to Prometheus 2, and not from 3 on.
    What is expected has to hold for both.
    """
    if path.name == "native.yaml" and promtool_version() < NATIVE_SINCE:
        pytest.skip(
            "this promtool knows no native histograms; tests/grafana/test_histograms.py asks a server"
        )
    tested = promtool("test", "rules", path)
    assert tested.returncode == 0, tested.stdout


@pytest.mark.parametrize("name", ALERT_RULES)
def test_alert_is_complete(name: str) -> None:
    """An alert says how bad it is, what happens, where, and what to do, and is tested both ways."""
    rule = ALERT_RULES[name]
    assert re.fullmatch(r"Celery[A-Z]\w+", name)
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    notes = rule["annotations"]
    assert notes.keys() == {"summary", "description", "runbook_url", "dashboard_url"}
    assert "{{" in notes["summary"] + notes["description"], "says which and how much"
    runbook, dashboard = _LINK.fullmatch(notes["runbook_url"]), _LINK.fullmatch(notes["dashboard_url"])
    assert runbook is not None
    assert runbook.groups() == ("runbook", f"#{name.lower()}")
    assert dashboard is not None
    assert dashboard[1] == "grafana"
    found = re.match(r"/d/([\w-]+)(\?|\{|$)", dashboard[2])
    assert found is not None
    assert found[1] in DASHBOARDS
    expected = _expected(name)
    assert expected.fires, "no unit test in which it fires"
    assert expected.silent, "no unit test in which it is silent"


def test_runbook_has_one_section_an_alert() -> None:
    """Each alert has its section in the runbook, with its three parts; there is no other."""
    sections = dict(
        re.findall(r"^### (Celery\w+)$(.*?)(?=^##|\Z)", RUNBOOK.read_text(), re.MULTILINE | re.DOTALL)
    )
    assert sections.keys() == ALERT_RULES.keys()
    for name, text in sections.items():
        parts = re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE)
        assert parts == ["Means", "Check", "Do"], name


def test_links_to_the_runbook_lead_to_the_repository() -> None:
    """Unconfigured, an alert links to a heading of the runbook, at the address of the project."""
    links = next(rule["labels"] for rule in _rules() if rule.get("record") == "celery:links")
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert links["runbook"] == f"{project['urls']['Repository']}/blob/main/{RUNBOOK.relative_to(REPOSITORY)}"
    assert {name.lower() for name in ALERT_RULES} <= anchors(RUNBOOK.read_text())
    for case in _cases():
        for alert in case["exp_alerts"]:
            assert alert["exp_annotations"]["runbook_url"].startswith((links["runbook"], "#"))


def test_dashboards_that_alerts_link_to_exist() -> None:
    """The dashboards' files have the uids that alerts link to."""
    uids = {json.loads(path.read_text())["uid"] for path in (ALERTS.parent / "dashboards").glob("*.json")}
    assert uids == DASHBOARDS


def test_every_threshold_is_used_and_set() -> None:
    """The rules use the thresholds of settings.yaml, all of them, and no other; CeleryThresholdsMissing counts them."""
    used = {
        name
        for path in RULES
        if path.name != "settings.yaml"
        for name in _THRESHOLD.findall(path.read_text())
    }
    assert used == _settings()
    missing = ALERT_RULES["CeleryThresholdsMissing"]
    assert f"< {len(_settings())}\n" in missing["expr"]
    assert f"of {len(_settings())} thresholds" in missing["annotations"]["description"]


@pytest.mark.parametrize("name", sorted(_settings()))
def test_overrides_apply_where_they_are_promised(name: str) -> None:
    """A threshold that takes overrides is compared with them first, and with the default where there is none."""
    label = {"task": "task", "queue": "queue"}.get(name.split(":")[2].split("_", maxsplit=1)[0], "")
    for rule in _rules():
        expr = " ".join(rule["expr"].split())
        if name not in expr or ("record" in rule and rule["record"] == name):
            continue
        if label:
            assert f"> on ({label}) group_left () {name} or" in expr
            assert (
                f'> on () group_left () {name}{{{label}=""}} unless on ({label}) {name}{{{label}!=""}}'
                in expr
            )
        else:
            assert re.search(rf">=? on \(\) group_left \(\) {name}(?![\w{{])", expr)
