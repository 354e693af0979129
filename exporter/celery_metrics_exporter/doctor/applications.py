"""Applications that share a broker, and what they should not: workers without a task in common, several prefixes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celery_metrics_exporter.doctor.observed import Observed
from celery_metrics_exporter.doctor.results import listed, ok, skipped, warning
from celery_metrics_exporter.status_page.findings import count

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from celery_metrics_exporter.doctor.context import Context
    from celery_metrics_exporter.status_page.findings import Finding
    from celery_metrics_exporter.status_page.snapshot import Snapshot


def _alone(context: Context, seen: Snapshot) -> Finding:
    if not seen.workers.up:
        return skipped("there is no worker")
    number = len(_known(context))
    return ok(f"{number} workers share tasks" if number > 1 else "no sign of another one")


def _others(context: Context) -> Iterator[Finding]:
    groups = _groups(_known(context))
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


def _known(context: Context) -> dict[str, frozenset[str]]:
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


check_applications = Observed(("unregistered",), _alone, _others)
