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
    VariableHide,
    VariableModel,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from grafana.source.histograms import FUNCTIONS
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

#: Of which functions of native histograms are asked, and how far back: to read a day of them would take seconds.
_NATIVE: Final = 'celery_task_runtime_seconds{job="$job", instance=~"$instance"}'
_LOOKED_BACK: Final = "1h"

#: `qryType` of Grafana's Prometheus data source: label_values(...), query_result(...).
_LABEL_VALUES: Final = 1
_QUERY_RESULT: Final = 3


def variables(names: Sequence[str]) -> list[VariableModel]:
    """Data source, job, instance, these, and the free filters."""
    source = DatasourceVariable("datasource").label("Data source").type("prometheus").build()
    filters = AdHocVariable("filters").label("Filters").datasource(DATASOURCE).build()
    functions = [_function(name) for name in FUNCTIONS] if "task" in names else []
    return [source, *(_query(name) for name in ("job", "instance", *names)), *functions, filters]


def _asked(name: str) -> str:
    if name in _LASTING:
        return f"query_result(count by ({name}) (last_over_time({_ASKED[name]}[{_DAY}])))"
    return f"label_values({_ASKED[name]}, {name})"


def _query(name: str) -> VariableModel:
    variable = _asking(name, _QUERY_RESULT if name in _LASTING else _LABEL_VALUES, _asked(name))
    variable.label(_LABELS[name]).sort(VariableSort.ALPHABETICAL_CASE_INSENSITIVE_ASC)
    if name in _LASTING:
        variable.regex(f'/{name}="([^"]*)"/')
    if name == "job":
        return variable.build()
    variable.multi(multi=True).include_all(include_all=True)
    variable.current(VariableOption(selected=True, text=["All"], value=["$__all"]))
    if name != "instance":
        variable.all_value(".+")
    return variable.build()


def _function(name: str) -> VariableModel:
    """What stands for a function of native histograms: its name where there are any, else ``abs``. It is hidden."""
    native = f"count(last_over_time({_NATIVE}[{_LOOKED_BACK}]))"
    found = f'label_replace({native}, "function", "{name}", "", "")'
    query = f'query_result({found} or on () label_replace(vector(1), "function", "abs", "", ""))'
    variable = _asking(name, _QUERY_RESULT, query)
    built = variable.regex('/function="([^"]*)"/').hide(VariableHide.HIDE_VARIABLE).build()
    built.skip_url_sync = True  # an address of yesterday would fix it
    return built


def _asking(name: str, kind: int, query: str) -> QueryVariable:
    return (
        QueryVariable(name)
        .datasource(DATASOURCE)
        .query({"qryType": kind, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"})
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    )
