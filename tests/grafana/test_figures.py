"""What figures and tables say of situations that look alike, evaluated by Prometheus' own promtool."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.grafana.board import boards
from tests.grafana.interpolation import fill, intervals
from tests.integration.servers.prometheus import promtool

BOARDS = {board.name: board for board in boards()}
HERE = 'job="celery", instance="e:1"'
UP = f"up{{{HERE}}}"
SECOND_UP = 'up{job="celery", instance="e:2"}'
RULES = "celery:threshold:queue_wait_seconds"
FIRES = 'ALERTS{alertname="CeleryA", alertstate="firing", severity="critical", job="celery", queue="a"}'
OF_ANOTHER_JOB = 'ALERTS{alertname="CeleryA", alertstate="firing", severity="critical", job="other"}'
INFORMS = 'ALERTS{alertname="CeleryD", alertstate="firing", severity="info", job="celery"}'
OF_ALL_JOBS = 'ALERTS{alertname="CeleryB", alertstate="firing", severity="warning"}'
PENDING = (
    'ALERTS{alertname="CeleryC", alertstate="pending", severity="warning", job="celery", task="t", queue="a"}'
)
PENDS_SINCE = 'ALERTS_FOR_STATE{alertname="CeleryC", severity="warning", job="celery", task="t", queue="a"}'
LENGTH = f'celery_queue_length{{{HERE}, queue="a"}}'
OLDEST = f'celery_queue_oldest_message_timestamp_seconds{{{HERE}, queue="a"}}'
CONSUMERS = f'celery_queue_consumers{{{HERE}, queue="a"}}'
WORKERS = f'celery_queue_workers{{{HERE}, queue="a"}}'
SUCCEEDED = f'celery_task_succeeded_total{{{HERE}, queue="a", task="t"}}'
FAILED = f'celery_task_failed_total{{{HERE}, queue="a", task="t"}}'


def worker(metric: str, name: str, job: str = "celery") -> str:
    """A series of a worker."""
    return f'celery_worker_{metric}{{job="{job}", instance="e:1", worker="{name}"}}'


TWO_WORKERS = {
    worker("up", "lives"): "1x20",
    worker("active_tasks", "lives"): "1x20",
    worker("pool_size", "lives"): "4x20",
    worker("up", "dead"): "0x20",
    worker("active_tasks", "dead"): "4x20",
    worker("pool_size", "dead"): "4x20",
}


class Case(NamedTuple):
    """A panel of a dashboard, one of its queries, what there is, and what it says after 10 minutes."""

    board: str
    panel: str
    query: str
    series: Mapping[str, str]
    says: Mapping[str, float]


CASES = {
    "no alert fires": Case("overview", "Firing alerts", "A", {UP: "1x20", RULES: "60x20"}, {"{}": 0}),
    "an exporter is down": Case("overview", "Firing alerts", "A", {UP: "0x20", RULES: "60x20"}, {"{}": -1}),
    "there is no exporter": Case("overview", "Firing alerts", "A", {RULES: "60x20"}, {"{}": -1}),
    "no rules are loaded": Case("overview", "Firing alerts", "A", {UP: "1x20"}, {}),
    "alerts of this job and of all": Case(
        "overview",
        "Firing alerts",
        "A",
        {
            UP: "0x20",
            RULES: "60x20",
            FIRES: "1x20",
            OF_ANOTHER_JOB: "1x20",
            OF_ALL_JOBS: "1x20",
            PENDING: "1x20",
        },
        {"{}": 2},
    ),
    "alerts have a link to what they are about": Case(
        "overview",
        "Alerts",
        "A",
        {FIRES: "1x20", OF_ALL_JOBS: "1x20", PENDING: "1x20"},
        {
            '{state="firing: critical", alertname="CeleryA", kind="queue", about="a"}': 1,
            '{state="firing: warning", alertname="CeleryB", kind="overview", about="everything"}': 1,
            '{state="pending: warning", alertname="CeleryC", kind="task", about="t"}': 1,
        },
    ),
    "since when an alert is true": Case(
        "overview",
        "Alerts",
        "B",
        {PENDING: "1x20", PENDS_SINCE: "60x20"},
        {'{state="pending: warning", alertname="CeleryC", kind="task", about="t"}': 540},
    ),
    "nothing waits": Case("overview", "Oldest message", "A", {UP: "1x20", LENGTH: "0x20"}, {"{}": -1}),
    "nothing waits where one of two exporters sees it": Case(
        "overview", "Oldest message", "A", {UP: "1x20", SECOND_UP: "0x20", LENGTH: "0x20"}, {}
    ),
    "a message waits": Case(
        "overview", "Oldest message", "A", {LENGTH: "5x20", OLDEST: "60x20"}, {"{}": 540}
    ),
    "its age is not known": Case("overview", "Oldest message", "A", {LENGTH: "5x20"}, {}),
    "no queue is known": Case("overview", "Oldest message", "A", {UP: "0x20"}, {}),
    "messages wait for nobody": Case(
        "overview", "Queues without consumers", "A", {LENGTH: "5x20", WORKERS: "0x20"}, {"{}": 1}
    ),
    "messages wait for a worker": Case(
        "overview", "Queues without consumers", "A", {UP: "1x20", LENGTH: "5x20", WORKERS: "1x20"}, {"{}": 0}
    ),
    "a worker that does not consume": Case(
        "overview",
        "Queues without consumers",
        "A",
        {UP: "1x20", LENGTH: "5x20", CONSUMERS: "0x20", WORKERS: "1x20"},
        {"{}": 1},
    ),
    "nobody told who consumes": Case(
        "overview", "Queues without consumers", "A", {UP: "1x20", LENGTH: "5x20"}, {}
    ),
    "consumers where one of two exporters sees them": Case(
        "overview",
        "Queues without consumers",
        "A",
        {UP: "1x20", SECOND_UP: "0x20", LENGTH: "5x20", WORKERS: "1x20"},
        {},
    ),
    "a worker is down that one of two exporters sees": Case(
        "overview", "Workers down", "A", {UP: "1x20", SECOND_UP: "0x20", worker("up", "w"): "0x20"}, {"{}": 1}
    ),
    "all workers are up that one of two exporters sees": Case(
        "overview", "Workers down", "A", {UP: "1x20", SECOND_UP: "0x20", worker("up", "w"): "1x20"}, {}
    ),
    "an alert for information": Case(
        "overview", "Firing alerts", "A", {UP: "1x20", RULES: "60x20", INFORMS: "1x20"}, {"{}": 0}
    ),
    "a dead worker's slots": Case("overview", "Saturation", "A", TWO_WORKERS, {"{}": 0.25}),
    "a dead worker's tasks": Case("workers", "Workers", "B", TWO_WORKERS, {'{worker="lives"}': 1}),
    "a worker of another job has the name": Case(
        "overview",
        "Monitoring health",
        "D",
        {worker("up", "a"): "1x20", worker("up", "a", "other"): "1x20"},
        {"{}": 1},
    ),
    "attempts that failed": Case(
        "overview", "Success ratio", "A", {UP: "1x20", SUCCEEDED: "0+3x20", FAILED: "0+1x20"}, {"{}": 0.75}
    ),
    "attempts until the exporter went": Case(
        "overview", "Success ratio", "A", {UP: "1x5 0x15", SUCCEEDED: "0+3x5", FAILED: "0+1x5"}, {}
    ),
    "a queue that empties": Case("queues", "Queues", "C", {LENGTH: "1200-60x20"}, {'{queue="a"}': 600}),
    "a queue that wavers": Case("queues", "Queues", "C", {LENGTH: "1000000-0.6x20"}, {}),
    "a queue that grows": Case("queues", "Queues", "C", {LENGTH: "0+60x20"}, {}),
}


@pytest.mark.needs("prometheus")
@pytest.mark.parametrize("name", CASES)
def test_what_it_says(name: str, tmp_path: Path) -> None:
    """A figure tells the situations apart that it is there for; without a value the panel says so in words."""
    case = CASES[name]
    (expr,) = {
        target.expr
        for target in BOARDS[case.board].targets()
        if target.panel.endswith(f"/ {case.panel}") and target.name == case.query and target.instant
    }
    values = {"job": "celery", "instance": ".+", **dict.fromkeys(("queue", "task", "worker"), ".+")}
    filled = fill(expr, values | intervals(range_s=600, scrape_s=60, step_s=60))
    asked: dict[str, Any] = {
        "expr": filled,
        "eval_time": "10m",
        "exp_samples": [{"labels": labels, "value": value} for labels, value in case.says.items()],
    }
    series = [{"series": one, "values": samples} for one, samples in case.series.items()]
    tests = [{"interval": "1m", "input_series": series, "promql_expr_test": [asked]}]
    path = tmp_path / "figure.yaml"
    path.write_text(json.dumps({"rule_files": [], "evaluation_interval": "1m", "tests": tests}))
    tested = promtool("test", "rules", path)
    assert tested.returncode == 0, tested.stdout
