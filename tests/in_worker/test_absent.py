"""The families that a worker does not have: real ones, documented, and absent from a scrape."""

import re
from pathlib import Path

from celery_metrics_exporter.clock import Clock
from celery_metrics_exporter.collectors import CATALOGUE
from celery_metrics_exporter.config.config import Config
from celery_metrics_exporter.events.stream_state import StreamState
from celery_metrics_exporter.exposition.text import Encoder
from celery_metrics_exporter.in_worker.absent import ABSENT
from celery_metrics_exporter.pipeline import Declared, Pipeline
from tests.integration.servers.exporter import REPOSITORY
from tests.pipeline import Bench


def test_each_is_a_family() -> None:
    """A family that was renamed would be there again, and 0."""
    assert {family.name for family in CATALOGUE} >= ABSENT


def test_the_documentation_lists_them() -> None:
    """All of them, and no other, in the section that says so."""
    text = Path(REPOSITORY, "docs/in-worker.md").read_text(encoding="utf-8")
    section = text.partition("## What is not there")[2].partition("`celery_queue_workers`")[0]
    assert set(re.findall(r"`(celery_\w+)`", section)) == ABSENT


def test_no_scrape_has_them() -> None:
    """Not even their HELP, also where one family is asked for."""
    clock = Clock()
    pipeline = Pipeline(
        Config(app="x"),
        StreamState(clock),
        Bench(),
        clock,
        libraries={"celery": "5.7.0", "kombu": "5.7.0"},
        declared=Declared(absent=ABSENT),
    )
    encode, _ = Encoder().choose("")
    text = encode(pipeline.registry).decode()
    names = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
    assert not names & ABSENT
    assert "celery_task_received_total" in names
