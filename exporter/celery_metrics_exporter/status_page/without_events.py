"""What an exporter without events shows and misses: it knows the queues of the broker, and nothing else.

Owns: the verdict of its page, and the findings that only it has.
"""

from __future__ import annotations

from collections.abc import Iterator

from celery_metrics_exporter.status_page.findings import Finding, Level, note, warning
from celery_metrics_exporter.status_page.snapshot import Snapshot


def verdict(seen: Snapshot) -> tuple[Level, str]:
    """How bad it is, and in a few words what it is."""
    if not seen.reads_queues:
        return Level.WARNING, "Nothing can be read"
    if seen.broker.up is None:
        return Level.WARNING, "Not read yet"
    return (Level.OK, "Reading queues") if seen.broker.up else (Level.FAILED, "Queues cannot be read")


def missing_without_events(seen: Snapshot) -> Iterator[Finding]:
    """What is missing for want of events, and of names of queues."""
    yield note(
        "no-events",
        "Without events: tasks and workers are not known",
        "`--no-events` reads the lengths of queues alone. Take the metrics of tasks from the workers themselves; or, "
        "where the broker carries events, leave it out.",
    )
    if seen.broker.up and not seen.queues.shown.total:
        yield warning(
            "no-queue",
            "No queue is known",
            "Name the queues by `--queue`, or their application by `--app`.",
        )
