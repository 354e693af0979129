"""Checks of what the exporter observed while it ran: the findings of the status page, by subject.

Owns: which findings belong to which check, and what a check says without any.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from celery_metrics_exporter.doctor.results import listed, ok, skipped, together
from celery_metrics_exporter.doctor.trial_run import listen
from celery_metrics_exporter.status_page.findings import count
from celery_metrics_exporter.status_page.wording import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from celery_metrics_exporter.doctor.context import Context
    from celery_metrics_exporter.status_page.findings import Finding
    from celery_metrics_exporter.status_page.snapshot import Snapshot
    from celery_metrics_exporter.status_page.snapshot_tables import QueueRow

_LATER: Final = "run doctor again while tasks run, with a longer --wait"
#: Findings that say nothing after so short a time.
LEFT_OUT: Final = ("age", "no-task")


def _nothing(_context: Context) -> Iterable[Finding]:
    return ()


@dataclass(frozen=True, slots=True)
class Observed:
    """A check.

    Attributes:
        keys: of the findings of the status page that belong to it.
        otherwise: what it says when none of them is a trouble.
        more: finds what only doctor can know.
    """

    keys: tuple[str, ...]
    otherwise: Callable[[Context, Snapshot], Finding]
    more: Callable[[Context], Iterable[Finding]] = _nothing

    def __call__(self, context: Context) -> Finding:
        """Wait for what is observed, and judge it."""
        if context.family == "memory":
            return skipped("memory:// works within one process only, and there is no worker in this one")
        seen = listen(context)
        found = [finding for finding in context.findings if finding.key in self.keys]
        return together((*found, *self.more(context)), self.otherwise(context, seen))


def _arrived(context: Context, seen: Snapshot) -> Finding:
    stream = seen.stream
    own = stream.heard - stream.total - sum(number for _, number in stream.dropped)
    among = ", our own among them" if own else ""
    return ok(f"{count(stream.total + own, 'event')} in {context.seconds:.0f} s{among}")


def _are_up(_context: Context, seen: Snapshot) -> Finding:
    if not seen.workers.up:
        return skipped("needs: events arrive")
    names = [row.name for row in seen.workers.shown.rows if row.state == "up"]
    return ok(f"{count(seen.workers.up, 'worker')} up: {listed(sorted(names), total=seen.workers.up)}")


def _versions(_context: Context, seen: Snapshot) -> Finding:
    versions = Counter(row.version for row in seen.workers.shown.rows if row.version)
    if not versions:
        return skipped(f"no heartbeat tells of a version{_without_workers(seen)}")
    return ok(
        listed(
            f"Celery {version} ({count(number, 'worker')})" for version, number in sorted(versions.items())
        )
    )


def _task_events(context: Context, seen: Snapshot) -> Finding:
    states = {row.name: row.sends_events for row in seen.workers.shown.rows if row.state == "up"}
    if not states:
        return skipped("there is no worker")
    unknown = sorted(name for name, sends in states.items() if sends is None)
    if unknown:
        asks = "" if context.config.enable_events else ", and --no-enable-events asks nothing"
        return skipped(
            f"not known of {listed(unknown)}: no task ran there in {context.seconds:.0f} s{asks}", _LATER
        )
    return ok(f"on: {listed(sorted(states), total=seen.workers.up)}")


def _task_sent(context: Context, seen: Snapshot) -> Finding:
    if not seen.tasks.sent:
        return skipped(f"no task was published or started in {context.seconds:.0f} s", _LATER)
    return ok(f"on: {count(seen.tasks.sent, 'task')} published, {seen.tasks.started:,} started")


def _clocks(_context: Context, seen: Snapshot) -> Finding:
    offsets = [abs(row.offset) for row in seen.workers.shown.rows if row.offset is not None]
    if not offsets:
        return skipped(f"no heartbeat tells of a clock{_without_workers(seen)}")
    return ok(f"at most {duration(max(offsets))} off, delivery included")


def _queues(_context: Context, seen: Snapshot) -> Finding:
    if not seen.reads_queues:
        return skipped("the queues of such a broker cannot be read")
    rows = [
        row
        for row in seen.queues.shown.rows
        if row.length is not None and row.name not in seen.queues.absent.rows
    ]
    return ok(listed(map(_queue, rows), 8, total=len(rows)) if rows else "there are none yet")


def _queue(row: QueueRow) -> str:
    by = row.workers if row.consumers is None else row.consumers
    consumers = "" if by is None else f", {count(by, 'consumer')}"
    return f"{row.name} ({row.length} ready{consumers})"


def _without_workers(seen: Snapshot) -> str:
    return "" if seen.workers.up else ": there is no worker"


check_arrival: Final = Observed(
    ("connection", "deaf", "unsure", "routing-key", "gaps", "stuck", "dropped", "lag", "evicted", "overflow"),
    _arrived,
)
check_workers: Final = Observed(
    ("no-worker", "lost", "untold", "unheard", "namesakes", "remote-control", "inspection"), _are_up
)
check_versions: Final = Observed(("outdated",), _versions)
check_task_events: Final = Observed(("events-off", "switched-on", "missed"), _task_events)
check_task_sent: Final = Observed(("task-sent",), _task_sent)
check_clocks: Final = Observed(("clocks", "retimed"), _clocks)
check_queues: Final = Observed(("broker", "queues-unreadable", "abandoned", "absent", "management"), _queues)
