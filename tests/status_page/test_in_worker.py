"""The page of a worker that reports for itself."""

import pytest

from celery_metrics_exporter.status_page.findings import Level
from celery_metrics_exporter.status_page.missing import find_missing
from celery_metrics_exporter.status_page.page import page
from celery_metrics_exporter.status_page.snapshot import Snapshot
from celery_metrics_exporter.status_page.survey import Survey
from tests.pipeline import Bench, received, task


def look(bench: Bench) -> Snapshot:
    """What the survey of such a worker sees."""
    return Survey(
        bench.pipeline.sources,
        bench.survey._config,
        bench.time.clock(),
        broker="w@h",
        reads_queues=False,
        control_error=lambda: None,
        redact=str,
        in_worker=True,
    ).look()


@pytest.fixture
def bench() -> Bench:
    """One with a task that has succeeded, of which no task-sent came."""
    made = Bench()
    made.feed(received(at=0.0), task("started", at=1.0), task("succeeded", at=2.0, runtime=1.0))
    return made


def test_nothing_of_a_listener_is_missed(bench: Bench) -> None:
    """Neither task-sent nor lengths of queues; the page says once what cannot be known."""
    assert [finding.key for finding in find_missing(look(bench))] == ["in-worker"]
    bench.wait(3600.0)
    assert [finding.key for finding in find_missing(look(bench))] == ["in-worker"]


def test_a_lost_connection_is_told(bench: Bench) -> None:
    """It is the worker's own."""
    bench.subscription.mark_disconnected("the worker has lost its connection")
    found = find_missing(look(bench))
    assert [finding.key for finding in found] == ["connection", "in-worker"]
    assert found[0].level is Level.FAILED
    assert found[0].quote == "the worker has lost its connection"


def test_the_page_has_no_place_for_what_is_not_known(bench: Bench) -> None:
    """No table of queues, no figures of the event stream's delivery, and a verdict of its own."""
    text = page(look(bench), (True, "healthy"), style="", script="", telemetry_path="/metrics")
    assert "<title>Consuming" in text
    assert 'id="running"' in text
    assert 'id="queues"' not in text
    for name in ("Last event", "Event lag", "Workers up", "Messages waiting"):
        assert f"<dt>{name}</dt>" not in text
    bench.subscription.mark_disconnected("gone")
    text = page(look(bench), (True, "healthy"), style="", script="", telemetry_path="/metrics")
    assert "<title>Not consuming" in text
