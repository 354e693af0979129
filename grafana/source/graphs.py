"""What is drawn over the time range: lines, a heatmap of durations, a state timeline.

A graph has few lines, the same ones from end to end (``queries.leading``). Lines whose names have a meaning have its
colour; long names stand in a table beside the lines.
"""

from collections.abc import Sequence
from typing import Final, TypedDict, Unpack

from grafana_foundation_sdk.builders import common, dashboard, heatmap, statetimeline, timeseries
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery as Queryable
from grafana_foundation_sdk.models.common import (
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue, FieldColorModeId, ValueMap
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.source import panels
from grafana.source.colours import MEANT, VALUES
from grafana.source.histograms import Histogram, classic_rates, native_rates
from grafana.source.limits import NEUTRAL, Limits
from grafana.source.links import DataLink, from_series
from grafana.source.panels import DATASOURCE, PER_SECOND, PLAIN, SECONDS, PanelBuilder, Query, targets_of
from grafana.source.queries import leading, trailing

_HEIGHT: Final = 8
_HALF: Final = 12
#: Label -> the width of a panel with such names, and that of its legend; without one they stand below.
_ROOM: Final[dict[str, tuple[int, int | None]]] = {
    "task": (24, 540),
    "worker": (24, 540),
    "queue": (_HALF, 280),
    "instance": (8, None),
}

#: What an axis shows at least, so that a line of zeros has no axis up to 100.
_AXIS_TO: Final = {
    panels.COUNT: 1,
    panels.PER_SECOND: 0.1,
    panels.SECONDS: 0.1,
    panels.CLOCK: 60,
    panels.RATIO: 0.1,
}
#: Where the axis of a ratio begins that is near 1 if all is well.
_GOOD_RATIO: Final = 0.9


class Look(TypedDict, total=False):
    """How lines are drawn, beyond what they say."""

    limits: Limits  # as dashed lines
    stacked: bool
    near_one: bool  # a ratio that is near 1 if all is well
    highest: float
    shades_of: str  # one colour for all lines: what they count is good or bad by itself
    width: int


def graph(
    title: str, description: str, *queries: Query, unit: str, none: str, **look: Unpack[Look]
) -> PanelBuilder:
    """A few named lines. Missing samples are a gap, a single sample is a dot."""
    panel = _lines(title, description, queries, unit, none, look)
    panel.fill_opacity(30 if look.get("stacked") else 4)
    for query in queries:
        _colour(panel, query.legend)
    return panel


def graph_by(
    label: str,
    title: str,
    description: str,
    expr: str,
    *,
    unit: str,
    none: str,
    ranked: bool = False,
    exemplars: bool = False,
    **look: Unpack[Look],
) -> PanelBuilder:
    """A line for each value of a label, with its link: the highest ones in the time range.

    The lowest ones, if they should be ``near_one``; those that ``expr`` has, if it is ``ranked`` already.
    """
    near_one = look.get("near_one", False)
    if not ranked:
        expr = trailing(expr, label) if near_one else leading(expr, label)
    width, of_legend = _ROOM[label]
    panel = _lines(
        title, description, [Query(expr, f"{{{{{label}}}}}", exemplars)], unit, none, {"width": width, **look}
    )
    if of_legend:
        panel.legend(_table_beside(of_legend, lowest_first=near_one))
    return panel.data_links([from_series(label).builder()])


def spread(
    title: str, description: str, of: Histogram, *, none: str, exemplars: bool = True, width: int = _HALF
) -> PanelBuilder:
    """A heatmap of durations: observations per second in each bucket.

    Native and classic buckets are two queries: Grafana takes one kind of a query, and draws the native one where both
    come. The second query names both, and so has the exemplars of either.
    """
    queries = [Query(native_rates(of), "native"), Query(classic_rates(of), "{{le}}", exemplars)]
    targets: list[Builder[Queryable]] = [
        target.format(PromQueryFormat.HEATMAP) for target in _over_time(queries)
    ]
    return (
        heatmap.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(SECONDS)
        .no_value(none)
        .span(width)
        .height(_HEIGHT)
        .targets(targets)
        .calculate(calculate=False)
        .color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(32))
        .y_axis(heatmap.YAxisConfig().unit(SECONDS))
        .cell_values(heatmap.CellValues().unit(PER_SECOND))
        .cell_gap(1)
        .filter_values(heatmap.FilterValueRange().le(0))  # an empty bucket is no cell
        .show_y_histogram()
        .show_legend()
    )


def states(
    title: str,
    description: str,
    *queries: Query,
    words: ValueMap,
    none: str,
    link: DataLink | None = None,
    width: int = _HALF,
) -> PanelBuilder:
    """A bar for each series, coloured by its state (1 or 0, shown in ``words``)."""
    panel = (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(PLAIN)
        .no_value(none)
        .mappings([words])
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .span(width)
        .height(_HEIGHT)
        .targets([*_over_time(queries)])
        .legend(_names_below())
        .tooltip(_tooltip())
        .merge_values(merge_values=True)
        .show_value(VisibilityMode.NEVER)
    )
    return panel.data_links([link.builder()]) if link else panel


def _lines(
    title: str, description: str, queries: Sequence[Query], unit: str, none: str, look: Look
) -> timeseries.Panel:
    limits = look.get("limits", NEUTRAL)
    colours = dashboard.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC)
    if "shades_of" in look:
        colours = dashboard.FieldColor().mode(FieldColorModeId.SHADES).fixed_color(look["shades_of"])
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .no_value(none)
        .thresholds(limits.config())
        .thresholds_style(
            common.GraphThresholdsStyleConfig().mode(
                GraphThresholdsStyleMode.DASHED if limits.judges else GraphThresholdsStyleMode.OFF
            )
        )
        .color_scheme(colours)
        .span(look.get("width", _HALF))
        .height(_HEIGHT)
        .targets([*_over_time(queries)])
        .legend(_names_below())
        .tooltip(_tooltip())
        .line_width(1)
        .fill_opacity(0)
        .show_points(VisibilityMode.AUTO)
        .span_nulls(span_nulls=False)
        .stacking(
            common.StackingConfig().mode(StackingMode.NORMAL if look.get("stacked") else StackingMode.NONE)
        )
    )
    if look.get("near_one"):
        return panel.axis_soft_min(_GOOD_RATIO).max(1)
    if unit in _AXIS_TO:
        panel.axis_soft_max(_AXIS_TO[unit])
    if "highest" in look:
        panel.max(look["highest"])
    return panel.min(0)


def _over_time(queries: Sequence[Query]) -> list[Dataquery]:
    """Values over the time range."""
    return [
        target.range().exemplar(exemplar=query.exemplars)
        for query, target in zip(queries, targets_of(queries), strict=True)
    ]


def _colour(panel: timeseries.Panel, legend: str) -> None:
    """By the meaning of the name's last word; if that is a label's value, by each word that it may be."""
    word = legend.rsplit(maxsplit=1)[-1]
    mode = "shades" if word.startswith("(") else "fixed"  # of which there are several, or one

    def colour(meant: str) -> list[DynamicConfigValue]:
        return [DynamicConfigValue(id_val="color", value={"mode": mode, "fixedColor": MEANT[meant]})]

    if word in MEANT:
        panel.override_by_name(legend, colour(word))
    for meant in VALUES.get(word.strip("({})"), ()):
        panel.override_by_regexp(f"/(^|[-(]){meant}\\)?$/", colour(meant))


def _names_below() -> common.VizLegendOptions:
    return (
        common.VizLegendOptions()
        .display_mode(LegendDisplayMode.LIST)
        .placement(LegendPlacement.BOTTOM)
        .show_legend(show_legend=True)
        .calcs([])
    )


def _table_beside(width: int, *, lowest_first: bool) -> common.VizLegendOptions:
    peak, heading = ("min", "Min") if lowest_first else ("max", "Max")
    return (
        common.VizLegendOptions()
        .display_mode(LegendDisplayMode.TABLE)
        .placement(LegendPlacement.RIGHT)
        .show_legend(show_legend=True)
        .width(width)
        .calcs(["lastNotNull", peak])
        .sort_by(heading)
        .sort_desc(not lowest_first)
    )


def _tooltip() -> common.VizTooltipOptions:
    return common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
