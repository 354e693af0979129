"""The variables at the top of a dashboard: each one offers the values that exist for the variables before it.

Job and instance are those of exporters only. One job is chosen, the first one to begin with: workers or queues of two
jobs may have the same names, and are not the same. The "All" of instances stands for the list of their values, so that
``up`` or ``process_*`` of other targets never match. The "All" of the others is ``.+``: every task, however many.
``filters`` adds any other label (cluster, namespace, team) to every query.
"""

from collections.abc import Sequence
from typing import Final

from grafana_foundation_sdk.builders.dashboard import AdHocVariable, DatasourceVariable, QueryVariable
from grafana_foundation_sdk.models.dashboard import (
    VariableModel,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from grafana.source.panels import DATASOURCE

#: Variable -> the series whose label of that name has the values, filtered by the variables before it.
_ASKED: Final = {
    "job": "celery_exporter_build_info",
    "instance": 'celery_exporter_build_info{job="$job"}',
    "queue": (
        '{__name__=~"celery_queue_length|celery_queue_workers|celery_task_received_total", '
        'job="$job", instance=~"$instance"}'
    ),
    "task": 'celery_task_received_total{job="$job", instance=~"$instance", queue=~"$queue"}',
    "worker": 'celery_worker_up{job="$job", instance=~"$instance"}',
}
_LABELS: Final = {"job": "Job", "instance": "Exporter", "queue": "Queue", "task": "Task", "worker": "Worker"}

#: Exporters of the last day: one that is gone since hours stays to be chosen, and is never left out of "All".
_LASTING: Final = frozenset({"job", "instance"})
_DAY: Final = "1d"

#: `qryType` of Grafana's Prometheus data source: label_values(...), query_result(...).
_LABEL_VALUES: Final = 1
_QUERY_RESULT: Final = 3


def variables(names: Sequence[str]) -> list[VariableModel]:
    """Data source, job, instance, these, and the free filters."""
    source = DatasourceVariable("datasource").label("Data source").type("prometheus").build()
    filters = AdHocVariable("filters").label("Filters").datasource(DATASOURCE).build()
    return [source, *(_query(name) for name in ("job", "instance", *names)), filters]


def _asked(name: str) -> str:
    if name in _LASTING:
        return f"query_result(count by ({name}) (last_over_time({_ASKED[name]}[{_DAY}])))"
    return f"label_values({_ASKED[name]}, {name})"


def _query(name: str) -> VariableModel:
    variable = (
        QueryVariable(name)
        .label(_LABELS[name])
        .datasource(DATASOURCE)
        .query(
            {
                "qryType": _QUERY_RESULT if name in _LASTING else _LABEL_VALUES,
                "query": _asked(name),
                "refId": "PrometheusVariableQueryEditor-VariableQuery",
            }
        )
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_CASE_INSENSITIVE_ASC)
    )
    if name in _LASTING:
        variable.regex(f'/{name}="([^"]*)"/')
    if name == "job":
        return variable.build()
    variable.multi(multi=True).include_all(include_all=True)
    variable.current(VariableOption(selected=True, text=["All"], value=["$__all"]))
    if name != "instance":
        variable.all_value(".+")
    return variable.build()
