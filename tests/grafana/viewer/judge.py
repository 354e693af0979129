"""What a drawn dashboard must not show: the rules, and the words that have a colour."""

import colorsys
import re
from collections.abc import Iterator
from typing import Any, Final

from tests.grafana.board import Board
from tests.grafana.viewer.drawing import Drawn, Panel

#: Lines that an eye can tell apart.
MAX_LINES: Final = 12
#: The share of a graph that a legend may take, below it and beside it; Grafana itself ends at 0.35 and 0.6.
MAX_LEGEND_HEIGHT: Final = 0.33
MAX_LEGEND_WIDTH: Final = 0.5
#: Two neighbouring edges may differ by less than a pixel.
_SLACK_PX: Final = 1.0

#: The hues of colours, in degrees.
_HUES: Final = {
    "red": (340, 15),
    "orange": (15, 45),
    "green": (80, 160),
    "blue": (195, 240),
    "purple": (255, 320),
}
#: The colour of each word that has a meaning.
_COLOURS: Final = {
    "failed": "red",
    "down": "red",
    "lost": "red",
    "terminated": "red",
    "succeeded": "green",
    "up": "green",
    "retried": "orange",
    "sent": "blue",
    "received": "purple",
}
#: With less between its strongest and its weakest part, a colour is grey, which says nothing.
_GREY: Final = 0.15


def faults(board: Board, panels: list[Panel]) -> list[str]:
    """All that is wrong with a drawing, as sentences that name the panel."""
    assert panels, "nothing is drawn"
    sources = {panel["id"]: panel for panel in board.panels()}
    return [
        f"{board.name} / {panel.title}: {fault}"
        for panel in panels
        for fault in _faults(panel, _empty_texts(sources[panel.number]))
    ]


def _faults(panel: Panel, empty_texts: dict[str | None, str]) -> Iterator[str]:
    if panel.error is not None:
        yield f"shows an error: {panel.error}"
    if "No data" in panel.text.splitlines():
        yield "shows Grafana's own words for missing data"
    if panel.overflow > _SLACK_PX:
        yield f"a table scrolls sideways, by {panel.overflow:.0f} pixels"
    if len(panel.lines) > MAX_LINES:
        yield f"has {len(panel.lines)} lines"
    if panel.legend is not None:
        height, width = panel.legend
        is_beside = height > width
        if (is_beside and width > MAX_LEGEND_WIDTH) or (not is_beside and height > MAX_LEGEND_HEIGHT):
            yield f"its legend takes {min(height, width):.0%} of the graph"
    yield from _wrong_cells(panel, empty_texts)
    yield from _wrong_colours(panel)


def _empty_texts(panel: dict[str, Any]) -> dict[str | None, str]:
    """What a column shows when it has no value, by its name; under None that of all others."""
    config = panel["fieldConfig"]
    found: dict[str | None, str] = {None: config["defaults"].get("noValue", "")}
    for override in config.get("overrides", ()):
        for setting in override["properties"]:
            if setting["id"] == "noValue":
                found[override["matcher"]["options"]] = setting["value"]
    return found


def _wrong_cells(panel: Panel, empty_texts: dict[str | None, str]) -> Iterator[str]:
    """The empty text of the whole panel is a sentence about the whole panel, and no cell's."""
    wrong = {
        (cell.column, cell.text)
        for cell in panel.cells
        if cell.text in empty_texts.values() and cell.text != empty_texts.get(cell.column)
    }
    for column, text in sorted(wrong):
        yield f"column {column!r} says {text!r}, which is not its own text"
    linked = {cell.column for cell in panel.cells if cell.link and cell.text == empty_texts.get(cell.column)}
    for column in sorted(linked):
        yield f"column {column!r} links where it has no value"


def _wrong_colours(panel: Panel) -> Iterator[str]:
    for line in (*panel.lines, *panel.states):
        if is_wrong(line):
            yield f"{line.name!r} is drawn in {line.colour}"
    written = {
        Drawn(shown.text, colour)
        for shown in (*panel.cells, *panel.figures)
        for colour in (shown.colour, shown.background)
        if colour is not None and not _is_grey(colour)
    }
    for text in sorted(written):
        if is_wrong(text):
            yield f"{text.name!r} is written in {text.colour}"


def is_wrong(drawn: Drawn) -> bool:
    """Whether something has a colour that contradicts its name."""
    expected = _COLOURS.get(drawn.name)
    if expected is None:
        return False
    hue = 360 * colorsys.rgb_to_hsv(*_rgb(drawn.colour))[0]
    first, last = _HUES[expected]
    inside = first <= hue < last if first < last else hue >= first or hue < last
    return _is_grey(drawn.colour) or not inside


def _rgb(colour: str) -> tuple[float, float, float]:
    """Red, green and blue (0 to 1) of ``#rrggbb`` or ``rgb(r, g, b)``."""
    if colour.startswith("#"):
        red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    else:
        red, green, blue = (int(number) for number in re.findall(r"\d+", colour)[:3])
    return red / 255, green / 255, blue / 255


def _is_grey(colour: str) -> bool:
    parts = _rgb(colour)
    return max(parts) - min(parts) < _GREY
