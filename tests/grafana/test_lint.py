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
from tests.grafana.lint_look import (
    annotation_targets,
    axes_of_zeros,
    colours_by_meaning,
    empty_cells,
    exemplars,
    requirements,
    tables_fit,
    values_in_links,
)
from tests.grafana.lint_queries import (
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

GOOD = next(board for board in boards() if board.name == "queues")
TARGET = 'job="$job", instance=~"$instance"'
WAIT = f'celery_task_queue_wait_seconds_bucket{{{TARGET}, queue=~"$queue"}}'
NATIVE_WAIT = WAIT.replace("_bucket", "")


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


def override(panel: Json, field: str, name: str) -> Json:
    """A property that a panel gives to one field."""
    (of_field,) = (one for one in panel["fieldConfig"]["overrides"] if one["matcher"]["options"] == field)
    found: Json = next(value for value in of_field["properties"] if value["id"] == name)
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
    (job_and_instance_variables, lambda board: variable(board, "job").update(multi=True)),
    (job_and_instance_variables, lambda board: variable(board, "job").update(includeAll=True)),
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
    (variables_cascade, lambda board: variable(board, "queue").update(hide=2)),
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
    (windows, asks(f"sum by (queue) (rate(celery_task_sent_total{{{TARGET}}}[$__range]))")),
    (few_lines, asks(f"sum by (queue) (celery_queue_length{{{TARGET}}})")),
    (few_lines, asks(f"topk(3, sum by (queue) (celery_queue_length{{{TARGET}}}))")),
    (only_workers_that_are_up, asks(f"sum by (worker) (celery_worker_load1{{{TARGET}}})")),
    (counters_in_rate, asks(f"sum by (queue) (celery_task_sent_total{{{TARGET}}})")),
    (counters_in_rate, asks(f"sum by (queue) (rate(celery_queue_length{{{TARGET}}}[$__rate_interval]))")),
    (counters_in_rate, asks(f"sum by (le) (celery_exporter_event_lag_seconds_bucket{{{TARGET}}})")),
    (job_and_instance_matchers, asks('sum by (queue) (celery_queue_length{queue=~"$queue"})')),
    (job_and_instance_matchers, asks('sum by (queue) (celery_queue_length{job=~"$job"})')),
    (job_and_instance_matchers, asks('count by (queue) (ALERTS{alertstate="firing"})')),
    (own_variables_used, asks(f"sum by (queue) (celery_queue_length{{{TARGET}}})")),
    (own_variables_used, asks(f"sum by (queue) (rate(celery_task_runtime_seconds_sum{{{TARGET}}}[1m]))")),
    (job_and_instance_matchers, asks('count by (queue) (ALERTS{job="celery"})')),
    (aggregated_by, asks(f"celery_queue_length{{{TARGET}}}")),
    (aggregated_by, asks(f"topk(3, celery_queue_length{{{TARGET}}})")),
    (aggregated_by, asks(f"sum without (instance) (celery_queue_length{{{TARGET}}})")),
    (no_ratio_of_nothing, asks("sum by (queue) (a) / sum by (queue) (b)")),
    (no_ratio_of_nothing, asks("sum by (queue) (a) / (sum by (queue) (b) >= 0)")),
    (no_quantile_of_nothing, asks(f"histogram_quantile(0.9, sum by (queue, le) (rate({WAIT}[1m])))")),
    (no_quantile_of_nothing, asks(f"histogram_quantile(0.9, sum by (queue) (rate({WAIT}[1m]))) >= 0")),
    (no_quantile_of_nothing, asks(f"histogram_quantile(0.9, sum by (le) (rate({NATIVE_WAIT}[1m]))) >= 0")),
    (
        both_kinds_of_histogram,
        asks(f"histogram_quantile(0.9, sum by (queue, le) (rate({WAIT}[$__range]))) >= 0"),
    ),
    (
        both_kinds_of_histogram,
        asks(f"histogram_quantile(0.9, sum by (queue) (rate({NATIVE_WAIT}[$__range]))) >= 0"),
    ),
    (known_functions, asks(f"sum by (queue) (histogram_count(rate({NATIVE_WAIT}[$__rate_interval])))")),
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
        lambda board: graph(board)["fieldConfig"]["defaults"]["links"][0].update(
            url="/d/celery-exporter-task?a=b"
        ),
    ),
    (empty_cells, lambda board: override(table(board), "Waiting", "noValue").update(value="no queues known")),
    (empty_cells, lambda board: override(table(board), "Queue", "noValue").update(id="unit")),
    (tables_fit, lambda board: override(table(board), "Waiting", "custom.width").update(value=300)),
    (tables_fit, lambda board: table(board)["gridPos"].update(w=12)),
    (colours_by_meaning, lambda board: graph(board)["targets"][0].update(legendFormat="failed")),
    (colours_by_meaning, lambda board: graph(board)["targets"][0].update(legendFormat="{{outcome}}")),
    (
        values_in_links,
        lambda board: graph(board)["fieldConfig"]["defaults"]["links"][0].update(
            url="/d/celery-exporter-queue?var-queue=${__field.labels.queue}"
        ),
    ),
    (
        values_in_links,
        lambda board: override(table(board), "Queue", "links")["value"][0].update(
            url="/d/celery-exporter-queue?var-queue=${__value.text}"
        ),
    ),
    (axes_of_zeros, lambda board: graph(board)["fieldConfig"]["defaults"]["custom"].pop("axisSoftMax")),
    (exemplars, lambda board: graph(board)["targets"][0].update(exemplar=True)),
    (exemplars, asks(f"histogram_quantile(0.9, sum by (queue, le) (rate({WAIT}[1m]))) >= 0")),
    (requirements, lambda board: board.pop("__requires")),
    (requirements, lambda board: graph(board).update(type="barchart")),
    (annotation_targets, lambda board: board["annotations"]["list"][0].pop("target")),
    (annotation_targets, lambda board: board["annotations"]["list"][0].update(enable=False)),
    (annotation_targets, lambda board: board["annotations"]["list"][1].update(enable=True)),
    (
        annotation_targets,
        lambda board: board["annotations"]["list"][0].update(expr="ALERTS", target={"expr": "ALERTS"}),
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
