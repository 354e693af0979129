"""What is missing of workers, queues and tasks.

Owns: when each of these is told, and its remedy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from celery_metrics_exporter.status_page.findings import Finding, count
from celery_metrics_exporter.status_page.wording import duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery_metrics_exporter.status_page.snapshot import Snapshot

#: For this long after a connection, in seconds, workers may still be about to show themselves.
SETTLING_SECONDS: Final = 10.0


def missing_work(seen: Snapshot) -> Iterator[Finding]:
    """All findings of this subject."""
    yield from _workers(seen)
    if seen.subscription.connected and seen.subscription.lasting >= SETTLING_SECONDS:
        yield from _absence(seen)
    yield from _queues(seen)
    yield from _tasks(seen)


def _absence(seen: Snapshot) -> Iterator[Finding]:
    """What is told only when everybody had the time to be heard."""
    is_deaf = seen.subscription.deafness is not None
    if not seen.workers.up and not is_deaf:
        yield Finding(
            "no-worker",
            "warning",
            "No worker is up",
            "Start one: `celery -A proj worker -E`. If some run (`celery -A proj inspect ping`), then not on "
            "this database or virtual host, with another `event_exchange`, or `--without-heartbeat`.",
        )
    elif not seen.tasks.started and not is_deaf:
        yield Finding(
            "no-task",
            "note",
            "No task has started since the exporter listens",
            "Send one. If tasks do run, their workers send no task events: `celery -A proj control enable_events`.",
        )
    abandoned = seen.queues.abandoned
    if abandoned.total:
        yield Finding(
            "abandoned",
            "warning",
            f"Messages wait in {count(abandoned.total, 'queue')} that no worker consumes",
            "At once: `celery -A proj control add_consumer QUEUE`. For good: start workers with `-Q QUEUE`. A "
            "queue that is not to be watched: `--queue-exclude QUEUE`.",
            names=abandoned,
        )


def _workers(seen: Snapshot) -> Iterator[Finding]:
    workers, setup = seen.workers, seen.setup
    if workers.lost.total:
        yield Finding(
            "lost",
            "warning",
            f"{count(workers.lost.total, 'worker')} lost, silent for {duration(setup.worker_timeout)} and more",
            "Look at the process and its log. A solo worker says nothing while it runs a task: raise "
            "`--worker-timeout` above its longest one.",
            names=workers.lost,
        )
    if workers.silent.total:
        asks = "The exporter asks for them too."
        if not (setup.remote_control and setup.enable_events):
            why_not = "--no-enable-events" if setup.remote_control else "--no-remote-control"
            asks = f"The exporter does not ask: `{why_not}`."
        yield Finding(
            "events-off",
            "warning",
            f"{count(workers.silent.total, 'worker sends', 'workers send')} no task events: "
            "what they do is not counted",
            "At once: `celery -A proj control enable_events`. For good: `worker_send_task_events = True`, or "
            f"start workers with `-E`. {asks}",
            names=workers.silent,
        )
    if workers.skewed.total:
        yield Finding(
            "clocks",
            "warning",
            f"The clock of {count(workers.skewed.total, 'worker')} differs from ours",
            "Waits and lags are wrong by as much. Let NTP run there, and here; a whole number of hours is a time zone.",
            names=workers.skewed,
        )
    if workers.untold.total:
        yield Finding(
            "untold",
            "note",
            f"{count(workers.untold.total, 'worker')} did not answer: pool size and queues are not known",
            "A solo worker answers between two tasks only; one with `worker_enable_remote_control = False` "
            "never.",
            names=workers.untold,
        )
    if workers.missed:
        yield Finding(
            "missed",
            "warning",
            f"{count(workers.missed, 'start')} of tasks that workers counted were not heard of",
            "Counters of tasks are too low by as much. Give the exporter CPU; on RabbitMQ raise "
            "`--event-queue-ttl`; threads pools up to Celery 5.6 lose events by themselves.",
        )


def _queues(seen: Snapshot) -> Iterator[Finding]:
    queues = seen.queues
    rows = queues.shown.rows
    if any(row.consumers is not None for row in rows) and all(row.unacked is None for row in rows):
        yield Finding(
            "management",
            "note",
            "RabbitMQ does not tell which messages workers hold, nor which queues there are",
            "Give the exporter its management API: `--management-url http://HOST:15672`.",
        )
    if queues.ageless.total:
        yield Finding(
            "age",
            "note",
            f"How long messages wait in {count(queues.ageless.total, 'queue')} is not known",
            "It is counted from events, so that all consumers must be workers whose task events are on, and "
            "none may be missed; on Redis the user needs `+lindex`.",
            names=queues.ageless,
        )


def _tasks(seen: Snapshot) -> Iterator[Finding]:
    tasks = seen.tasks
    remedy = (
        "Set `task_send_sent_event = True` in every process that publishes tasks, beat too, and restart it. "
        "Tasks that were published before the exporter listened lack it as well."
    )
    if tasks.started and not tasks.sent:
        yield Finding(
            "task-sent",
            "warning",
            "task-sent is off: no queue wait, and the queues of tasks are inferred",
            remedy,
        )
    elif tasks.unsent.total:
        yield Finding(
            "task-sent",
            "warning",
            f"task-sent is off for {count(tasks.unsent.total, 'task')}: no queue wait, and their queues are inferred",
            remedy,
            names=tasks.unsent,
        )
