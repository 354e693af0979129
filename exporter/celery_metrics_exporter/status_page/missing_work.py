"""What is missing of queues and tasks.

Owns: when each of these is told, and its remedy.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from celery_metrics_exporter.status_page.findings import Finding, Level, count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery_metrics_exporter.status_page.snapshot import Snapshot

#: Some publishers are told to send no task-sent only after this many seconds: tasks that were published before the
#: exporter listened have come from the queue by then, as a rule.
UNSENT_SECONDS: Final = 60.0
_TASK_SENT: Final = (
    "Set `task_send_sent_event = True` in every process that publishes tasks (web servers, beat, workers whose tasks "
    "call others), and restart it. Tasks that were published before the exporter listened lack it as well."
)


def missing_work(seen: Snapshot, *, had_time: bool, final: bool) -> Iterator[Finding]:
    """All findings of this subject; ``had_time`` and ``final`` as in :func:`missing.find_missing`."""
    yield from _queues(seen, had_time=had_time, final=final)
    yield from _tasks(seen, had_time=had_time, final=final)


def _queues(seen: Snapshot, *, had_time: bool, final: bool) -> Iterator[Finding]:
    queues = seen.queues
    rows = queues.shown.rows
    if had_time and queues.abandoned.total:
        yield Finding(
            "abandoned",
            Level.WARNING,
            f"Messages wait in {count(queues.abandoned.total, 'queue')} that no worker consumes",
            "At once: `celery -A proj control add_consumer QUEUE`. For good: let a worker consume it, or correct the "
            "names in `task_routes`, `task_queues` and `-Q`. A queue that is not to be watched: `--queue-exclude "
            "QUEUE`.",
            names=queues.abandoned,
            command=f"celery -A proj worker -Q {shlex.quote(','.join(queues.abandoned.rows))}",
        )
    if final and queues.absent.total:  # whoever looks again may yet see them come
        yield Finding(
            "absent",
            Level.WARNING,
            f"{count(queues.absent.total, 'queue')} of `--queue` cannot be found on the broker",
            "Correct `--queue`. A queue is there as soon as a worker consumes it or a task was sent to it.",
            names=queues.absent,
        )
    if any(row.consumers is not None for row in rows) and all(row.unacked is None for row in rows):
        yield Finding(
            "management",
            Level.NOTE,
            "RabbitMQ does not tell which messages workers hold, nor which queues there are",
            "Give the exporter its management API: `--management-url http://HOST:15672`.",
        )
    if queues.ageless.total:
        yield Finding(
            "age",
            Level.NOTE,
            f"How long messages wait in {count(queues.ageless.total, 'queue')} is not known",
            "It is counted from events, so that all consumers must be workers whose task events are on, and "
            "none may be missed; on Redis the user needs `+lindex`.",
            names=queues.ageless,
        )


def _tasks(seen: Snapshot, *, had_time: bool, final: bool) -> Iterator[Finding]:
    tasks, subscription = seen.tasks, seen.subscription
    if had_time and seen.workers.up and not tasks.started and subscription.deafness is None:
        yield Finding(
            "no-task",
            Level.NOTE,
            "No task has started since the exporter listens",
            "Send one. If tasks do run, their workers send no task events: `celery -A proj control enable_events`.",
        )
    if tasks.started and not tasks.sent:
        yield Finding(
            "task-sent",
            Level.WARNING,
            "task-sent is off: no queue wait, and the queues of tasks are inferred",
            _TASK_SENT,
            names=tasks.unsent,
        )
    elif tasks.unsent.total and (final or subscription.lasting >= UNSENT_SECONDS):
        yield Finding(
            "task-sent",
            Level.WARNING,
            f"task-sent is off for {count(tasks.unsent.total, 'task')}, or for some of its publishers: no queue wait, "
            "and their queues are inferred",
            _TASK_SENT,
            names=tasks.unsent,
        )
    if tasks.unregistered.total:
        yield Finding(
            "unregistered",
            Level.WARNING,
            "Tasks fail because their worker does not know them",
            "Import them in the worker (`imports`, `autodiscover_tasks`). If another application publishes to the same "
            "queues, give each application queues of its own, or a virtual host or database.",
            names=tasks.unregistered,
        )
