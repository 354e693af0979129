"""Checks of what the exporter observed while it ran: the findings of the status page, by subject.

Owns: which findings belong to which check, and what a check says without any.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from celery_metrics_exporter.doctor.context import Context
from celery_metrics_exporter.doctor.event_queue import find_refused_workers
from celery_metrics_exporter.doctor.results import listed, ok, skipped, together, warning
from celery_metrics_exporter.doctor.trial_run import listen
from celery_metrics_exporter.status_page.findings import Finding, count
from celery_metrics_exporter.status_page.snapshot import Snapshot
from celery_metrics_exporter.status_page.snapshot_tables import QueueRow
from celery_metrics_exporter.status_page.wording import duration

_LATER: Final = "run doctor again while tasks run, with a longer --wait"
#: Findings that say nothing after so short a time, what the options say, or what the doctor never is.
LEFT_OUT: Final = ("age", "no-events", "no-task", "standby")


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
    names = [row.worker.name for row in seen.workers.shown.rows if row.state == "up"]
    return ok(f"{count(seen.workers.up, 'worker')} up: {listed(sorted(names), total=seen.workers.up)}")


def _versions(_context: Context, seen: Snapshot) -> Finding:
    versions = Counter(row.worker.version for row in seen.workers.shown.rows if row.worker.version)
    if not versions:
        return skipped(f"no heartbeat tells of a version{_without_workers(seen)}")
    return ok(
        listed(
            f"Celery {version} ({count(number, 'worker')})" for version, number in sorted(versions.items())
        )
    )


def _task_events(context: Context, seen: Snapshot) -> Finding:
    states = {
        row.worker.name: row.worker.events_enabled for row in seen.workers.shown.rows if row.state == "up"
    }
    if not states:
        return skipped("there is no worker")
    unknown = sorted(name for name, sends in states.items() if sends is None)
    if unknown:
        asks = (
            "" if context.config.enable_events else ", and with --no-enable-events the exporter does not ask"
        )
        return skipped(
            f"not known of {listed(unknown)}: no task ran there in {context.seconds:.0f} s{asks}", _LATER
        )
    return ok(f"on: {listed(sorted(states), total=seen.workers.up)}")


def _task_sent(context: Context, seen: Snapshot) -> Finding:
    if not seen.tasks.sent:
        return skipped(f"no task was published or started in {context.seconds:.0f} s", _LATER)
    return ok(f"on: {count(seen.tasks.sent, 'task')} published, {seen.tasks.started:,} started")


def _clocks(_context: Context, seen: Snapshot) -> Finding:
    offsets = [abs(row.worker.offset) for row in seen.workers.shown.rows if row.worker.offset is not None]
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


def _alone(context: Context, seen: Snapshot) -> Finding:
    if not seen.workers.up:
        return skipped("there is no worker")
    number = len(_tasks_by_worker(context))
    return ok(f"{number} workers share tasks" if number > 1 else "no sign of another one")


def _others(context: Context) -> Iterable[Finding]:
    groups = _groups(_tasks_by_worker(context))
    if len(groups) > 1:
        parts = [
            f"{listed(names, 3)} ({count(len(tasks), 'task')}, such as {min(tasks)})"
            for names, tasks in groups
        ]
        yield warning(
            f"workers have no task in common: {' | '.join(parts)}; if these are different applications, their events "
            "and metrics are one here",
            "give each application its own virtual host or database, or its own event_exchange and an exporter for "
            "each (--event-exchange NAME)",
        )
    prefixes = sorted(context.tables.prefixes) if context.tables is not None else []
    if len(prefixes) > 1:
        yield warning(
            f"this database holds Celery's keys under several prefixes: {listed(map(repr, prefixes))}; an exporter "
            "sees one of them",
            "run one exporter for each: --broker-transport-option global_keyprefix=PREFIX",
        )


def _tasks_by_worker(context: Context) -> dict[str, frozenset[str]]:
    """The tasks of each worker that told which it knows."""
    told = context.questions.tasks if context.questions else {}
    return {name: tasks for name, tasks in told.items() if tasks}


def _groups(known: Mapping[str, frozenset[str]]) -> list[tuple[list[str], frozenset[str]]]:
    """Workers that have tasks in common, also through others: their names, and all their tasks."""
    groups: list[tuple[list[str], frozenset[str]]] = []
    for name, tasks in sorted(known.items()):
        near = [group for group in groups if group[1] & tasks]
        groups = [group for group in groups if group not in near]
        names = [each for group in near for each in group[0]] + [name]
        groups.append((sorted(names), tasks.union(*(group[1] for group in near))))
    return groups


def _without_workers(seen: Snapshot) -> str:
    return "" if seen.workers.up else ": there is no worker"


check_arrival: Final = Observed(
    ("connection", "deaf", "unsure", "routing-key", "gaps", "stuck", "dropped", "lag", "evicted", "overflow"),
    _arrived,
)
check_workers: Final = Observed(
    ("no-worker", "lost", "untold", "unheard", "namesakes", "remote-control", "inspection"),
    _are_up,
    find_refused_workers,
)
check_versions: Final = Observed(("outdated",), _versions)
check_task_events: Final = Observed(("events-off", "switched-on", "missed"), _task_events)
check_task_sent: Final = Observed(("task-sent",), _task_sent)
check_clocks: Final = Observed(("clocks", "retimed"), _clocks)
check_queues: Final = Observed(
    ("broker", "queues-unreadable", "forbidden", "abandoned", "absent", "missing", "no-queue", "management"),
    _queues,
)
check_applications: Final = Observed(("unregistered",), _alone, _others)
