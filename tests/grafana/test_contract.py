"""Metrics and labels that anything names exist in the code, and each metric of the code is of use somewhere."""

import pytest

from celery_metrics_exporter.collectors import CATALOGUE
from tests.grafana.board import boards
from tests.grafana.contract import (
    ALERTS,
    ROOT,
    Known,
    Use,
    alert_files,
    known_to_the_code,
    pages,
    rules_in,
    series_of,
    uses_in_promql,
    uses_in_text,
    uses_of_boards,
    uses_of_rules,
    with_records,
    with_settings,
)

KNOWN = known_to_the_code()
RULES = {path.name: list(rules_in(path)) for path in alert_files()}
WITH_RULES = with_settings(
    with_records(KNOWN, [rule for rules in RULES.values() for rule in rules]), ALERTS / "settings.yaml"
)

# Metric -> why neither a dashboard nor an alert needs it.
UNUSED: dict[str, str] = {
    "celery_worker_load5": "celery_worker_load1 is drawn over time",
    "celery_worker_load15": "celery_worker_load1 is drawn over time",
}


def wrong(known: Known, uses: list[Use]) -> list[str]:
    """What is wrong with these uses."""
    return sorted({problem for use in uses if (problem := known.wrong(use))})


def test_dashboards_use_what_there_is() -> None:
    """Every metric and label of every query, variable and annotation; no recording rule but a threshold is needed."""
    uses = list(uses_of_boards(boards()))
    assert len(uses) > 100
    assert wrong(with_settings(KNOWN, ALERTS / "settings.yaml"), uses) == []


@pytest.mark.parametrize("name", RULES)
def test_alerts_use_what_there_is(name: str) -> None:
    """Every metric and label of every rule, and the labels that the texts of alerts speak of."""
    assert wrong(WITH_RULES, list(uses_of_rules(name, RULES[name]))) == []


@pytest.mark.parametrize("page", [str(page.relative_to(ROOT)) for page in pages()])
def test_pages_use_what_there_is(page: str) -> None:
    """Every metric that docs, READMEs and the chart name, and the labels that they name it with."""
    text = (ROOT / page).read_text(encoding="utf-8")
    assert wrong(WITH_RULES, list(uses_in_text(page, text))) == []


def test_every_metric_is_used() -> None:
    """In a dashboard or an alert; what is in neither stands in UNUSED with its reason, and nothing else does."""
    uses = list(uses_of_boards(boards()))
    for name, rules in RULES.items():
        uses += uses_of_rules(name, rules)
    used = {metric for use in uses for metric in use.metrics}
    unused = {family.name for family in CATALOGUE if not used.intersection(series_of(family))}
    assert unused == UNUSED.keys()


@pytest.mark.parametrize(
    "expr",
    [
        "sum by (queue) (celery_queue_lenght)",
        "sum by (worker) (celery_queue_length)",
        'celery_queue_length{task="a"}',
        "celery_queue_length and on (task) celery_queue_workers",
        "rate(celery_task_runtime_seconds_total[5m])",
        "rate(celery_task_runtime_seconds_bucket{reason='expired'}[5m])",
        "celery:task_failures:rate5m",
        '{__name__=~"celery_queue_length|celery_queue_size"}',
    ],
)
def test_promql_is_held_against_the_code(expr: str) -> None:
    """A metric or a label that is not there is found."""
    assert wrong(KNOWN, list(uses_in_promql("here", expr)))


@pytest.mark.parametrize(
    "text",
    [
        "see `celery_queue_lenght`",
        'see `celery_queue_length{task="a"}`',
        "see `celery_queue_length{queue, task}`",
        "```promql\n# all\nsum by (worker) (celery_queue_length)\n```\n",
        "```promql\nsum(celery_queue_length)\n# all\nsum(celery_queue_lenght)\n  / 2\n```\n",
    ],
)
def test_text_is_held_against_the_code(text: str) -> None:
    """So it is in a page."""
    assert wrong(KNOWN, list(uses_in_text("here", text)))


def test_text_may_speak_of_several() -> None:
    """Names that stand for several, and names with their labels, are right."""
    text = "`celery_worker_*`, celery_task_... and `celery_queue_length{queue}`; celery_broker_up{instance='a'} == 0."
    assert wrong(KNOWN, list(uses_in_text("here", text))) == []


def test_rules_are_held_against_the_code() -> None:
    """Results of recording rules have the labels of what they are made from; texts of alerts may use no other."""
    records: list[dict[str, object]] = [
        {"record": "celery:length:max", "expr": "max by (queue) (celery_queue_length)"},
        {"record": "celery:limit", "expr": "vector(1)", "labels": {"task": "a"}},
    ]
    alert: dict[str, object] = {"alert": "A", "expr": "celery:length:max > 0"}
    known = with_records(KNOWN, records)
    said = [
        {**alert, "annotations": {"summary": "{{ $labels.queue }}"}},
        {**alert, "annotations": {"summary": "{{ $labels.task }}"}},
    ]
    assert wrong(known, list(uses_of_rules("here", [*records, said[0]]))) == []
    assert wrong(known, list(uses_of_rules("here", [said[1]])))
