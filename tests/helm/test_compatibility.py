"""The names of another exporter: the relabelings of grafana/compatibility, wherever the chart has metrics scraped."""

import re
from typing import Any

import pytest
import yaml

from tests.helm.chart import CHART, Object, of_kind, refusal, template

pytestmark = pytest.mark.needs("helm")

FILES = {path.stem: path for path in (CHART / "files" / "compatibility").iterdir()}
MONITORS = ("serviceMonitor", "podMonitor", "scrapeConfig", "workers.podMonitor")
OWN = {"action": "drop", "regex": "python_.*", "sourceLabels": ["__name__"]}


def relabelings(item: Object) -> list[dict[str, Any]]:
    """Those of a monitor's metrics."""
    spec = item["spec"]
    (place,) = spec.get("endpoints") or spec.get("podMetricsEndpoints") or [spec]
    found: list[dict[str, Any]] = place.get("metricRelabelings", [])
    return found


def with_compatibility(monitor: str, name: str) -> dict[str, Any]:
    """Values for one monitor."""
    values: dict[str, Any] = {"enabled": True, "compatibility": name}
    if monitor.startswith("workers"):
        return {"workers": {"podMonitor": {**values, "selector": {"matchLabels": {"app": "worker"}}}}}
    return {monitor: values}


def test_all_monitors_get_the_relabelings_of_the_file() -> None:
    """The same as in the file, in the operator's spelling, before those of the user."""
    (scrape,) = yaml.safe_load(FILES["danihodovic"].read_text(encoding="utf-8"))["scrape_configs"]
    spelled = [
        {re.sub(r"_(\w)", lambda letter: letter[1].upper(), key): value for key, value in rule.items()}
        for rule in scrape["metric_relabel_configs"]
    ]
    items = of_kind(template("compatibility"), "ServiceMonitor", "PodMonitor", "ScrapeConfig")
    assert len(items) == len(MONITORS)
    for item in items:
        assert relabelings(item) == [*spelled, OWN]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("monitor", MONITORS)
def test_each_monitor_takes_each_name(monitor: str, name: str) -> None:
    """Every file of the folder can be chosen for every monitor, and by default none is."""
    (item,) = of_kind(
        template(with_compatibility(monitor, name)), "ServiceMonitor", "PodMonitor", "ScrapeConfig"
    )
    assert len(relabelings(item)) > 5
    (item,) = of_kind(
        template(with_compatibility(monitor, "")), "ServiceMonitor", "PodMonitor", "ScrapeConfig"
    )
    assert relabelings(item) == []


@pytest.mark.parametrize("monitor", MONITORS)
def test_alerts_of_this_chart_do_not_go_with_it(monitor: str) -> None:
    """They would be blind for what has another name: refused."""
    values = {**with_compatibility(monitor, "danihodovic"), "prometheusRule": {"enabled": True}}
    assert "takes away names that the alerts of this chart need" in refusal(values)


@pytest.mark.parametrize("monitor", MONITORS)
def test_other_names_are_refused(monitor: str) -> None:
    """Only what there is a file for."""
    assert "compatibility" in refusal(with_compatibility(monitor, "flower"))
