"""The kinds of panels: a figure, lines over time, a heatmap, a state timeline. Tables are in ``tables``.

Every panel has a description, and a text for the case without data (``none``). A figure is one instant query: a value
that is absent now (a stale sample) is shown as absent, never as the last known value.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple, TypeAlias

from grafana_foundation_sdk.builders import common, dashboard, heatmap, stat, statetimeline, timeseries
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery as Queryable
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    FieldColorModeId,
    Panel,
    ValueMap,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat, QueryEditorMode

from grafana.source.limits import NEUTRAL, Limits
from grafana.source.links import DataLink

PanelBuilder: TypeAlias = Builder[Panel]

#: Units.
COUNT: Final = units.Short
TASKS_PER_SECOND: Final = units.CountsPerSecond
EVENTS_PER_SECOND: Final = units.EventsPerSecond
MESSAGES_PER_SECOND: Final = units.MessagesPerSecond
SECONDS: Final = units.Seconds
RATIO: Final = units.PercentUnit
BYTES: Final = units.BytesIEC
PLAIN: Final = units.NoUnit

#: The Prometheus that the variable of this name chooses.
DATASOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")

STAT_HEIGHT: Final = 4
GRAPH_HEIGHT: Final = 8


class Query(NamedTuple):
    """One expression, and the name of its series: a text with ``{{label}}`` in it."""

    expr: str
    legend: str


def figure(  # noqa: PLR0913 - what a panel of this kind may say, by name
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    none: str,
    limits: Limits = NEUTRAL,
    words: ValueMap | None = None,
    link: DataLink | None = None,
    decimals: int | None = None,
    width: int = 4,
) -> PanelBuilder:
    """One figure (or a few, with their names), coloured by ``limits`` or shown in ``words``."""
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .no_value(none)
        .thresholds(limits.config())
        .span(width)
        .height(STAT_HEIGHT)
        .targets(_instant(queries))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(values=False))
        .color_mode(BigValueColorMode.BACKGROUND if limits.judges or words else BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.NONE)
        .text_mode(BigValueTextMode.VALUE_AND_NAME if len(queries) > 1 else BigValueTextMode.VALUE)
    )
    if words is not None:
        panel.mappings([words])
    if link is not None:
        panel.data_links([link.builder()])
    if decimals is not None:
        panel.decimals(decimals)
    return panel


def graph(  # noqa: PLR0913 - what a panel of this kind may say, by name
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    none: str,
    limits: Limits = NEUTRAL,
    link: DataLink | None = None,
    stacked: bool = False,
    lowest: float | None = 0,
    highest: float | None = None,
    width: int = 12,
) -> PanelBuilder:
    """Lines over time, with ``limits`` as dashed lines. Missing samples are a gap, a single sample is a dot."""
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
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC))
        .span(width)
        .height(GRAPH_HEIGHT)
        .targets(_over_time(queries))
        .legend(_legend())
        .tooltip(_tooltip())
        .line_width(1)
        .fill_opacity(25 if stacked else 8)
        .show_points(VisibilityMode.AUTO)
        .span_nulls(span_nulls=False)
        .stacking(common.StackingConfig().mode(StackingMode.NORMAL if stacked else StackingMode.NONE))
    )
    if lowest is not None:
        panel.min(lowest)
    if highest is not None:
        panel.max(highest)
    if link is not None:
        panel.data_links([link.builder()])
    return panel


def spread(title: str, description: str, buckets: str, *, none: str, width: int = 12) -> PanelBuilder:
    """A heatmap of durations: observations per second in each bucket (``queries.bucket_rates``)."""
    (query,) = targets_of([Query(buckets, "{{le}}")])
    return (
        heatmap.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(SECONDS)
        .no_value(none)
        .span(width)
        .height(GRAPH_HEIGHT)
        .targets([query.range().format(PromQueryFormat.HEATMAP)])
        .calculate(calculate=False)
        .color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(32))
        .y_axis(heatmap.YAxisConfig().unit(SECONDS))
        .cell_values(heatmap.CellValues().unit(TASKS_PER_SECOND))
        .cell_gap(1)
        .filter_values(heatmap.FilterValueRange().le(0))  # an empty bucket is no cell
        .show_y_histogram()
        .show_legend()
    )


def states(
    title: str,
    description: str,
    query: Query,
    *,
    words: ValueMap,
    none: str,
    link: DataLink | None = None,
    width: int = 12,
) -> PanelBuilder:
    """A line for each series, coloured by its state (1 or 0, shown in ``words``)."""
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
        .height(GRAPH_HEIGHT)
        .targets(_over_time([query]))
        .legend(_legend())
        .tooltip(_tooltip())
        .merge_values(merge_values=True)
        .show_value(VisibilityMode.NEVER)
    )
    if link is not None:
        panel.data_links([link.builder()])
    return panel


def targets_of(queries: Iterable[Query]) -> list[Dataquery]:
    """The SDK's form of the queries, named A, B, C ..."""
    return [
        Dataquery()
        .datasource(DATASOURCE)
        .editor_mode(QueryEditorMode.CODE)
        .expr(query.expr)
        .legend_format(query.legend)
        .ref_id(chr(ord("A") + number))
        for number, query in enumerate(queries)
    ]


def _instant(queries: Iterable[Query]) -> list[Builder[Queryable]]:
    """One value for each series, at the end of the time range."""
    return [target.instant() for target in targets_of(queries)]


def _over_time(queries: Iterable[Query]) -> list[Builder[Queryable]]:
    """Values over the time range."""
    return [target.range() for target in targets_of(queries)]


def _legend() -> common.VizLegendOptions:
    return (
        common.VizLegendOptions()
        .display_mode(LegendDisplayMode.LIST)
        .placement(LegendPlacement.BOTTOM)
        .show_legend(show_legend=True)
        .calcs([])
    )


def _tooltip() -> common.VizTooltipOptions:
    return common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
