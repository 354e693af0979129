"""The PrometheusRule: the rules of grafana/alerts, what values change in them, and promtool's verdict on the result."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.alerts.hurried import ALERTS
from tests.helm.chart import CHART, Object, one, template
from tests.integration.servers import promtool

pytestmark = pytest.mark.needs("helm")

FILES = ("settings", "exporter", "workers", "queues", "tasks")
SWITCHES = ("celery-exporter", "celery-broker", "celery-workers", "celery-queues", "celery-tasks")
_RECORDS = re.compile(r"celery:[a-z_]+(?::[a-z0-9_]+)*")

Group = dict[str, Any]


def source(name: str) -> list[Group]:
    """The groups of a file of grafana/alerts."""
    groups: list[Group] = yaml.safe_load((ALERTS / f"{name}.yaml").read_text(encoding="utf-8"))["groups"]
    return groups


def rendered(**values: Any) -> list[Group]:
    """The groups of the PrometheusRule."""
    rule: Object = one(template({"prometheusRule": {"enabled": True, **values}}), "PrometheusRule")
    groups: list[Group] = rule["spec"]["groups"]
    return groups


def rules(groups: list[Group]) -> dict[str, dict[str, Any]]:
    """Alerts by name."""
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def settings(groups: list[Group]) -> dict[tuple[str, ...], str]:
    """Expressions of the settings, by name and labels."""
    (group,) = (group for group in groups if group["name"] == "celery-settings")
    return {
        (rule["record"], *sorted(f"{key}={value}" for key, value in rule.get("labels", {}).items())): rule[
            "expr"
        ]
        for rule in group["rules"]
    }


def write_rules(groups: list[Group], folder: Path) -> None:
    """Write the groups as files of the names that they have in grafana/alerts, and the unit tests beside them."""
    shutil.copytree(ALERTS / "tests", folder / "tests")
    for name in FILES:
        names = {group["name"] for group in source(name)}
        chosen = [group for group in groups if group["name"] in names]
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({"groups": chosen}), encoding="utf-8")


def test_default_rules_are_those_of_the_repository() -> None:
    """Group for group and rule for rule, unchanged, so that promtool's unit tests of these files hold for the chart."""
    assert rendered() == [group for name in FILES for group in source(name)]


@pytest.mark.needs("prometheus")
def test_promtool_accepts_the_rendered_rules(tmp_path: Path) -> None:
    """With everything on, overrides and groups of the user among them."""
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(one(template("everything"), "PrometheusRule")["spec"]), encoding="utf-8")
    checked = promtool("check", "rules", "--lint=all", "--lint-fatal", file)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.needs("prometheus")
def test_overrides_work_as_in_a_file_of_the_user(tmp_path: Path) -> None:
    """The unit tests of overrides and schedules, with both given by values in place of a file of rules."""
    overrides, schedules = [], {}
    text = (ALERTS / "tests" / "overrides.rules.yaml").read_text(encoding="utf-8")
    for rule in yaml.safe_load(text)["groups"][0]["rules"]:
        value = rule["expr"].removeprefix("vector(").removesuffix(")")
        if rule["record"].startswith("celery:schedule:"):
            schedules[rule["labels"]["task"]] = value
        else:
            overrides.append({"threshold": rule["record"].split(":")[2], "value": value, **rule["labels"]})
    write_rules(rendered(overrides=overrides, schedules=schedules), tmp_path)
    unit = tmp_path / "tests" / "listed.yaml"
    without_file = (
        unit.read_text(encoding="utf-8")
        .replace("overrides.rules.yaml, ", "")
        .replace("celery-overrides, ", "")
    )
    assert "overrides" not in without_file.partition("tests:")[0].partition("\n")[2]
    unit.write_text(without_file, encoding="utf-8")
    tested = promtool("test", "rules", unit)
    assert tested.returncode == 0, tested.stdout


def test_settings_follow_the_values() -> None:
    """Thresholds and links in place of the defaults, overrides and schedules beside them; large numbers stay plain."""
    before = settings(rendered())
    after = settings(one(template("everything"), "PrometheusRule")["spec"]["groups"])
    changed = {key: expr for key, expr in after.items() if before.get(key) != expr}
    assert changed == {
        (
            "celery:links",
            "grafana=https://grafana.example.org",
            "runbook=https://example.org/runbook.md",
        ): "vector(1)",
        ("celery:threshold:queue_wait_seconds",): "vector(300)",
        ("celery:threshold:unacked_seconds",): "vector(0.8 * 7200)",
        ("celery:threshold:queue_growing_length",): "vector(2000000)",
        ("celery:threshold:queue_wait_seconds", "queue=reports"): "vector(3600)",
        ("celery:threshold:task_running_seconds", "task=train"): "vector(Inf)",
        ("celery:schedule:max_age_seconds", "task=reports.build_nightly"): "vector(26 * 3600)",
    }
    assert {key[0] for key in before} <= {key[0] for key in after}


def test_alerts_follow_the_values() -> None:
    """One is off, one has other labels and waits; all have the labels and annotations that all shall have."""
    before, after = rules(rendered()), rules(one(template("everything"), "PrometheusRule")["spec"]["groups"])
    assert before.keys() - after.keys() == {"CeleryWorkerClockOffset"}
    for name, alert in after.items():
        assert alert["expr"] == before[name]["expr"]
        assert alert["labels"]["team"] == "platform"
        assert alert["annotations"]["chat"] == "#celery"
        assert before[name]["annotations"].items() <= alert["annotations"].items()
    slow = after["CeleryTaskFailuresSlow"]
    assert (slow["for"], slow["keep_firing_for"]) == ("1h", "10m")
    assert slow["labels"]["severity"] == "info"
    assert slow["annotations"]["note"] == "be patient"


@pytest.mark.parametrize("off", SWITCHES)
def test_a_group_can_be_off(off: str) -> None:
    """It and what only it needs are gone; what the others need of recording rules is still there."""
    groups = rendered(groups={off: {"enabled": False}})
    gone = {group["name"] for group in rendered()} - {group["name"] for group in groups}
    assert gone == ({off, f"{off}-slow"} if off == "celery-tasks" else {off})
    made = {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}
    used = {name for group in groups for rule in group["rules"] for name in _RECORDS.findall(rule["expr"])}
    assert used - made <= {"celery:threshold:", "celery:schedule:max_age_seconds", "celery:threshold"}


def test_switches_name_all_groups() -> None:
    """A new group in grafana/alerts needs a switch; the rules over long windows go with those that they serve."""
    names = {group["name"].removesuffix("-slow") for name in FILES[1:] for group in source(name)}
    assert names == set(SWITCHES)
    assert yaml.safe_load((CHART / "values.yaml").read_text())["prometheusRule"]["groups"].keys() == names
    assert {path.stem for path in ALERTS.glob("*.yaml")} == set(FILES)


def test_intervals_of_groups() -> None:
    """A group's own interval stays; one from values is taken where there is none."""
    groups = rendered(groups={name: {"interval": "3m"} for name in SWITCHES})
    intervals = {group["name"]: group.get("interval") for group in groups}
    slow = next(group["interval"] for group in source("tasks") if group["name"].endswith("-slow"))
    assert intervals == {
        "celery-settings": None,
        **dict.fromkeys(SWITCHES, "3m"),
        "celery-tasks-slow": slow,
    }


def test_the_schema_knows_alerts_and_thresholds() -> None:
    """A new alert or threshold can be set, one that is gone cannot."""
    schema = yaml.safe_load((CHART / "values.schema.json").read_text(encoding="utf-8"))
    properties = schema["properties"]["prometheusRule"]["properties"]
    assert properties["alerts"]["properties"].keys() == rules(rendered()).keys()
    thresholds = {
        key[0].split(":")[2] for key in settings(rendered()) if key[0].startswith("celery:threshold:")
    }
    assert properties["thresholds"]["properties"].keys() == thresholds
    of_one = {name for name in thresholds if name.startswith(("queue_", "task_"))}
    assert set(schema["definitions"]["override"]["properties"]["threshold"]["enum"]) == of_one
