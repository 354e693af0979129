"""Colours of the dashboards and thresholds of the alerts: one file has both."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.alerts.hurried import ALERTS

#: Threshold -> its number, another one, what a dashboard has of the first, what it has of the other.
NUMBERS: dict[str, tuple[str, str, list[float], list[float]]] = {
    "queue_message_age_seconds": ("600", "60 * 40", [300, 600], [1200, 2400]),
    "queue_wait_seconds": ("60", "7", [60, 300], [7, 35]),
    "task_failure_ratio_slow": ("0.06", "0.3", [0.94, 0.99], [0.7, 0.95]),
    "queue_pool_busy_ratio": ("0.9", "0.6", [0.75, 0.9], [0.5, 0.6]),
    "clock_offset_seconds": ("5", "20", [1, 5], [4, 20]),
    "event_lag_seconds": ("10", "30", [5, 10], [15, 30]),
    "unacked_seconds": ("2880", "0.8 * 7200", [1800, 2880], [3600, 5760]),
}


def _written(folder: Path, **expressions: str) -> "subprocess.CompletedProcess[str]":
    """Write the dashboards of a copy of grafana/ whose settings have other expressions."""
    shutil.copytree(ALERTS.parent, folder / "grafana", ignore=shutil.ignore_patterns("__pycache__"))
    settings = folder / "grafana" / "alerts" / "settings.yaml"
    text = settings.read_text()
    for name, expr in expressions.items():
        before = f"celery:threshold:{name}\n        expr: vector({NUMBERS[name][0]})\n"
        assert before in text
        text = text.replace(before, f"celery:threshold:{name}\n        expr: {expr}\n")
    settings.write_text(text)
    return subprocess.run(
        [sys.executable, "-m", "grafana.source"], cwd=folder, capture_output=True, text=True, check=False
    )


def _limits(folder: Path) -> Counter[tuple[float, ...]]:
    """Where the colours of all panels and columns of all dashboards change, and how often there."""

    def found(node: Any) -> Iterator[tuple[float, ...]]:
        if isinstance(node, list):
            for one in node:
                yield from found(one)
        elif isinstance(node, dict):
            if isinstance(node.get("steps"), list):
                yield tuple(step["value"] for step in node["steps"] if step["value"])
            for one in node.values():
                yield from found(one)

    files = (folder / "dashboards").glob("*.json")
    return Counter(limits for path in files for limits in found(json.loads(path.read_text())))


def test_colours_follow_the_settings_of_the_alerts(tmp_path: Path) -> None:
    """Another number in settings.yaml, which every alert reads, is another limit wherever the old one came from it."""
    written = _written(tmp_path, **{name: f"vector({number[1]})" for name, number in NUMBERS.items()})
    assert written.returncode == 0, written.stderr
    before, after = _limits(ALERTS.parent), _limits(tmp_path / "grafana")
    for _, _, old, new in NUMBERS.values():
        changed = after[tuple(new)] - before[tuple(new)]
        assert changed > 0
        assert before[tuple(old)] - after[tuple(old)] == changed


def test_an_alert_that_is_off_judges_nothing(tmp_path: Path) -> None:
    """``vector(Inf)`` leaves panels without colours, and the JSON without Infinity."""
    written = _written(tmp_path, **dict.fromkeys(NUMBERS, "vector(Inf)"))
    assert written.returncode == 0, written.stderr
    before, after = _limits(ALERTS.parent), _limits(tmp_path / "grafana")
    for _, _, old, _ in NUMBERS.values():
        assert after[tuple(old)] < before[tuple(old)]
    for path in (tmp_path / "grafana" / "dashboards").glob("*.json"):
        assert "Infinity" not in path.read_text()


@pytest.mark.parametrize("expr", ["scalar(my_limit) + vector(1)", "vector(scalar(my_limit))"])
def test_what_only_prometheus_can_evaluate_is_refused(expr: str, tmp_path: Path) -> None:
    """Whoever builds the dashboards is told which threshold it is, and what to write."""
    written = _written(tmp_path, queue_wait_seconds=expr)
    assert written.returncode != 0
    assert (
        f"celery:threshold:queue_wait_seconds is {expr}; for the dashboards write vector(NUMBER)"
        in written.stderr
    )
