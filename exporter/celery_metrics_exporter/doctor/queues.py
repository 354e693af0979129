"""Queues and who consumes them; applications that share what they should not.

Owns: these checks, and what repairs them. Must not know: how queues are read, how workers are asked.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from celery_metrics_exporter.doctor.case import counted, listed, one_line
from celery_metrics_exporter.doctor.findings import Verdict, failed, joined, ok, skipped, warning
from celery_metrics_exporter.doctor.listening import listen
from celery_metrics_exporter.doctor.reading import read_queues

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celery_metrics_exporter.doctor.case import Case
    from celery_metrics_exporter.doctor.hearing import Hearing
    from celery_metrics_exporter.facts import QueueFacts


def check_queues(case: Case) -> Verdict:
    """What waits in a queue is consumed by somebody."""
    hearing = listen(case)
    consumed = _consumed(case)
    named = (*case.config.queues, *case.broker.queues)
    sent = {queue for queue in hearing.sent.values() if queue}
    default = str(case.broker.app.conf.task_default_queue)
    wanted = dict.fromkeys((*named, *(consumed or ()), *sorted(sent), default))
    try:
        facts = read_queues(case, tuple(wanted))
    except Exception as error:  # noqa: BLE001 - whatever a broker's library raises is the finding
        return failed(one_line(error), "see the lines about the broker above, and its log")
    if facts is None:
        return skipped("the queues of such a broker cannot be read")
    return _judge(case, consumed, facts.queues)


def _judge(case: Case, consumed: dict[str, int] | None, known: Mapping[str, QueueFacts]) -> Verdict:
    troubles = (_stuck(consumed, known), _missing(case, known))
    shown = [_shown(name, facts, consumed) for name, facts in sorted(known.items()) if facts.exists]
    return joined(troubles) or ok(listed(shown, 8) if shown else "there are none yet")


def _stuck(consumed: dict[str, int] | None, known: Mapping[str, QueueFacts]) -> Verdict | None:
    stuck = {
        name: facts.ready
        for name, facts in sorted(known.items())
        if facts.ready and (facts.consumers == 0 if facts.consumers is not None else _nobody(name, consumed))
    }
    if not stuck:
        return None
    also = f"; workers consume {listed(set(consumed))}" if consumed else ""
    return warning(
        "messages wait and nobody consumes them: "
        f"{listed([f'{name} ({ready})' for name, ready in stuck.items()])}{also}",
        "let a worker consume them, or correct the names in task_routes, task_queues and -Q",
        f"celery -A PROJECT worker -Q {shlex.quote(','.join(stuck))}",
    )


def _missing(case: Case, known: Mapping[str, QueueFacts]) -> Verdict | None:
    missing = {name for name in case.config.queues if name in known and not known[name].exists}
    if not missing:
        return None
    return warning(
        f"the broker has no queue {listed(missing)}",
        "correct --queue; a queue is there as soon as a worker consumes it or a task was sent to it",
    )


def _nobody(name: str, consumed: dict[str, int] | None) -> bool:
    return consumed is not None and name not in consumed


def _shown(name: str, facts: QueueFacts, consumed: dict[str, int] | None) -> str:
    by = facts.consumers if facts.consumers is not None else (consumed or {}).get(name)
    consumers = "" if by is None else f", {counted(by, 'consumer')}"
    return f"{name} ({facts.ready} ready{consumers})"


def _consumed(case: Case) -> dict[str, int] | None:
    """How many workers consume which queue; None unless every worker has told."""
    if case.survey is None or case.survey_error is not None or not case.config.inspect_workers:
        return None
    counts: dict[str, int] = {}
    for name in case.workers():
        told = case.survey.workers.get(name)
        if told is None or told.queues is None:
            return None
        for queue in told.queues:
            counts[queue] = counts.get(queue, 0) + 1
    return counts


def check_applications(case: Case) -> Verdict:
    """One application is seen, not several whose metrics mix."""
    if case.family == "memory":
        return skipped("memory:// carries events within one process only")
    hearing = listen(case)
    told = case.survey.workers if case.survey else {}
    known = {name: each.tasks for name, each in told.items() if each.tasks}
    troubles = (_unregistered(hearing), _strangers(known), _prefixes(case))
    well = ok(f"{len(known)} workers share tasks" if len(known) > 1 else "no sign of another one")
    return joined(troubles) or (well if case.workers() else skipped("there is no worker"))


def _unregistered(hearing: Hearing) -> Verdict | None:
    if not hearing.unregistered:
        return None
    return warning(
        f"tasks fail because their worker does not know them: {listed(hearing.unregistered)}; as a rule another "
        "application publishes to the same queues",
        "give each application queues of its own, or a virtual host or database; or import the tasks in the worker "
        "(imports, autodiscover_tasks)",
    )


def _strangers(known: Mapping[str, frozenset[str]]) -> Verdict | None:
    groups = _groups(known)
    if len(groups) < 2:  # noqa: PLR2004 - it takes two
        return None
    parts = [f"{listed(names, 3)} ({len(tasks)} tasks, such as {min(tasks)})" for names, tasks in groups]
    return warning(
        f"workers have no task in common: {' | '.join(parts)}; if these are different applications, their events "
        "and metrics are one here",
        "give each application its own virtual host or database, or its own event_exchange and an exporter for "
        "each (--event-exchange NAME)",
    )


def _prefixes(case: Case) -> Verdict | None:
    prefixes = sorted(case.tables.prefixes) if case.tables is not None else []
    if len(prefixes) < 2:  # noqa: PLR2004 - it takes two
        return None
    return warning(
        f"this database holds Celery's keys under several prefixes: {listed([repr(each) for each in prefixes])}; an "
        "exporter sees one of them",
        "run one exporter for each: --broker-transport-option global_keyprefix=PREFIX",
    )


def _groups(known: Mapping[str, frozenset[str]]) -> list[tuple[list[str], frozenset[str]]]:
    """Workers that have tasks in common, also through others: their names, and all their tasks."""
    groups: list[tuple[list[str], frozenset[str]]] = []
    for name, tasks in sorted(known.items()):
        near = [group for group in groups if group[1] & tasks]
        groups = [group for group in groups if group not in near]
        names = [each for group in near for each in group[0]] + [name]
        groups.append((sorted(names), tasks.union(*(group[1] for group in near))))
    return groups
