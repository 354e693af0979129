"""The exporter's alerts, those whose names begin with Celery: a figure, a table, and marks in all graphs."""

from collections.abc import Sequence
from typing import Final

from grafana_foundation_sdk.models.dashboard import AnnotationQuery

from grafana.source import limits, links
from grafana.source.colours import BLUE, GREEN, ORANGE, RED
from grafana.source.panels import COUNT, DATASOURCE, SECONDS, PanelBuilder, figure
from grafana.source.queries import lowest
from grafana.source.selection import Selection
from grafana.source.tables import Column, Facts, Key, listing

#: How long the start of an exporter is drawn.
_START_SECONDS: Final = 60

#: What an alert is about: the first of these labels that it has.
_ABOUT: Final = ("task", "queue", "worker", "instance")

#: Sorted by their text, what burns comes first.
_STATES: Final = limits.words(
    {
        "firing: critical": ("firing: critical", RED),
        "firing: warning": ("firing: warning", ORANGE),
        "firing: info": ("firing: info", BLUE),
        "pending: critical": ("pending: critical", ORANGE),
        "pending: warning": ("pending: warning", BLUE),
        "pending: info": ("pending: info", BLUE),
    }
)


def _alerts(metric: str = "ALERTS", *, without: Sequence[str] = (), **equal: str) -> str:
    """Alerts of the chosen job, and those without a job (of an expression that sums over jobs)."""
    more = "".join(f', {label}="{value}"' for label, value in equal.items()) + "".join(
        f', severity!="{severity}"' for severity in without
    )
    both = (f'{metric}{{alertname=~"Celery.+", job="{job}"{more}}}' for job in ("$job", ""))
    return f"({' or '.join(both)})"


def firing(chosen: Selection, *, width: int) -> PanelBuilder:
    """How many fire; with none, whether rules are loaded that could."""
    rules_loaded = "count(celery:threshold:queue_wait_seconds) * 0"
    seen = f"({lowest(chosen('up'))} or vector(0)) - 1"
    return figure(
        "Firing alerts",
        "Alerts that fire now, without those for information. None: Prometheus has loaded the rules and reaches the "
        "exporters. Blind: an exporter is not reached, so that other alerts cannot fire. No rules: Prometheus has not "
        "loaded grafana/alerts, or Filters are set, which rules know nothing of.",
        f"count({_alerts(alertstate='firing', without=('info',))}) or {rules_loaded} + {seen}",
        unit=COUNT,
        none="no rules",
        limits=limits.NONE_IS_RIGHT,
        words=limits.words({"0": ("none", GREEN), "-1": ("blind", RED)}),
        width=width,
    )


def raised() -> PanelBuilder:
    """The alerts that fire or are pending, the worst first."""
    about = "max by (state, alertname, kind, about)"
    waits = f"{_alerts()} * ignoring (alertstate) group_left () (time() - {_alerts('ALERTS_FOR_STATE')})"
    return listing(
        "Alerts",
        "Alerts that fire, then those that are pending (true, but not for long enough).",
        Facts(f"{about} ({_told(_alerts())})"),
        Column("For", f"{about} ({_told(waits)})", SECONDS, width=None),
        keys=(
            Key("state", "State", words=_STATES, width=150),
            Key("alertname", "Alert", width=330),
            Key("about", "About", link=links.from_cell_about(), width=560),
            Key("kind", "kind", hidden=True),
        ),
        none="no alert fires or is pending, or the rules are not loaded",
        sort="State",
        ascending=True,
        width=24,
        height=10,
    )


def _told(alerts: str) -> str:
    """With the label ``state``, and with ``about`` and ``kind``: the value and the name of a label that tells most."""
    told = f'label_join({alerts}, "state", ": ", "alertstate", "severity")'
    told = f'label_replace({told}, "kind", "overview", "kind", "")'
    told = f'label_replace({told}, "about", "everything", "about", "")'
    for label in reversed(_ABOUT):
        told = f'label_replace({told}, "kind", "{label}", "{label}", ".+")'
        told = f'label_replace({told}, "about", "$1", "{label}", "(.+)")'
    return told


class _PrometheusAnnotation(AnnotationQuery):
    """Adds what Grafana's Prometheus data source reads besides the fields of the SDK; ``target`` is read since 11."""

    def __init__(
        self, name: str, expr: str, *, color: str, title: str, text: str = "", shown: bool = True
    ) -> None:
        super().__init__(name=name, datasource=DATASOURCE, enable=shown, icon_color=color, expr=expr)
        self._said = {"titleFormat": title, "textFormat": text, "tagKeys": ""}

    def to_json(self) -> dict[str, object]:
        target = {"datasource": DATASOURCE, "expr": self.expr, "range": True, "refId": "Annotation"}
        return super().to_json() | self._said | {"target": target}


def annotations() -> list[AnnotationQuery]:
    """The annotations of every dashboard: one region for each name of an alert, however many alerts have it."""
    marks = [
        _PrometheusAnnotation(
            f"{severity.capitalize()} alerts",
            f"max by (alertname) ({_alerts(alertstate='firing', severity=severity)})",
            color=color,
            title="{{alertname}}",
            shown=severity == "critical",
        )
        for severity, color in (("critical", RED), ("warning", ORANGE))
    ]
    started = Selection()("process_start_time_seconds")
    starts = _PrometheusAnnotation(
        "Exporter starts",
        f"max by (instance) (time() - {started} < {_START_SECONDS})",
        color=BLUE,
        title="Exporter started",
        text="{{instance}}",
    )
    return [*marks, starts]
