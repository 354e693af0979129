"""A whole dashboard: rows of panels on Grafana's grid (24 columns, panels flow from left to right)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard as sdk
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    AnnotationContainer,
    Dashboard,
    DashboardCursorSync,
    DashboardDashboardTemplating,
    GridPos,
    Panel,
    RowPanel,
)

from grafana.source.alerts import annotations
from grafana.source.links import TAG, between_dashboards, uid
from grafana.source.panels import PanelBuilder
from grafana.source.selection import Selection
from grafana.source.variables import variables

_COLUMNS = 24
#: The oldest Grafana that they were drawn with.
_GRAFANA = "11.6.0"


class Row:
    """Panels under a heading; a collapsed row sends no queries until it is opened."""

    def __init__(self, title: str, *panels: PanelBuilder, collapsed: bool = False) -> None:
        self.title = title
        self.panels = panels
        self.collapsed = collapsed


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One dashboard as it is declared."""

    about: str  # of the uid
    title: str
    description: str
    selection: Selection
    rows: Sequence[Row]

    def json(self) -> str:
        """The text of its file, with sorted keys, so that a change of one panel changes few lines."""
        made = self.build()
        return (
            json.dumps(
                made.to_json() | {"__requires": _needs(made)}, cls=JSONEncoder, indent=2, sort_keys=True
            )
            + "\n"
        )

    def build(self) -> Dashboard:
        """Build the SDK's object."""
        made = (
            sdk.Dashboard(self.title)
            .uid(uid(self.about))
            .description(self.description)
            .tags(["celery", TAG])
            .editable()
            .tooltip(DashboardCursorSync.CROSSHAIR)
            .time("now-1h", "now")
            .refresh("30s")
            .timezone("browser")
            .link(between_dashboards())
            .build()
        )
        made.templating = DashboardDashboardTemplating(list_val=variables(self.selection.variables))
        made.annotations = AnnotationContainer(list_val=annotations())
        made.panels = _laid_out(self.rows)
        return made


def _needs(made: Dashboard) -> list[dict[str, str]]:
    """What Grafana's import checks: itself, the kind of data source, the kinds of panels."""
    panels = [
        panel
        for placed in made.panels or ()
        for panel in ((placed.panels or ()) if isinstance(placed, RowPanel) else (placed,))
    ]
    needs = [("grafana", "grafana", _GRAFANA), ("datasource", "prometheus", "1.0.0")]
    needs += [("panel", kind, "") for kind in sorted({panel.type_val for panel in panels})]
    return [{"type": type_, "id": id_, "name": id_, "version": version} for type_, id_, version in needs]


def _laid_out(rows: Sequence[Row]) -> list[Panel | RowPanel]:
    """Each panel gets its place and its id, in reading order."""
    placed: list[Panel | RowPanel] = []
    top = 0
    number = 0
    for row in rows:
        number += 1
        heading = RowPanel(
            title=row.title,
            collapsed=row.collapsed,
            id_val=number,
            grid_pos=GridPos(h=1, w=_COLUMNS, x=0, y=top),
        )
        placed.append(heading)
        panels = [panel.build() for panel in row.panels]
        bottom = _flow(panels, top + 1)
        for panel in panels:
            number += 1
            panel.id_val = number
        if row.collapsed:
            heading.panels = panels
            top += 1
        else:
            placed += panels
            top = bottom
    return placed


def _flow(panels: Sequence[Panel], top: int) -> int:
    """Place panels from left to right, with a new line where the next one has no room; returns the next free line."""
    left = bottom = 0
    bottom = top
    for panel in panels:
        place = panel.grid_pos
        assert place is not None, f"{panel.title} has no size"  # noqa: S101 - every kind of panel sets it
        if left + place.w > _COLUMNS:
            left, top = 0, bottom
        place.x, place.y = left, top
        left += place.w
        bottom = max(bottom, top + place.h)
    return bottom
