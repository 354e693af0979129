"""Overview: is everything all right? The figures at the top say so, then come the time and the place."""

from grafana.source import limits, links
from grafana.source.annotations import RAISED
from grafana.source.panels import (
    COUNT,
    MESSAGES_PER_SECOND,
    PLAIN,
    RATIO,
    SECONDS,
    TASKS_PER_SECOND,
    Query,
    figure,
    graph,
)
from grafana.source.queries import (
    RANGE,
    age,
    counted_once,
    highest,
    in_range,
    lowest,
    per_second,
    quantile,
    ratio,
    since_latest,
    success_ratio,
    top,
    total,
)
from grafana.source.selection import Selection
from grafana.source.sheet import Row, Sheet
from grafana.source.tables import Column, Key, listing

_SHOWN = 15

chosen = Selection()

succeeded = chosen("celery_task_succeeded_total")
failed = chosen("celery_task_failed_total")
retried = chosen("celery_task_retried_total")
waited = chosen("celery_task_queue_wait_seconds_bucket")
length = chosen("celery_queue_length")
oldest = chosen("celery_queue_oldest_message_timestamp_seconds")
up = chosen("celery_worker_up")
active = chosen("celery_worker_active_tasks")
pool = chosen("celery_worker_pool_size")
connected = chosen("celery_exporter_receiver_connected")
delivering = chosen("celery_exporter_receiver_delivering")

#: Running tasks of workers whose pool size is known, so that both parts of a ratio are about the same workers.
_COMPARABLE = f"{active} and on (job, instance, worker) {pool}"
_FAILING = top(_SHOWN, f"{in_range(failed, 'task')} > 0")
_WAITING = top(_SHOWN, total(length, "queue"))
_LOST = f"{lowest(up, 'worker')} == 0"
_BUSY = top(_SHOWN, ratio(total(active, "worker"), total(pool, "worker")))

SHEET = Sheet(
    uid=links.OVERVIEW,
    title="Celery / Overview",
    description="Is everything all right with tasks, queues and workers? The tables lead to details.",
    selection=chosen,
    rows=(
        Row(
            "Is everything all right?",
            figure(
                "Firing alerts",
                "Our alerts that fire now. It also shows none when Prometheus has not loaded the rules.",
                Query('count(ALERTS{alertname=~"Celery.+", job=~"$job|", alertstate="firing"})', "alerts"),
                unit=COUNT,
                none="none",
                limits=limits.NONE_IS_RIGHT,
            ),
            figure(
                "Data is complete",
                "Whether the other figures can be trusted: Prometheus reaches every exporter, events arrive at each of "
                "them, each can read its broker, and no worker is reported by two exporters (then choose one).",
                Query(lowest(chosen("up")), "Exporter"),
                Query(f"min(({delivering} or {connected}) * {connected})", "Events"),
                Query(lowest(chosen("celery_broker_up")), "Broker"),
                Query(counted_once(up), "Counted once"),
                unit=PLAIN,
                none="no exporter",
                words=limits.yes_no("yes", "NO"),
                link=links.to("instance"),
                width=8,
            ),
            figure(
                "Success ratio",
                "Share of attempts that succeeded, of all that succeeded or failed in the time range. Retries do not "
                "count. Red below 95 %, green from 99 % on.",
                Query(success_ratio(succeeded, failed, window=RANGE), "ratio"),
                unit=RATIO,
                none="no tasks",
                limits=limits.SUCCESS,
                link=links.to("task"),
            ),
            figure(
                "Failures",
                "Attempts that failed in the time range, without retries.",
                Query(in_range(failed), "failures"),
                unit=COUNT,
                none="no tasks known",
                limits=limits.FEW_ARE_RIGHT,
                link=links.to("task"),
            ),
            figure(
                "Throughput",
                "Tasks that succeeded or failed, per second, at the end of the time range.",
                Query(f"{per_second(succeeded)} + {per_second(failed)}", "tasks"),
                unit=TASKS_PER_SECOND,
                none="no tasks known",
            ),
            figure(
                "Workers up",
                "Workers whose events arrive.",
                Query(total(up), "workers"),
                unit=COUNT,
                none="no workers known",
                limits=limits.YES_IS_RIGHT,
                link=links.to("worker"),
            ),
            figure(
                "Workers down",
                "Workers that were lost, for an hour after their last event, and workers that stopped in the last "
                "two minutes.",
                Query(f"sum(1 - {up})", "workers"),
                unit=COUNT,
                none="no workers known",
                limits=limits.FEW_ARE_RIGHT,
                link=links.to("worker"),
            ),
            figure(
                "Saturation",
                "Share of all pool slots that run a task. From 90 % on tasks wait for a free slot.",
                Query(ratio(f"sum({_COMPARABLE})", total(pool)), "of all slots"),
                unit=RATIO,
                none="pools unknown",
                limits=limits.SATURATION,
                link=links.to("worker"),
            ),
            figure(
                "Messages waiting",
                "Messages that no worker has taken yet, in all queues.",
                Query(total(length), "messages"),
                unit=COUNT,
                none="unknown",
                link=links.to("queue"),
            ),
            figure(
                "Oldest message",
                "Time since the oldest waiting message was first known. It grows when no worker takes messages.",
                Query(age(oldest), "age"),
                unit=SECONDS,
                none="none known",
                limits=limits.OLDEST_MESSAGE,
                link=links.to("queue"),
            ),
            figure(
                "Queue wait p95",
                "95 % of the tasks that started in the time range had waited no longer than this after they were due. "
                "Needs task-sent events.",
                Query(quantile(0.95, waited, window=RANGE), "wait"),
                unit=SECONDS,
                none="no tasks",
                limits=limits.QUEUE_WAIT,
                link=links.to("queue"),
            ),
        ),
        Row(
            "Since when?",
            graph(
                "Outcomes",
                "Outcomes of attempts per second.",
                Query(per_second(succeeded), "succeeded"),
                Query(per_second(failed), "failed"),
                Query(per_second(retried), "retried"),
                Query(per_second(chosen("celery_task_rejected_total")), "rejected"),
                Query(per_second(chosen("celery_task_revoked_total")), "revoked"),
                unit=TASKS_PER_SECOND,
                none="no tasks known",
            ),
            graph(
                "Success ratio",
                "Share of attempts that succeeded, of all that succeeded or failed, by queue. A gap: there were none.",
                Query(success_ratio(succeeded, failed, "queue"), "{{queue}}"),
                unit=RATIO,
                none="no tasks",
                limits=limits.SUCCESS,
                link=links.from_series("queue"),
                lowest=None,
                highest=1,
            ),
            graph(
                "Messages waiting",
                "Messages that no worker has taken yet, by queue. A gap: the broker could not be read.",
                Query(total(length, "queue"), "{{queue}}"),
                unit=COUNT,
                none="no queues known",
                link=links.from_series("queue"),
                width=8,
            ),
            graph(
                "Age of the oldest message",
                "Time since the message at the head of each queue was first known. No line: none waits, or not known.",
                Query(age(oldest, "queue"), "{{queue}}"),
                unit=SECONDS,
                none="nothing waits, or it is not known",
                limits=limits.OLDEST_MESSAGE,
                link=links.from_series("queue"),
                width=8,
            ),
            graph(
                "Queue wait",
                "Time from when tasks were due until they started. A gap: no task started.",
                *(Query(quantile(level, waited), f"p{level * 100:.0f}") for level in (0.5, 0.95, 0.99)),
                unit=SECONDS,
                none="no tasks started, or no task-sent events",
                limits=limits.QUEUE_WAIT,
                width=8,
            ),
            graph(
                "Workers",
                "Workers whose events arrive, and workers that were lost or have just stopped.",
                Query(total(up), "up"),
                Query(f"sum(1 - {up})", "down"),
                unit=COUNT,
                none="no workers known",
                width=8,
            ),
            graph(
                "Slots",
                "Running tasks, and the slots of all pools.",
                Query(total(active), "running"),
                Query(total(pool), "slots"),
                unit=COUNT,
                none="no workers known",
                width=8,
            ),
            graph(
                "Publications and deliveries",
                "Messages that clients sent and workers took, per second. While sent is above received, queues grow.",
                Query(per_second(chosen("celery_task_sent_total")), "sent"),
                Query(per_second(chosen("celery_task_received_total")), "received"),
                unit=MESSAGES_PER_SECOND,
                none="no tasks known",
                width=8,
            ),
        ),
        Row(
            "Where?",
            listing(
                "Alerts",
                "Our alerts that fire or are pending.",
                Column(
                    title="Alerts",
                    expr=f"sum by (severity, alertname, alertstate, queue, task, worker, instance) ({RAISED})",
                    unit=COUNT,
                ),
                keys=(
                    Key(label="severity", title="Severity"),
                    Key(label="alertname", title="Alert"),
                    Key(label="alertstate", title="State"),
                    Key(label="queue", title="Queue", link=links.from_cell("queue")),
                    Key(label="task", title="Task", link=links.from_cell("task")),
                    Key(label="worker", title="Worker", link=links.from_cell("worker")),
                    Key(label="instance", title="Exporter", link=links.from_cell("instance")),
                ),
                none="no alert fires, or the rules are not loaded",
                sort="Severity",
                ascending=True,
            ),
            listing(
                "Longest queues",
                f"The {_SHOWN} queues with the most waiting messages.",
                Column(title="Waiting", expr=total(length, "queue"), unit=COUNT),
                Column(title="Oldest", expr=age(oldest, "queue"), unit=SECONDS, limits=limits.OLDEST_MESSAGE),
                Column(
                    title="Wait p95",
                    expr=quantile(0.95, waited, "queue", window=RANGE),
                    unit=SECONDS,
                    limits=limits.QUEUE_WAIT,
                ),
                Column(
                    title="Workers",
                    expr=total(chosen("celery_queue_workers"), "queue"),
                    unit=COUNT,
                    limits=limits.YES_IS_RIGHT,
                ),
                keys=(Key(label="queue", title="Queue", link=links.from_cell("queue")),),
                rows=_WAITING,
                none="no queues known",
                sort="Waiting",
            ),
            listing(
                "Tasks that fail",
                f"The {_SHOWN} tasks with the most failures in the time range.",
                Column(title="Failures", expr=in_range(failed, "task"), unit=COUNT),
                Column(
                    title="Success ratio",
                    expr=success_ratio(succeeded, failed, "task", window=RANGE),
                    unit=RATIO,
                    limits=limits.SUCCESS,
                ),
                Column(title="Retries", expr=in_range(retried, "task"), unit=COUNT),
                Column(
                    title="Last failure",
                    expr=since_latest(chosen("celery_task_last_failed_timestamp_seconds"), "task"),
                    unit=SECONDS,
                ),
                keys=(Key(label="task", title="Task", link=links.from_cell("task")),),
                rows=_FAILING,
                none="no task failed",
                sort="Failures",
            ),
            listing(
                "Workers that are down or busy",
                f"Workers that are down, and the {_SHOWN} with the highest saturation.",
                Column(
                    title="State", expr=lowest(up, "worker"), unit=PLAIN, words=limits.yes_no("up", "down")
                ),
                Column(title="Running", expr=total(active, "worker"), unit=COUNT),
                Column(
                    title="Saturation",
                    expr=ratio(total(active, "worker"), total(pool, "worker")),
                    unit=RATIO,
                    limits=limits.SATURATION,
                ),
                Column(
                    title="Last event",
                    expr=age(chosen("celery_worker_last_seen_timestamp_seconds"), "worker"),
                    unit=SECONDS,
                    limits=limits.SILENCE,
                ),
                Column(title="Load", expr=highest(chosen("celery_worker_load1"), "worker"), unit=COUNT),
                keys=(Key(label="worker", title="Worker", link=links.from_cell("worker")),),
                rows=f"({_LOST} or {_BUSY})",
                none="no workers known",
                sort="Saturation",
            ),
        ),
    ),
)
