"""What the dashboards show, in a browser: drawn by Grafana's component library against a real Prometheus.

An outage belongs to the first tier: it shows nearly all that can go wrong. Lines without number are seen in the second.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.browser.chromium import Chromium
from tests.browser.conftest import chromium  # noqa: F401 - pytest finds it here by name
from tests.grafana.board import Board, boards
from tests.grafana.viewer.drawing import Drawn, Viewer
from tests.grafana.viewer.judge import faults, is_wrong
from tests.grafana.viewer.pictures import RULES
from tests.grafana.viewer.recording import Recording
from tests.grafana.viewer.scenarios import END, SCENARIOS, Scenario
from tests.integration.servers import Prometheus
from tests.integration.servers.requirements import VIEWER

FIRST_TIER = "outage"
#: No scenario has an SQS.
NOWHERE = {"queues / Delayed on SQS"}
#: What has no data by nature, by scenario: nothing waits or drains, nobody fails, RabbitMQ or Redis is not there.
EMPTY = {
    "health": {
        "exporter / Counted as other",
        "overview / Age of the oldest message",
        "overview / Alerts",
        "queues / Age of the oldest message",
        "queues / Empty in",
        "queues / Oldest unacknowledged",
        "queues / Unacknowledged",
        "queues / Waiting by priority",
    },
    "scale": {
        "exporter / Counted as other",
        "overview / Age of the oldest message",
        "overview / Alerts",
        "queues / Age of the oldest message",
        "queues / Consumers",
        "queues / Delayed",
        "queues / Empty in",
        "queues / Unacknowledged",
    },
    "outage": {
        "exporter / Counted as other",
        "queues / Empty in",
        "queues / Oldest unacknowledged",
        "queues / Unacknowledged",
        "queues / Waiting by priority",
    },
    "native": {
        "exporter / Counted as other",
        "queues / Empty in",
        "queues / Oldest unacknowledged",
        "queues / Unacknowledged",
        "queues / Waiting by priority",
    },
    "exporter-down": {
        "exporter / Counted as other",
        "exporter / Versions",
        "overview / Age of the oldest message",
        "overview / Longest queues",
        "overview / Workers that are down or busy",
        "queues / Age of the oldest message",
        "queues / Empty in",
        "queues / Oldest unacknowledged",
        "queues / Unacknowledged",
        "queues / Waiting by priority",
        "workers / Queues of workers",
        "workers / Settings and versions",
        "workers / Versions",
        "workers / Workers",
    },
}
NEEDS = pytest.mark.needs("viewer", "chromium", "prometheus")


class Scene(NamedTuple):
    """A scenario, and the Prometheus that has recorded it."""

    scenario: Scenario
    prometheus: Prometheus


@pytest.fixture(scope="module")
def viewer() -> Iterator[Viewer]:
    """The page, served."""
    with Viewer(VIEWER / "13" / "page") as page:
        yield page


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=() if name == FIRST_TIER else pytest.mark.slow) for name in SCENARIOS],
)
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Record a scenario."""
    scenario = SCENARIOS[request.param]
    recording = Recording(tmp_path_factory.mktemp(scenario.name), scenario, RULES)
    recording.write()
    with recording.prometheus() as prometheus:
        yield Scene(scenario, prometheus)


@NEEDS
@pytest.mark.parametrize("board", boards(), ids=lambda board: board.name)
def test_dashboard_reads_well(scene: Scene, board: Board, viewer: Viewer, chromium: Chromium) -> None:  # noqa: F811
    """No error, no wrong text or colour, nothing out of sight, not more than can be told apart, and data."""
    with viewer.draw(chromium, board, scene.prometheus, scene.scenario) as drawing:
        panels = drawing.panels()
    empty = {f"{board.name} / {panel.title}" for panel in panels if panel.empty}
    assert (faults(board, panels), sorted(empty - EMPTY[scene.scenario.name] - NOWHERE)) == ([], [])


@NEEDS
def test_histograms_are_of_one_kind(scene: Scene) -> None:
    """What is drawn as native histograms is stored as such, and nothing of it as classic ones."""
    for part, exists in (("", scene.scenario.native), ("_bucket", not scene.scenario.native)):
        found = scene.prometheus.api(
            "query", query=f"count(last_over_time(celery_task_runtime_seconds{part}[1h]))", time=f"{END}"
        )
        assert bool(found["result"]) is exists


def _panel(kind: str, title: str, *queries: str, **settings: Any) -> dict[str, Any]:
    """A panel of a dashboard that nobody should have."""
    config = {"defaults": settings.pop("defaults", {}), "overrides": settings.pop("overrides", [])}
    is_graph = kind == "timeseries"
    return {
        "type": kind,
        "title": title,
        "fieldConfig": config,
        "targets": [
            {
                "refId": refid,
                "expr": query,
                "legendFormat": legend,
                "instant": not is_graph,
                "format": "table" if kind == "table" else "time_series",
            }
            for refid, (legend, _, query) in zip(
                "ABC", (each.rpartition("=>") for each in queries), strict=False
            )
        ],
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "value",
            "graphMode": "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "textMode": "value",
            "showHeader": True,
        },
        **settings,
    }


def _bad_board() -> Board:
    panels = [
        _panel("timeseries", "Colours", "failed=>vector(1)", "succeeded=>vector(2)"),
        _panel("timeseries", "Lines", '{__name__=~"celery:threshold:.+"}'),
        _panel(
            "table",
            "Columns",
            "max by (queue) (celery_queue_length)",
            "max by (queue) (celery_queue_oldest_message_age_seconds)",
            transformations=[{"id": "merge", "options": {}}],
            defaults={"noValue": "no queues known"},
            overrides=[
                {
                    "matcher": {"id": "byName", "options": "queue"},
                    "properties": [{"id": "custom.width", "value": 900}],
                },
            ],
        ),
        _panel(
            "table",
            "Links",
            "max by (queue) (celery_queue_length)",
            "max by (queue) (celery_queue_oldest_message_age_seconds)",
            transformations=[{"id": "merge", "options": {}}],
            overrides=[
                {
                    "matcher": {"id": "byName", "options": "Value #B"},
                    "properties": [
                        {"id": "noValue", "value": "none"},
                        {"id": "links", "value": [{"title": "Queue", "url": "/d/queue"}]},
                    ],
                },
            ],
        ),
        _panel(
            "stat",
            "State",
            "vector(0)",
            defaults={
                "mappings": [
                    {"type": "value", "options": {"0": {"text": "down", "color": "yellow", "index": 0}}}
                ]
            },
        ),
        _panel("stat", "Broken", "sum(", defaults={"noValue": "none"}),
        _panel("stat", "Silent", "absent_of_all"),
    ]
    for number, panel in enumerate(panels):
        panel |= {"id": number, "gridPos": {"x": 12 * (number % 2), "y": 7 * (number // 2), "w": 12, "h": 7}}
    json = {"title": "Bad", "panels": panels, "templating": {"list": []}, "annotations": {"list": []}}
    return Board("bad", json)


@NEEDS
@pytest.mark.parametrize("scene", [FIRST_TIER], indirect=True)
def test_each_fault_is_found(scene: Scene, viewer: Viewer, chromium: Chromium) -> None:  # noqa: F811
    """A dashboard with all of these faults is told each of them, and no other."""
    board = _bad_board()
    with viewer.draw(chromium, board, scene.prometheus, scene.scenario) as drawing:
        found = faults(board, drawing.panels())
    expected = [
        "bad / Colours: 'failed' is drawn in #",
        "bad / Colours: 'succeeded' is drawn in #",
        "bad / Lines: has 2",
        "bad / Lines: its legend takes 35% of the graph",
        "bad / Columns: a table scrolls sideways, by ",
        "bad / Columns: column 'Value #B' says 'no queues known', which is not its own text",
        "bad / Links: column 'Value #B' links where it has no value",
        "bad / State: 'down' is written in rgb(",
        "bad / Broken: shows an error: ",
        "bad / Silent: shows Grafana's own words for missing data",
    ]
    missing = [fault for fault in expected if not any(each.startswith(fault) for each in found)]
    others = [each for each in found if not any(each.startswith(fault) for fault in expected)]
    assert (missing, others) == ([], [])


@pytest.mark.parametrize(
    ("name", "colour", "wrong"),
    [
        ("failed", "#F2495C", False),
        ("failed", "rgb(223, 20, 16)", False),
        ("failed", "#F2CC0C", True),
        ("up", "#73BF69", False),
        ("up", "rgb(204, 204, 220)", True),
        ("retried", "#FF9830", False),
        ("sent", "#5794F2", False),
        ("received", "#B877D9", False),
        ("received", "#5794F2", True),
        ("orders", "#F2CC0C", False),
    ],
)
def test_colours_have_meanings(name: str, colour: str, wrong: bool) -> None:
    """Words with a meaning have their hue; grey and other hues are wrong, and names of others may have any."""
    assert is_wrong(Drawn(name, colour)) == wrong
