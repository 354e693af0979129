"""Dashboards drawn by Grafana's component library in a browser, against a Prometheus; no Grafana server.

The page is made by ``scripts/install-viewer`` from ``tests/grafana/viewer/page``, whose ``main.jsx`` says what of it
is Grafana's and what is imitated.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from tests.browser.chromium import Chromium
from tests.browser.tab import Tab
from tests.grafana.board import Board
from tests.grafana.viewer.recording import SCRAPE_S
from tests.grafana.viewer.scenarios import END, Scenario
from tests.integration.servers.prometheus import Prometheus

WIDTH: Final = 1600
#: Tables do not draw what is off the screen, so it is higher than any dashboard.
_HEIGHT: Final = 8000


class Shown(NamedTuple):
    """A text with its colours, ``rgb(...)`` or None; ``column`` is the heading, in tables."""

    text: str
    colour: str
    background: str | None
    link: bool
    column: str = ""


class Drawn(NamedTuple):
    """A name and the colour in which its line or state is drawn, ``#rrggbb`` or ``rgb(...)``."""

    name: str
    colour: str


class Legend(NamedTuple):
    """The shares of a graph's height and width that its legend takes."""

    height: float
    width: float


class Panel(NamedTuple):
    """What a panel shows.

    Attributes:
        number: its id.
        kind: its type.
        empty: whether it shows nothing but such a text.
        error: what went wrong.
        overflow: pixels of a table that are seen only after scrolling sideways.
    """

    number: int
    title: str
    kind: str
    text: str
    empty: bool
    error: str | None
    lines: list[Drawn]
    states: list[Drawn]
    legend: Legend | None
    cells: list[Shown]
    figures: list[Shown]
    overflow: float


class Drawing:
    """A drawn dashboard."""

    def __init__(self, tab: Tab) -> None:
        self._tab = tab

    def panels(self) -> list[Panel]:
        """Its panels, those of collapsed rows among them."""
        return [_panel(found) for found in self._tab.run("look()")]

    def png(self) -> bytes:
        """The whole of it as a picture."""
        return self._tab.screenshot()


def _panel(found: dict[str, Any]) -> Panel:
    legend = found.pop("legend")
    return Panel(
        lines=[Drawn(**line) for line in found.pop("lines")],
        states=[Drawn(**state) for state in found.pop("states")],
        cells=[Shown(**cell) for cell in found.pop("cells")],
        figures=[Shown(**figure) for figure in found.pop("figures")],
        legend=legend and Legend(**legend),
        **found,
    )


class Viewer:
    """Draws dashboards; a context manager that serves the page, which is in the folder ``page``."""

    def __init__(self, page: Path) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(page)))

    def __enter__(self) -> Self:
        """Start."""
        threading.Thread(target=self._server.serve_forever, name="viewer", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()

    @contextmanager
    def draw(
        self, browser: Chromium, board: Board, prometheus: Prometheus, scenario: Scenario
    ) -> Iterator[Drawing]:
        """Draw a dashboard as it is found when it is opened, all rows open; that of a task with one chosen."""
        order = {
            "dashboard": board.json,
            "prometheus": prometheus.url,
            "from": scenario.drawn_from,
            "to": END,
            "values": {"task": scenario.task} if board.name == "task" and scenario.task else {},
            "scrape": SCRAPE_S,
        }
        with Tab(browser, width=WIDTH, height=_HEIGHT, dark=True) as tab:
            tab.open(f"http://127.0.0.1:{self._server.server_port}/")
            tab.run(f"draw({json.dumps(order)})")
            # What Prometheus refuses is shown in its panel.
            complaints = [each for each in tab.complaints if f"{prometheus.url}/api/" not in each]
            assert complaints == [], complaints
            yield Drawing(tab)


class _Quiet(SimpleHTTPRequestHandler):
    """Tells nobody of each request."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing."""
