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

from grafana.source.annotations import annotations
from grafana.source.links import TAG, between_dashboards
from grafana.source.panels import PanelBuilder
from grafana.source.selection import Selection
from grafana.source.variables import variables

_COLUMNS = 24


class Row:
    """Panels under a heading; a collapsed row sends no queries until it is opened."""

    def __init__(self, title: str, *panels: PanelBuilder, collapsed: bool = False) -> None:
        self.title = title
        self.panels = panels
        self.collapsed = collapsed


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One dashboard as it is declared."""

    uid: str
    title: str
    description: str
    selection: Selection
    rows: Sequence[Row]

    def json(self) -> str:
        """The text of its file, with sorted keys, so that a change of one panel changes few lines."""
        return json.dumps(self.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"

    def build(self) -> Dashboard:
        """Build the SDK's object."""
        made = (
            sdk.Dashboard(self.title)
            .uid(self.uid)
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
