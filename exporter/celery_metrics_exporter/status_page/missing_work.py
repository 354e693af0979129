"""What is missing of workers, queues and tasks.

Owns: when each of these is told, and its remedy.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Final

from celery_metrics_exporter.status_page.findings import Finding, count, failed, note, warning
from celery_metrics_exporter.status_page.gather_workers import OLDEST
from celery_metrics_exporter.status_page.snapshot import Snapshot
from celery_metrics_exporter.status_page.snapshot_tables import Top
from celery_metrics_exporter.status_page.wording import duration

_NTP: Final = "Let NTP (chrony, systemd-timesyncd) set the clocks of these machines"
_CLOCKS: Final = {
    None: f"{_NTP}.",
    "clock": "All differ by the same: it is rather the clock of the exporter's machine. Let NTP set it.",
    "zone": f"{_NTP}: whole hours are a time zone that somebody set by hand.",
    "late": f"{_NTP}. Or their events come late, through a slow broker or network.",
}
#: Some publishers are told to send no task-sent only after this many seconds: tasks that were published before the
#: exporter listened have come from the queue by then, as a rule.
UNSENT_SECONDS: Final = 60.0
_TASK_SENT: Final = (
    "Set `task_send_sent_event = True` in every process that publishes tasks (web servers, beat, workers whose tasks "
    "call others), and restart it. Tasks that were published before the exporter listened lack it as well."
)
_SWITCH: Final = "For good: `worker_send_task_events = True` in the application, or start workers with `-E`."


def missing_work(seen: Snapshot, *, had_time: bool, final: bool) -> Iterator[Finding]:
    """All findings of these subjects; ``final`` as in :func:`missing.find_missing`.

    ``had_time``: every worker had the time to show itself.
    """
    yield from _workers(seen, had_time=had_time)
    yield from _clocks(seen)
    yield from _task_events(seen)
    yield from missing_queues(seen, had_time=had_time, final=final)
    yield from _tasks(seen, had_time=had_time, final=final)


def _workers(seen: Snapshot, *, had_time: bool) -> Iterator[Finding]:
    workers, config = seen.workers, seen.config
    if had_time and not workers.up and seen.subscription.fault is None:
        yield failed(
            "no-worker",
            "No worker is up",
            "Start one: `celery -A proj worker -E`. If some run, they have another `broker_url` (host, port, virtual "
            "host or database) than the exporter, another `event_exchange`, or were started with "
            "`--without-heartbeat`.",
            command="celery -A proj report | grep broker_url",
        )
    if workers.lost.total:
        yield warning(
            "lost",
            f"{count(workers.lost.total, 'worker')} lost, silent for {duration(config.worker_timeout)} and more",
            "Look at the process and its log. A solo worker says nothing while it runs a task: raise "
            "`--worker-timeout` above its longest one.",
            names=workers.lost,
        )
    if workers.untold.total:
        yield warning(
            "untold",
            f"{count(workers.untold.total, 'worker')} did not answer: pool size and queues are not known",
            "A solo worker answers between two tasks only; one with `worker_enable_remote_control = False` never; one "
            "whose application sets `control_exchange` needs it here as `--control-exchange`; on RabbitMQ the user of "
            "the workers needs to write to `amq.default`. `--no-inspect-workers` asks nobody.",
            names=workers.untold,
        )
    if had_time and workers.unheard.total and config.event_queue.routing_key == "#":
        yield warning(
            "unheard",
            f"{count(workers.unheard.total, 'worker')} answered, but no event of them arrives",
            "Their application has another `event_exchange` (write `--event-exchange NAME`), or they were started with "
            "`--without-heartbeat`.",
            names=workers.unheard,
        )
    if workers.namesakes.total:
        yield warning(
            "namesakes",
            "Several workers have the same name, so that their metrics mix",
            "Give each worker a name of its own: `celery -A proj worker -n NAME@%h`, and each container a hostname "
            "of its own.",
            names=workers.namesakes,
        )
    if workers.outdated.total:
        yield warning(
            "outdated",
            f"{count(workers.outdated.total, 'worker runs', 'workers run')} a version before Celery "
            + ".".join(map(str, OLDEST)),
            "Upgrade them: events of such versions may be read wrongly.",
            names=workers.outdated,
        )


def _clocks(seen: Snapshot) -> Iterator[Finding]:
    skewed = seen.workers.skewed
    if skewed.total:
        texts = (
            f"{name} ({duration(abs(offset))} {'ahead' if offset > 0 else 'behind'})"
            for name, offset in skewed.rows
        )
        yield warning(
            "clocks",
            f"The clock of {count(skewed.total, 'worker')} differs from ours: waits and lags are wrong by as much",
            _CLOCKS[seen.workers.skew],
            names=Top(tuple(texts), skewed.total),
        )


def _task_events(seen: Snapshot) -> Iterator[Finding]:
    workers, config = seen.workers, seen.config
    if workers.silent.total:
        asks = "The exporter asks for them too."
        if not (config.remote_control and config.enable_events):
            why_not = "--no-enable-events" if config.remote_control else "--no-remote-control"
            asks = f"The exporter does not ask: `{why_not}`."
        yield failed(
            "events-off",
            f"{count(workers.silent.total, 'worker sends', 'workers send')} no task events: "
            "what they do is not counted",
            f"At once: `celery -A proj control enable_events`. {_SWITCH} {asks}",
            names=workers.silent,
        )
    if workers.switched_on.total:
        yield warning(
            "switched-on",
            f"{count(workers.switched_on.total, 'worker')} sent no task events until the exporter asked for them",
            f"A worker forgets that when it restarts, and its first tasks are missed. {_SWITCH}",
            names=workers.switched_on,
        )
    if workers.missed:
        yield warning(
            "missed",
            f"{count(workers.missed, 'start')} of tasks that workers counted were missed",
            "Counters of tasks are too low by as much. Workers without task events miss all of theirs; else give the "
            "exporter CPU; on RabbitMQ raise `--event-queue-ttl`; threads pools up to Celery 5.6 lose events by "
            "themselves.",
        )


def missing_queues(seen: Snapshot, *, had_time: bool = False, final: bool) -> Iterator[Finding]:
    """Of queues alone, as the broker tells; parameters as in :func:`missing_work`."""
    queues = seen.queues
    is_sqs = seen.broker_name.lower().startswith("sqs:")
    rows = queues.shown.rows
    if had_time and queues.abandoned.total:
        yield warning(
            "abandoned",
            f"Messages wait in {count(queues.abandoned.total, 'queue')} that no worker consumes",
            "At once: `celery -A proj control add_consumer QUEUE`. For good: let a worker consume it, or correct the "
            "names in `task_routes`, `task_queues` and `-Q`. A queue that is not to be watched: `--queue-exclude "
            "QUEUE`.",
            names=queues.abandoned,
            command=f"celery -A proj worker -Q {shlex.quote(','.join(queues.abandoned.rows))}",
        )
    if final and queues.absent.total:  # whoever looks again may yet see them come
        yield warning(
            "absent",
            f"{count(queues.absent.total, 'queue')} of `--queue` cannot be found on the broker",
            "Correct `--queue`. A queue is there as soon as a worker consumes it or a task was sent to it.",
            names=queues.absent,
        )
    if queues.missing.total:
        yield warning(
            "missing",
            f"The broker does not have {count(queues.missing.total, 'queue')}: no lengths",
            "Correct `--queue`, the transport options `region`, `queue_name_prefix` and `predefined_queues`, or the "
            "account. A queue is there as soon as a worker consumes it or a task was sent to it.",
            names=queues.missing,
        )
    if queues.forbidden.total and is_sqs:
        yield failed(
            "forbidden",
            f"SQS does not let the exporter look at {count(queues.forbidden.total, 'queue')}: no lengths",
            "Allow it `sqs:GetQueueUrl` and `sqs:GetQueueAttributes` on these queues.",
            names=queues.forbidden,
        )
    elif queues.forbidden.total:
        yield failed(
            "forbidden",
            f"RabbitMQ does not let the exporter look at {count(queues.forbidden.total, 'queue')}: lengths and "
            "consumers are not known",
            "From 4.2.6 on looking at a queue needs a permission on it. Give the exporter the management API, which "
            "needs none: `--management-url http://HOST:15672`, and the tag `management`. Or let its user read these "
            "queues (the third pattern of `rabbitmqctl set_permissions`), which lets it consume them too.",
            names=queues.forbidden,
        )
    if any(row.consumers is not None for row in rows) and all(row.unacked is None for row in rows):
        yield note(
            "management",
            "RabbitMQ does not tell which messages workers hold, nor which queues there are",
            "Give the exporter its management API: `--management-url http://HOST:15672`.",
        )
    if queues.ageless.total and seen.config.events:
        yield note(
            "age",
            f"How long messages wait in {count(queues.ageless.total, 'queue')} is not known",
            "It is counted from events, so that all consumers must be workers whose task events are on, and "
            "none may be missed; on Redis the user needs `+lindex`.",
            names=queues.ageless,
        )


def _tasks(seen: Snapshot, *, had_time: bool, final: bool) -> Iterator[Finding]:
    tasks, subscription = seen.tasks, seen.subscription
    if had_time and seen.workers.up and not tasks.started and subscription.fault is None:
        yield note(
            "no-task",
            "No task has started since the exporter listens",
            "Send one. If tasks do run, their workers send no task events: `celery -A proj control enable_events`.",
        )
    if tasks.started and not tasks.sent:
        yield warning(
            "task-sent",
            "task-sent is off: no queue wait, and the queues of tasks are inferred",
            _TASK_SENT,
            names=tasks.unsent,
        )
    elif tasks.unsent.total and (final or subscription.lasting >= UNSENT_SECONDS):
        yield warning(
            "task-sent",
            f"task-sent is off for {count(tasks.unsent.total, 'task')}, or for some of its publishers: no queue wait, "
            "and their queues are inferred",
            _TASK_SENT,
            names=tasks.unsent,
        )
    yield from unregistered(seen)


def unregistered(seen: Snapshot) -> Iterator[Finding]:
    """Tasks that no worker knows."""
    tasks = seen.tasks
    if tasks.unregistered.total:
        yield warning(
            "unregistered",
            "Tasks fail because their worker does not know them",
            "Import them in the worker (`imports`, `autodiscover_tasks`). If another application publishes to the same "
            "queues, give each application queues of its own, or a virtual host or database.",
            names=tasks.unregistered,
        )
