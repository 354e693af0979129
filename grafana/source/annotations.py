"""The annotations of every dashboard: alerts that fired, and starts of exporters.

Our alerts are those whose names begin with Celery.
"""

from typing import Final

from grafana_foundation_sdk.models.dashboard import AnnotationQuery

from grafana.source.panels import DATASOURCE
from grafana.source.selection import Selection

#: An alert of the chosen jobs, or one without a job (of an expression that sums over jobs).
ALERTS: Final = 'ALERTS{alertname=~"Celery.+", job=~"$job|"'
FIRING: Final = f'{ALERTS}, alertstate="firing"}}'
RAISED: Final = f'{ALERTS}, alertstate=~"pending|firing"}}'

#: How long the start of an exporter is drawn.
_START_SECONDS: Final = 60


class _PrometheusAnnotation(AnnotationQuery):
    """Adds title and text, which Grafana's Prometheus data source reads besides the fields of the SDK."""

    def __init__(self, name: str, expr: str, *, color: str, title: str, text: str, tags: str) -> None:
        super().__init__(name=name, datasource=DATASOURCE, enable=True, icon_color=color, expr=expr)
        self._said = {"titleFormat": title, "textFormat": text, "tagKeys": tags}

    def to_json(self) -> dict[str, object]:
        return super().to_json() | self._said


def annotations() -> list[AnnotationQuery]:
    """The annotations of every dashboard."""
    started = Selection()("process_start_time_seconds")
    return [
        _PrometheusAnnotation(
            "Alerts",
            f"max by (alertname, severity, job, instance, queue, task, worker) ({FIRING})",
            color="red",
            title="{{alertname}}",
            text="{{task}} {{queue}} {{worker}} {{instance}}",
            tags="severity",
        ),
        _PrometheusAnnotation(
            "Exporter starts",
            f"time() - {started} < {_START_SECONDS}",
            color="blue",
            title="Exporter started",
            text="{{instance}}",
            tags="job",
        ),
    ]
