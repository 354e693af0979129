"""Workers: which are up or lost, how busy they are, and whether their numbers can be trusted."""

from grafana.source import limits, links
from grafana.source.panels import (
    COUNT,
    PLAIN,
    RATIO,
    SECONDS,
    TASKS_PER_SECOND,
    Query,
    figure,
    graph,
    states,
)
from grafana.source.queries import age, highest, in_range, lowest, per_second, ratio, top, total
from grafana.source.selection import Selection
from grafana.source.sheet import Row, Sheet
from grafana.source.tables import Column, Facts, Key, listing

_LINES = 20

chosen = Selection("worker")

up = chosen("celery_worker_up")
active = chosen("celery_worker_active_tasks")
pool = chosen("celery_worker_pool_size")
processed = chosen("celery_worker_processed_tasks_total")
missed = chosen("celery_worker_missed_tasks_total")
lost = chosen("celery_worker_lost_total")
last_seen = chosen("celery_worker_last_seen_timestamp_seconds")
offset = chosen("celery_worker_clock_offset_seconds")
events_on = chosen("celery_worker_task_events_enabled")
info = chosen("celery_worker_info")

_COMPARABLE = f"{active} and on (job, instance, worker) {pool}"
_SATURATION = ratio(total(active, "worker"), total(pool, "worker"))
_STATE = limits.yes_no("up", "down")
_TO_WORKER = links.from_series("worker")

SHEET = Sheet(
    uid=links.WORKERS,
    title="Celery / Workers",
    description="Which workers are up or lost, how busy each is, and whether their numbers can be trusted.",
    selection=chosen,
    rows=(
        Row(
            "Now",
            figure(
                "Up",
                "Workers whose events arrive.",
                Query(total(up), "workers"),
                unit=COUNT,
                none="no workers known",
                limits=limits.YES_IS_RIGHT,
            ),
            figure(
                "Down",
                "Workers that were lost, for an hour after their last event, and workers that stopped in the last "
                "two minutes.",
                Query(f"sum(1 - {up})", "workers"),
                unit=COUNT,
                none="no workers known",
                limits=limits.FEW_ARE_RIGHT,
            ),
            figure(
                "Lost in the time range",
                "Lost workers: their events ended without an announcement. All workers count, not only the chosen.",
                Query(in_range(lost), "workers"),
                unit=COUNT,
                none="no exporter",
                limits=limits.FEW_ARE_RIGHT,
            ),
            figure(
                "Saturation",
                "Share of all pool slots that run a task. From 90 % on tasks wait for a free slot.",
                Query(ratio(f"sum({_COMPARABLE})", total(pool)), "of all slots"),
                unit=RATIO,
                none="pools unknown",
                limits=limits.SATURATION,
            ),
            figure(
                "Missed",
                "Starts in the time range that workers counted and whose events never arrived. The other figures are "
                "too low by as much.",
                Query(in_range(missed), "tasks"),
                unit=COUNT,
                none="no workers known",
                limits=limits.FEW_ARE_RIGHT,
            ),
            figure(
                "Largest clock offset",
                "Largest difference between a worker's clock and ours. Waits are wrong by as much.",
                Query(f"max(abs({offset}))", "offset"),
                unit=SECONDS,
                none="no heartbeats",
                limits=limits.CLOCK_OFFSET,
            ),
        ),
        Row(
            "Each worker",
            listing(
                "Workers",
                "Every worker that is up, was lost in the last hour, or stopped in the last two minutes.",
                Column(title="State", expr=lowest(up, "worker"), unit=PLAIN, words=_STATE),
                Column(title="Running", expr=total(active, "worker"), unit=COUNT),
                Column(title="Slots", expr=total(pool, "worker"), unit=COUNT),
                Column(title="Saturation", expr=_SATURATION, unit=RATIO, limits=limits.SATURATION),
                Column(title="Tasks per second", expr=per_second(processed, "worker"), unit=TASKS_PER_SECOND),
                Column(
                    title="Missed", expr=in_range(missed, "worker"), unit=COUNT, limits=limits.FEW_ARE_RIGHT
                ),
                Column(title="Load", expr=highest(chosen("celery_worker_load1"), "worker"), unit=COUNT),
                Column(
                    title="Last event", expr=age(last_seen, "worker"), unit=SECONDS, limits=limits.SILENCE
                ),
                Column(
                    title="Clock offset",
                    expr=f"max by (worker) (abs({offset}))",
                    unit=SECONDS,
                    limits=limits.CLOCK_OFFSET,
                ),
                Column(
                    title="Task events",
                    expr=lowest(events_on, "worker"),
                    unit=PLAIN,
                    words=limits.yes_no("on", "OFF"),
                ),
                Column(
                    title="Name",
                    expr=f"1 - {highest(chosen('celery_worker_name_shared'), 'worker')}",
                    unit=PLAIN,
                    words=limits.yes_no("its own", "SHARED"),
                ),
                Facts(
                    expr=highest(info, "worker", "software", "version", "system"),
                    labels=(("software", "Software"), ("version", "Version"), ("system", "System")),
                ),
                keys=(Key(label="worker", title="Worker", link=links.from_cell("worker"), width=220),),
                none="no workers known",
                sort="Saturation",
                width=24,
                height=10,
            ),
        ),
        Row(
            "Over time",
            states(
                "Up and down",
                "Whether events of each worker arrived.",
                Query(lowest(up, "worker"), "{{worker}}"),
                words=_STATE,
                none="no workers known",
                link=_TO_WORKER,
            ),
            graph(
                "Running and slots",
                "Running tasks, and the slots of the pools.",
                Query(total(active), "running"),
                Query(total(pool), "slots"),
                unit=COUNT,
                none="no workers known",
            ),
            graph(
                "Saturation",
                f"Share of each worker's slots that run a task; the {_LINES} highest at each moment.",
                Query(top(_LINES, _SATURATION), "{{worker}}"),
                unit=RATIO,
                none="pools unknown",
                limits=limits.SATURATION,
                link=_TO_WORKER,
                width=8,
            ),
            graph(
                "Tasks started",
                f"Starts per second as counted by the workers; the {_LINES} busiest at each moment.",
                Query(top(_LINES, per_second(processed, "worker")), "{{worker}}"),
                unit=TASKS_PER_SECOND,
                none="no heartbeats",
                link=_TO_WORKER,
                width=8,
            ),
            graph(
                "Outcomes",
                "Outcomes of attempts on the chosen workers per second.",
                Query(per_second(chosen("celery_worker_tasks_total"), "outcome"), "{{outcome}}"),
                unit=TASKS_PER_SECOND,
                none="no workers known",
                stacked=True,
                width=8,
            ),
            graph(
                "Load",
                f"Load average of one minute of each worker's machine; the {_LINES} highest.",
                Query(top(_LINES, highest(chosen("celery_worker_load1"), "worker")), "{{worker}}"),
                unit=COUNT,
                none="no heartbeats",
                link=_TO_WORKER,
                width=8,
            ),
            graph(
                "Failures",
                f"Attempts that failed on each worker per second; the {_LINES} highest. Just one worker: look there.",
                Query(
                    top(
                        _LINES,
                        f"{per_second(chosen('celery_worker_tasks_total', outcome='failed'), 'worker')} > 0",
                    ),
                    "{{worker}}",
                ),
                unit=TASKS_PER_SECOND,
                none="no failures",
                link=_TO_WORKER,
                width=8,
            ),
            graph(
                "Workers lost",
                "Workers that were lost in the last rate interval, by exporter.",
                Query(f"sum by (instance) (increase({lost}[$__rate_interval]))", "{{instance}}"),
                unit=COUNT,
                none="no exporter",
                width=8,
            ),
        ),
        Row(
            "Can it be trusted?",
            graph(
                "Since the last event",
                f"Age of each worker's latest event; the {_LINES} oldest. A solo worker sends nothing during a task.",
                Query(top(_LINES, age(last_seen, "worker")), "{{worker}}"),
                unit=SECONDS,
                none="no workers known",
                limits=limits.SILENCE,
                link=_TO_WORKER,
                width=8,
            ),
            graph(
                "Clock offset",
                "Difference between each worker's clock and ours; above 0 the worker is ahead.",
                Query(highest(offset, "worker"), "{{worker}}"),
                unit=SECONDS,
                none="no heartbeats",
                link=_TO_WORKER,
                lowest=None,
                width=8,
            ),
            graph(
                "Missed",
                "Starts per second that workers counted and whose events never arrived.",
                Query(per_second(missed, "worker"), "{{worker}}"),
                unit=TASKS_PER_SECOND,
                none="no heartbeats",
                link=_TO_WORKER,
                width=8,
            ),
        ),
        Row(
            "Detail",
            listing(
                "Versions",
                "Number of workers by version. Several lines: a deployment is going on, or a worker was forgotten.",
                Column(title="Workers", expr=f"count by (software, version, system) ({info})", unit=COUNT),
                keys=(
                    Key(label="software", title="Software"),
                    Key(label="version", title="Version"),
                    Key(label="system", title="System"),
                ),
                none="no heartbeats",
                sort="Workers",
                width=8,
            ),
            listing(
                "Queues of workers",
                "The queues that each worker consumes, by its own answer.",
                Facts(expr=highest(chosen("celery_worker_queue_info"), "worker", "queue"), labels=()),
                keys=(
                    Key(label="worker", title="Worker", link=links.from_cell("worker")),
                    Key(label="queue", title="Queue", link=links.from_cell("queue")),
                ),
                none="no worker has answered",
                sort="Worker",
                ascending=True,
                width=8,
            ),
            listing(
                "Settings",
                "Most messages that each worker holds (0: no limit), and its interval of heartbeats.",
                Column(
                    title="Prefetch limit",
                    expr=highest(chosen("celery_worker_prefetch_limit"), "worker"),
                    unit=COUNT,
                ),
                Column(
                    title="Heartbeat every",
                    expr=highest(chosen("celery_worker_heartbeat_interval_seconds"), "worker"),
                    unit=SECONDS,
                ),
                keys=(Key(label="worker", title="Worker", link=links.from_cell("worker")),),
                none="no worker has answered",
                width=8,
            ),
            graph(
                "Load of 5 minutes",
                f"Load average of each worker's machine; the {_LINES} highest.",
                Query(top(_LINES, highest(chosen("celery_worker_load5"), "worker")), "{{worker}}"),
                unit=COUNT,
                none="no heartbeats",
                link=_TO_WORKER,
            ),
            graph(
                "Load of 15 minutes",
                f"Load average of each worker's machine; the {_LINES} highest.",
                Query(top(_LINES, highest(chosen("celery_worker_load15"), "worker")), "{{worker}}"),
                unit=COUNT,
                none="no heartbeats",
                link=_TO_WORKER,
            ),
            collapsed=True,
        ),
    ),
)
