"""Links between dashboards: the buttons at the top, and links of series and table cells.

They keep the time range and the variables.
"""

from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders.dashboard import DashboardLink
from grafana_foundation_sdk.models.dashboard import DashboardLinkType

#: All dashboards of the set have it, and no other; the uid of each one begins with it.
TAG: Final = "celery-exporter"

#: The dashboards that labels have: their headings.
_TELLS: Final = {"task": "Task", "queue": "Queue", "worker": "Worker", "instance": "Exporter"}

_KEPT: Final = ("datasource", "job", "instance")


@dataclass(frozen=True, slots=True)
class DataLink:
    """A link that a click on data opens."""

    title: str
    url: str

    def builder(self) -> DashboardLink:
        """The SDK's form, for a panel's defaults."""
        return DashboardLink(self.title).url(self.url)


def uid(about: str) -> str:
    """The dashboard about a label: ``celery-exporter-task``. Others' dashboards may be called celery-task."""
    return f"{TAG}-{about}"


def from_series(label: str) -> DataLink:
    """From a series that has the label."""
    return _link(label, f"${{__field.labels.{label}:percentencode}}", f"${{__field.labels.{label}}}")


def from_cell(label: str) -> DataLink:
    """From a table's cell that holds the label's value."""
    return _link(label, "${__value.text:percentencode}", "${__value.text}")


def from_cell_about() -> DataLink:
    """From a cell with a value of the label that the hidden column ``kind`` of the row names."""
    kind = "${__data.fields.kind}"
    value = "${__value.text:percentencode}"
    return DataLink(
        f"{kind} ${{__value.text}}",
        f"/d/{uid(kind)}?${{__url_time_range}}&{_kept('instance')}&var-{kind}={value}",
    )


def to(label: str) -> DataLink:
    """To the dashboard for this label, with the current variables."""
    return DataLink(_TELLS[label], f"/d/{uid(label)}?${{__url_time_range}}&{_kept()}")


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


def _link(label: str, value: str, shown: str) -> DataLink:
    return DataLink(
        f"{_TELLS[label]} {shown}",
        f"/d/{uid(label)}?${{__url_time_range}}&{_kept(label)}&var-{label}={value}",
    )


def _kept(changed: str = "") -> str:
    return "&".join(f"${{{name}:queryparam}}" for name in _KEPT if name != changed)
