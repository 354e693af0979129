"""Tables: one row for each value of a label (a task, a queue, a worker), one column for each query.

Grafana's transformations make one table of several instant queries: ``merge`` joins rows with equal labels, and
``organize`` sets names and order of the columns. Each column has one override. Numbers have a width, so that the names
beside them get the rest; a table that needs more than its panel has would scroll sideways.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders import common, dashboard, table
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery as Queryable
from grafana_foundation_sdk.models.common import TableCellDisplayMode
from grafana_foundation_sdk.models.dashboard import (
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    ValueMap,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.source.limits import NEUTRAL, Limits
from grafana.source.links import DataLink
from grafana.source.panels import DATASOURCE, PLAIN, PanelBuilder, Query, targets_of

TABLE_HEIGHT: Final = 9


#: Shown in a cell without a value; the text for an empty table would stand in each of them otherwise.
_NOTHING: Final = "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class Key:
    """A column of label values, with the link of its cells; ``hidden``: only for links of others."""

    label: str
    title: str
    link: DataLink | None = None
    words: ValueMap | None = None
    width: int | None = None
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """A column of values: its heading, its query, and the format of its values."""

    title: str
    expr: str
    unit: str
    limits: Limits = NEUTRAL
    words: ValueMap | None = None
    width: int | None = 95


@dataclass(frozen=True, slots=True)
class Facts:
    """Columns of more labels; the value of the query (always 1) is not shown."""

    expr: str
    keys: tuple[Key, ...] = ()


def listing(  # noqa: PLR0913 - what a panel of this kind may say, by name
    title: str,
    description: str,
    *columns: Column | Facts,
    keys: Sequence[Key],
    none: str,
    rows: str | None = None,
    sort: str | None = None,
    ascending: bool = False,
    width: int = 12,
    height: int = TABLE_HEIGHT,
) -> PanelBuilder:
    """A table of the label values that ``rows`` (or else any column) has; sorted by the column of the head ``sort``."""
    by = ", ".join(key.label for key in keys)
    queries = [
        Query(f"({column.expr}) and on ({by}) ({rows})" if rows else column.expr, "") for column in columns
    ]
    targets: list[Builder[Queryable]] = [
        target.instant().format(PromQueryFormat.TABLE) for target in targets_of(queries)
    ]
    panel = (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(PLAIN)
        .no_value(none)
        .span(width)
        .height(height)
        .targets(targets)
        .thresholds(NEUTRAL.config())
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .transformations(_transformations(columns, keys))
        .show_header(show_header=True)
    )
    if sort is not None:
        panel.sort_by([common.TableSortByFieldState().display_name(sort).desc(not ascending)])
    for key in (*keys, *(key for column in columns if isinstance(column, Facts) for key in column.keys)):
        _override(panel, key.title, _key_properties(key))
    for column in columns:
        if isinstance(column, Column):
            _override(panel, column.title, _column_properties(column))
    return panel


def _transformations(columns: Sequence[Column | Facts], keys: Sequence[Key]) -> list[DataTransformerConfig]:
    """Field names are those of Grafana's Prometheus data source: labels, ``Time``, ``Value`` or ``Value #A``."""
    names = {key.label: key.title for key in keys}
    hidden = {"Time": True}
    for number, column in enumerate(columns):
        field = f"Value #{chr(ord('A') + number)}" if len(columns) > 1 else "Value"
        if isinstance(column, Column):
            names[field] = column.title
        else:
            names |= {key.label: key.title for key in column.keys}
            hidden[field] = True
    organize = DataTransformerConfig(
        id_val="organize",
        options={
            "excludeByName": hidden,
            "indexByName": {name: index for index, name in enumerate(names)},
            "renameByName": names,
        },
    )
    merge = DataTransformerConfig(id_val="merge", options={})
    return [merge, organize] if len(columns) > 1 else [organize]


def _override(panel: table.Panel, head: str, properties: dict[str, object]) -> None:
    panel.override_by_name(
        head, [DynamicConfigValue(id_val=name, value=value) for name, value in properties.items()]
    )


def _key_properties(key: Key) -> dict[str, object]:
    properties: dict[str, object] = {"noValue": _NOTHING, "custom.filterable": True}
    if key.link is not None:
        properties["links"] = [{"title": key.link.title, "url": key.link.url}]
    if key.words is not None:
        properties |= {"mappings": [key.words], **_COLOURED}
    if key.width is not None:
        properties["custom.width"] = key.width
    if key.hidden:  # the one for Grafana 11, the other for later ones
        properties |= {"custom.hidden": True, "custom.hideFrom": {"viz": True}}
    return properties


def _column_properties(column: Column) -> dict[str, object]:
    properties: dict[str, object] = {"noValue": _NOTHING, "unit": column.unit}
    if column.width is not None:
        properties["custom.width"] = column.width
    if column.limits.judges:
        properties |= {"thresholds": column.limits.config().build(), **_COLOURED}
    if column.words is not None:
        properties |= {"mappings": [column.words], **_COLOURED}
    return properties


_COLOURED: Final = {"custom.cellOptions": {"type": TableCellDisplayMode.COLOR_TEXT}}
