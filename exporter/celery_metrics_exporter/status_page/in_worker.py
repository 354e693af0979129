"""What the page of a worker that reports for itself shows and misses: it knows its own tasks, and nothing else.

Owns: the verdict of its page, and the findings that only it has.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from celery_metrics_exporter.status_page.findings import Finding, Level, failed, note
from celery_metrics_exporter.status_page.snapshot import Snapshot

#: Figures of an exporter that listens, which a worker does not know of itself, or which go without saying.
OF_LISTENERS: Final = ("Last event", "Event lag", "Workers up", "Messages waiting")


def verdict(seen: Snapshot) -> tuple[Level, str]:
    """How bad it is, and in a few words what it is."""
    return (Level.OK, "Consuming") if seen.subscription.connected else (Level.FAILED, "Not consuming")


def missing_in_worker(seen: Snapshot) -> Iterator[Finding]:
    """What is missing for want of a connection, and of anybody else's knowledge."""
    if not seen.subscription.connected:
        yield failed(
            "connection",
            "The worker does not consume",
            "Its log has the reason. The tasks that it runs are still counted.",
            quote=seen.subscription.last_error,
        )
    yield note(
        "in-worker",
        "This is one worker, by itself: Prometheus adds them up",
        "Not known here: lengths of queues and the age of messages, lost workers, publications, and tasks with "
        "`send_events = False`. `celery-exporter --no-events` reads the queues of most brokers.",
    )
