"""What is missing of workers: their answers, their events, or they themselves.

Owns: when each of these is told, and its remedy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from celery_metrics_exporter.status_page.findings import Finding, Level, count
from celery_metrics_exporter.status_page.gather_workers import OLDEST
from celery_metrics_exporter.status_page.snapshot_tables import Top
from celery_metrics_exporter.status_page.wording import duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery_metrics_exporter.status_page.snapshot import Snapshot

_NTP: Final = "Let NTP (chrony, systemd-timesyncd) set the clocks of these machines"
_CLOCKS: Final = {
    None: f"{_NTP}.",
    "clock": "All differ by the same: it is rather the clock of the exporter's machine. Let NTP set it.",
    "zone": f"{_NTP}: whole hours are a time zone that somebody set by hand.",
    "late": f"{_NTP}. Or their events come late, through a slow broker or network.",
}
_SWITCH: Final = "For good: `worker_send_task_events = True` in the application, or start workers with `-E`."


def missing_workers(seen: Snapshot, *, had_time: bool) -> Iterator[Finding]:
    """All findings of this subject; ``had_time``: every worker had the time to show itself."""
    workers, config = seen.workers, seen.config
    if had_time and not workers.up and seen.subscription.deafness is None:
        yield Finding(
            "no-worker",
            Level.FAILED,
            "No worker is up",
            "Start one: `celery -A proj worker -E`. If some run, they have another `broker_url` (host, port, virtual "
            "host or database) than the exporter, another `event_exchange`, or were started with "
            "`--without-heartbeat`.",
            command="celery -A proj report | grep broker_url",
        )
    if workers.lost.total:
        yield Finding(
            "lost",
            Level.WARNING,
            f"{count(workers.lost.total, 'worker')} lost, silent for {duration(config.worker_timeout)} and more",
            "Look at the process and its log. A solo worker says nothing while it runs a task: raise "
            "`--worker-timeout` above its longest one.",
            names=workers.lost,
        )
    if workers.untold.total:
        yield Finding(
            "untold",
            Level.WARNING,
            f"{count(workers.untold.total, 'worker')} did not answer: pool size and queues are not known",
            "A solo worker answers between two tasks only; one with `worker_enable_remote_control = False` never; on "
            "RabbitMQ the user of the workers needs to write to `amq.default`. `--no-inspect-workers` asks nobody.",
            names=workers.untold,
        )
    if had_time and workers.unheard.total and config.event_queue.routing_key == "#":
        yield Finding(
            "unheard",
            Level.WARNING,
            f"{count(workers.unheard.total, 'worker')} answered, but no event of them arrives",
            "Their application has another `event_exchange` (write `--event-exchange NAME`), or they were started with "
            "`--without-heartbeat`.",
            names=workers.unheard,
        )
    if workers.namesakes.total:
        yield Finding(
            "namesakes",
            Level.WARNING,
            "Several workers have the same name, so that their metrics mix",
            "Give each worker a name of its own: `celery -A proj worker -n NAME@%h`, and each container a hostname "
            "of its own.",
            names=workers.namesakes,
        )
    if workers.outdated.total:
        yield Finding(
            "outdated",
            Level.WARNING,
            f"{count(workers.outdated.total, 'worker runs', 'workers run')} a version before Celery "
            + ".".join(map(str, OLDEST)),
            "Upgrade them: events of such versions may be read wrongly.",
            names=workers.outdated,
        )
    yield from _clocks(seen)
    yield from _task_events(seen)


def _clocks(seen: Snapshot) -> Iterator[Finding]:
    skewed = seen.workers.skewed
    if skewed.total:
        texts = (
            f"{name} ({duration(abs(offset))} {'ahead' if offset > 0 else 'behind'})"
            for name, offset in skewed.rows
        )
        yield Finding(
            "clocks",
            Level.WARNING,
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
        yield Finding(
            "events-off",
            Level.FAILED,
            f"{count(workers.silent.total, 'worker sends', 'workers send')} no task events: "
            "what they do is not counted",
            f"At once: `celery -A proj control enable_events`. {_SWITCH} {asks}",
            names=workers.silent,
        )
    if workers.switched_on.total:
        yield Finding(
            "switched-on",
            Level.WARNING,
            f"{count(workers.switched_on.total, 'worker')} sent no task events until the exporter asked for them",
            f"A worker forgets that when it restarts, and its first tasks are missed. {_SWITCH}",
            names=workers.switched_on,
        )
    if workers.missed:
        yield Finding(
            "missed",
            Level.WARNING,
            f"{count(workers.missed, 'start')} of tasks that workers counted were missed",
            "Counters of tasks are too low by as much. Give the exporter CPU; on RabbitMQ raise "
            "`--event-queue-ttl`; threads pools up to Celery 5.6 lose events by themselves.",
        )
