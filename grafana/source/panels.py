"""What every panel is made of, and the simplest kind: a figure. Lines are in ``graphs``, tables in ``tables``.

Every panel has a description, and a text for the case without data (``none``). A figure is one instant query: a value
that is absent now (a stale sample) is shown as absent, never as the last known value.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple, TypeAlias

from grafana_foundation_sdk.builders import common, stat
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery as Queryable
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import BigValueColorMode, BigValueGraphMode, BigValueTextMode
from grafana_foundation_sdk.models.dashboard import DataSourceRef, Panel, ValueMap
from grafana_foundation_sdk.models.prometheus import QueryEditorMode

from grafana.source.limits import NEUTRAL, Limits
from grafana.source.links import DataLink

PanelBuilder: TypeAlias = Builder[Panel]

#: Units.
COUNT: Final = units.Short
PER_SECOND: Final = "count:/s"
SECONDS: Final = units.Seconds
CLOCK: Final = units.DurationInHoursMinutesSeconds  # for the axes of ages: 00:08:20
RATIO: Final = units.PercentUnit
BYTES: Final = units.BytesIEC
PLAIN: Final = units.NoUnit

#: The Prometheus that the variable of this name chooses.
DATASOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")

_STAT_HEIGHT: Final = 4


class Query(NamedTuple):
    """One expression, and the name of its series: a text with ``{{label}}`` in it.

    ``exemplars``: whether to draw the single tasks that its metrics name, as dots. One query of a panel does.
    """

    expr: str
    legend: str
    exemplars: bool = False


def figure(  # noqa: PLR0913 - what a panel of this kind may say, by name
    title: str,
    description: str,
    *queries: Query | str,
    unit: str,
    none: str,
    limits: Limits = NEUTRAL,
    words: ValueMap | None = None,
    link: DataLink | None = None,
    decimals: int | None = None,
    width: int = 4,
) -> PanelBuilder:
    """One figure (or a few, with their names), coloured by ``limits`` or shown in ``words``."""
    named = [query if isinstance(query, Query) else Query(query, title) for query in queries]
    yes_or_no = words is not None and "1" in words.options
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .no_value(none)
        .thresholds(limits.config())
        .span(width)
        .height(_STAT_HEIGHT)
        .targets(_instant(named))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(values=False))
        .color_mode(BigValueColorMode.BACKGROUND if limits.praises or yes_or_no else BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.NONE)
        .text_mode(BigValueTextMode.VALUE_AND_NAME if len(named) > 1 else BigValueTextMode.VALUE)
    )
    if words is not None:
        panel.mappings([words])
    if link is not None:
        panel.data_links([link.builder()])
    if decimals is not None:
        panel.decimals(decimals)
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
