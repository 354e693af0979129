"""The page of an exporter without events: what it knows, and nothing that looks broken."""

import re
from dataclasses import replace

import pytest

from celery_metrics_exporter.config.config import Config
from celery_metrics_exporter.events.stream_state import StreamReading
from celery_metrics_exporter.status_page.missing import find_missing
from celery_metrics_exporter.status_page.snapshot import BrokerView, Snapshot
from celery_metrics_exporter.status_page.snapshot_tables import QueueRow, Queues, Top
from tests.serving import SEEN, page_of

ROW = QueueRow(name="celery", length=3, unacked=2, delayed=1)
READ = replace(
    SEEN,
    config=Config(broker_url="sqs://", events=False),
    broker_name="sqs://",
    subscription=StreamReading(connected=False),
    broker=BrokerView(up=True, round_trip=0.02),
    queues=Queues(shown=Top((ROW,), 1), waiting=3, ageless=Top(("celery",), 1)),
)


def keys(seen: Snapshot) -> list[str]:
    """The keys of what is missing, the worst first."""
    return [finding.key for finding in find_missing(seen, final=True)]


def test_all_that_can_be_known() -> None:
    """That there are no events is a note, and nothing else is missing."""
    assert keys(READ) == ["no-events"]
    html = page_of(READ)
    assert '<p class="verdict" role="status" aria-live="polite">Reading queues</p>' in html
    assert re.findall(r"<h2[^>]*>(.*?)</h2>", html) == ["What is missing", "Queues"]
    assert re.findall(r"<dt>(.*?)</dt>", html) == ["Messages waiting", "Broker answers in"]
    headings = re.findall(r'<th role="columnheader"[^>]*>(.*?)</th>', html)
    assert headings == ["Queue", "Waiting", "Oldest", "Held", "Delayed"]
    assert "Not connected" not in html
    assert "whether queues are read" in html


@pytest.mark.parametrize(
    ("seen", "verdict", "found"),
    [
        (replace(READ, broker=BrokerView()), "Not read yet", []),
        (replace(READ, broker=BrokerView(up=False, error="no keys")), "Queues cannot be read", ["broker"]),
        (replace(READ, reads_queues=False), "Nothing can be read", ["queues-unreadable"]),
        (replace(READ, queues=Queues()), "Reading queues", ["no-queue"]),
        (replace(READ, queues=replace(READ.queues, missing=Top(("x",), 1))), "Reading queues", ["missing"]),
        (
            replace(READ, queues=replace(READ.queues, forbidden=Top(("x",), 1))),
            "Reading queues",
            ["forbidden"],
        ),
    ],
)
def test_what_goes_wrong(seen: Snapshot, verdict: str, found: list[str]) -> None:
    """The verdict and the findings are about queues alone."""
    assert sorted(keys(seen)) == sorted([*found, "no-events"])
    assert f">{verdict}</p>" in page_of(seen)


def test_the_right_that_sqs_wants() -> None:
    """A queue that SQS forbids needs two actions, not a tag of RabbitMQ."""
    (finding,) = (
        each
        for each in find_missing(replace(READ, queues=replace(READ.queues, forbidden=Top(("x",), 1))))
        if each.key == "forbidden"
    )
    assert "sqs:GetQueueAttributes" in finding.remedy
    assert "RabbitMQ" not in finding.title + finding.remedy


def test_a_broken_process() -> None:
    """That this process does not work is worse than everything else."""
    html = page_of(READ, (False, "dead: sampler"))
    assert ">Broken</p>" in html
    assert "dead: sampler" in html
