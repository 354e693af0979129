"""The linter's rules can fail: each one finds what was broken for it in a good dashboard, and nothing before."""

import json
from collections.abc import Callable

import pytest

from tests.grafana.board import Board, Json, boards
from tests.grafana.lint import (
    RULES,
    datasource_of_queries,
    datasource_variable,
    empty_states,
    has_queries,
    job_and_instance_variables,
    layout,
    links,
    thresholds_in_order,
    titles_and_descriptions,
    uid_and_tags,
    unique_ids,
    units_are_known,
    variables_cascade,
)
from tests.grafana.lint_queries import (
    aggregated_by,
    counters_in_rate,
    job_and_instance_matchers,
    legends,
    no_quantile_of_nothing,
    no_ratio_of_nothing,
    own_variables_used,
    valid_promql,
    windows,
)

GOOD = next(board for board in boards() if board.name == "queues")
TARGET = 'job=~"$job", instance=~"$instance"'
WAIT = f'celery_task_queue_wait_seconds_bucket{{{TARGET}, queue=~"$queue"}}'


def asks(expr: str, **more: object) -> Callable[[Json], object]:
    """Break the first query of the first graph."""

    def change(dashboard: Json) -> None:
        graph(dashboard)["targets"][0].update(expr=expr, **more)

    return change


def graph(dashboard: Json) -> Json:
    """The first graph of a dashboard."""
    found: Json = next(panel for panel in dashboard["panels"] if panel["type"] == "timeseries")
    return found


def table(dashboard: Json) -> Json:
    """The first table."""
    found: Json = next(panel for panel in dashboard["panels"] if panel["type"] == "table")
    return found


def variable(dashboard: Json, name: str) -> Json:
    """A variable."""
    found: Json = next(one for one in dashboard["templating"]["list"] if one["name"] == name)
    return found


BROKEN: list[tuple[Callable[[Board], object], Callable[[Json], object]]] = [
    (uid_and_tags, lambda board: board.update(uid="abc")),
    (uid_and_tags, lambda board: board.update(tags=[])),
    (uid_and_tags, lambda board: board.update(description="")),
    (datasource_variable, lambda board: variable(board, "datasource").update(query="loki")),
    (datasource_variable, lambda board: board["templating"]["list"].reverse()),
    (job_and_instance_variables, lambda board: board["templating"]["list"].pop(1)),
    (job_and_instance_variables, lambda board: variable(board, "job").update(allValue=".*")),
    (variables_cascade, lambda board: variable(board, "queue").update(multi=False)),
    (variables_cascade, lambda board: variable(board, "queue").update(refresh=1)),
    (variables_cascade, lambda board: variable(board, "queue").update(datasource={"uid": "prod"})),
    (
        variables_cascade,
        lambda board: variable(board, "queue")["query"].update(
            query="label_values(celery_queue_length, queue)"
        ),
    ),
    (
        variables_cascade,
        lambda board: variable(board, "job")["query"].update(
            query='label_values(up{instance=~"$instance"}, job)'
        ),
    ),
    (
        variables_cascade,
        lambda board: variable(board, "job")["query"].update(query="label_values(up, instance)"),
    ),
    (datasource_of_queries, lambda board: graph(board).update(datasource=None)),
    (datasource_of_queries, lambda board: graph(board)["targets"][0].update(datasource={"uid": "prod"})),
    (datasource_of_queries, lambda board: board["annotations"]["list"][0].update(datasource={"uid": "prod"})),
    (titles_and_descriptions, lambda board: graph(board).update(title="")),
    (titles_and_descriptions, lambda board: graph(board).pop("description")),
    (titles_and_descriptions, lambda board: board["panels"][2].update(title=board["panels"][1]["title"])),
    (units_are_known, lambda board: graph(board)["fieldConfig"]["defaults"].pop("unit")),
    (units_are_known, lambda board: graph(board)["fieldConfig"]["defaults"].update(unit="secs")),
    (units_are_known, lambda board: table(board)["fieldConfig"]["overrides"].clear()),
    (empty_states, lambda board: graph(board)["fieldConfig"]["defaults"].pop("noValue")),
    (
        thresholds_in_order,
        lambda board: board["panels"][2]["fieldConfig"]["defaults"]["thresholds"]["steps"].reverse(),
    ),
    (has_queries, lambda board: graph(board)["targets"].clear()),
    (has_queries, lambda board: table(board)["targets"][1].update(refId="A")),
    (valid_promql, asks("sum(rate(a[5m])")),
    (valid_promql, asks('sum by (queue) (celery_queue_length{cluster="$cluster"})')),
    (windows, asks(f"sum by (queue) (rate(celery_task_sent_total{{{TARGET}}}[5m]))")),
    (windows, asks(f"sum by (queue) (irate(celery_task_sent_total{{{TARGET}}}[$__rate_interval]))")),
    (windows, asks(f"sum by (queue) (increase(celery_task_sent_total{{{TARGET}}}[$__range]))")),
    (counters_in_rate, asks(f"sum by (queue) (celery_task_sent_total{{{TARGET}}})")),
    (counters_in_rate, asks(f"sum by (queue) (rate(celery_queue_length{{{TARGET}}}[$__rate_interval]))")),
    (counters_in_rate, asks(f"sum by (le) (celery_exporter_event_lag_seconds_bucket{{{TARGET}}})")),
    (job_and_instance_matchers, asks('sum by (queue) (celery_queue_length{queue=~"$queue"})')),
    (job_and_instance_matchers, asks('sum by (queue) (celery_queue_length{job=~"$job"})')),
    (job_and_instance_matchers, asks('count by (queue) (ALERTS{alertstate="firing"})')),
    (own_variables_used, asks(f"sum by (queue) (celery_queue_length{{{TARGET}}})")),
    (own_variables_used, asks(f"sum by (queue) (rate(celery_task_runtime_seconds_sum{{{TARGET}}}[1m]))")),
    (aggregated_by, asks(f"celery_queue_length{{{TARGET}}}")),
    (aggregated_by, asks(f"topk(3, celery_queue_length{{{TARGET}}})")),
    (aggregated_by, asks(f"sum without (instance) (celery_queue_length{{{TARGET}}})")),
    (no_ratio_of_nothing, asks("sum by (queue) (a) / sum by (queue) (b)")),
    (no_ratio_of_nothing, asks("sum by (queue) (a) / (sum by (queue) (b) >= 0)")),
    (no_quantile_of_nothing, asks(f"histogram_quantile(0.9, sum by (queue, le) (rate({WAIT}[1m])))")),
    (no_quantile_of_nothing, asks(f"histogram_quantile(0.9, sum by (queue) (rate({WAIT}[1m]))) >= 0")),
    (legends, lambda board: graph(board)["targets"][0].update(legendFormat="")),
    (legends, lambda board: graph(board)["targets"][0].update(legendFormat="{{task}}")),
    (unique_ids, lambda board: graph(board).update(id=1)),
    (unique_ids, lambda board: graph(board).pop("id")),
    (layout, lambda board: graph(board)["gridPos"].update(x=20)),
    (layout, lambda board: graph(board)["gridPos"].update(y=0)),
    (layout, lambda board: board["panels"][-1]["panels"][1]["gridPos"].update(x=0)),
    (links, lambda board: board["links"].clear()),
    (links, lambda board: board["links"][0].update(keepTime=False)),
    (links, lambda board: graph(board)["fieldConfig"]["defaults"]["links"][0].update(url="/d/abc?")),
    (
        links,
        lambda board: graph(board)["fieldConfig"]["defaults"]["links"][0].update(url="/d/celery-task?a=b"),
    ),
]


@pytest.mark.parametrize(("rule", "breaks"), BROKEN)
def test_rule_finds_it(rule: Callable[[Board], object], breaks: Callable[[Json], object]) -> None:
    """What breaks a good dashboard is found by the rule that is there for it."""
    copy = json.loads(json.dumps(GOOD.json))
    breaks(copy)
    assert list(rule(Board("broken", copy)))  # type: ignore[call-overload]  # a rule gives an iterator


def test_every_rule_is_tried() -> None:
    """No rule without a dashboard that breaks it."""
    assert {rule for rule, _ in BROKEN} == set(RULES)
