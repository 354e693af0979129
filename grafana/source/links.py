"""Links between dashboards: the buttons at the top, and links of series and table cells.

They keep the time range and the variables.
"""

from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders.dashboard import DashboardLink
from grafana_foundation_sdk.models.dashboard import DashboardLinkType

OVERVIEW: Final = "celery-overview"
TASK: Final = "celery-task"
WORKERS: Final = "celery-workers"
QUEUES: Final = "celery-queues"
EXPORTER: Final = "celery-exporter"

#: All dashboards of the set have it, and no other.
TAG: Final = "celery-exporter"

#: The dashboard for each label.
_TELLS: Final = {
    "task": (TASK, "Task"),
    "queue": (QUEUES, "Queue"),
    "worker": (WORKERS, "Worker"),
    "instance": (EXPORTER, "Exporter"),
}

_KEPT: Final = ("datasource", "job", "instance")


@dataclass(frozen=True, slots=True)
class DataLink:
    """A link that a click on data opens."""

    title: str
    url: str

    def builder(self) -> DashboardLink:
        """The SDK's form, for a panel's defaults."""
        return DashboardLink(self.title).url(self.url)


def from_series(label: str) -> DataLink:
    """From a series that has the label."""
    return _link(label, f"${{__field.labels.{label}}}")


def from_cell(label: str) -> DataLink:
    """From a table's cell that holds the label's value."""
    return _link(label, "${__value.text}")


def to(label: str) -> DataLink:
    """To the dashboard for this label, with the current variables."""
    uid, title = _TELLS[label]
    return DataLink(title, f"/d/{uid}?${{__url_time_range}}&{_kept()}")


def between_dashboards() -> DashboardLink:
    """The buttons at the top: all dashboards of the set."""
    return (
        DashboardLink("Celery")
        .type(DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(as_dropdown=False)
        .include_vars(include_vars=True)
        .keep_time(keep_time=True)
    )


def _link(label: str, value: str) -> DataLink:
    uid, title = _TELLS[label]
    return DataLink(f"{title} {value}", f"/d/{uid}?${{__url_time_range}}&{_kept(label)}&var-{label}={value}")


def _kept(changed: str = "") -> str:
    return "&".join(f"${{{name}:queryparam}}" for name in _KEPT if name != changed)
