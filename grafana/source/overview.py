"""Overview: is everything all right? The figures and the alerts say so, then come the place and the time."""

from grafana.source import alerts, limits, links, shared
from grafana.source.graphs import graph, graph_by
from grafana.source.histograms import quantile
from grafana.source.panels import COUNT, PER_SECOND, PLAIN, RATIO, SECONDS, Query, figure
from grafana.source.queries import (
    RANGE,
    age,
    highest,
    in_range,
    lowest,
    of_up,
    per_second,
    since_latest,
    success_ratio,
    top,
    total,
    while_seen,
)
from grafana.source.selection import Selection
from grafana.source.sheet import Row, Sheet
from grafana.source.tables import Column, Key, listing

_SHOWN = 15

chosen = Selection()

succeeded = chosen("celery_task_succeeded_total")
failed = chosen("celery_task_failed_total")
waited = chosen.histogram("celery_task_queue_wait_seconds")
length = chosen("celery_queue_length")
oldest = chosen("celery_queue_oldest_message_timestamp_seconds")
up = chosen("celery_worker_up")

_FAILING = top(_SHOWN, f"{in_range(failed, 'task')} > 0")
_WAITING = f"{top(_SHOWN, total(length, 'queue'))} or {top(_SHOWN, age(oldest, 'queue'))}"
_DOWN_OR_BUSY = f"{lowest(up, 'worker')} == 0 or {top(_SHOWN, shared.busy(chosen, 'worker'))}"

_TO_TASKS, _TO_QUEUES, _TO_WORKERS = links.to("task"), links.to("queue"), links.to("worker")

_FIGURES = (
    alerts.firing(chosen, width=4),
    shared.health(chosen, links.to("instance")),
    shared.without_consumers(chosen, _TO_QUEUES),
    shared.oldest_message(chosen, _TO_QUEUES),
    shared.workers_down(chosen, _TO_WORKERS),
    shared.success(chosen, _TO_TASKS),
    shared.ended(chosen, "failed", _TO_TASKS),
    figure(
        "Throughput",
        "Tasks that succeeded or failed, per second, at the end of the time range.",
        f"{per_second(succeeded)} + {per_second(failed)}",
        unit=PER_SECOND,
        none="unknown",
        link=_TO_TASKS,
        width=3,
    ),
    shared.workers_up(chosen, _TO_WORKERS),
    shared.saturation(chosen, _TO_WORKERS, width=3),
    shared.waiting(chosen, _TO_QUEUES),
    shared.queue_wait(chosen, _TO_QUEUES),
)

_TABLES = (
    listing(
        "Tasks that fail",
        f"The {_SHOWN} tasks with the most failures in the time range.",
        Column("Failures", in_range(failed, "task"), COUNT),
        Column(
            "Success",
            while_seen(success_ratio(succeeded, failed, "task", window=RANGE), chosen("up")),
            RATIO,
            limits.SUCCESS,
        ),
        Column("Retries", in_range(chosen("celery_task_retried_total"), "task"), COUNT),
        Column(
            "Last failure", since_latest(chosen("celery_task_last_failed_timestamp_seconds"), "task"), SECONDS
        ),
        keys=(Key("task", "Task", link=links.from_cell("task")),),
        rows=_FAILING,
        none="no failure seen",
        sort="Failures",
    ),
    listing(
        "Longest queues",
        f"The {_SHOWN} queues with the most waiting messages, and those with the oldest ones.",
        Column("Waiting", total(length, "queue"), COUNT),
        Column("Oldest", age(oldest, "queue"), SECONDS, limits.OLDEST_MESSAGE),
        Column("Wait p95", quantile(0.95, waited, "queue", window=RANGE), SECONDS, limits.QUEUE_WAIT),
        Column("Workers", total(chosen("celery_queue_workers"), "queue"), COUNT, limits.YES_IS_RIGHT),
        keys=(Key("queue", "Queue", link=links.from_cell("queue")),),
        rows=_WAITING,
        none="no queues known",
        sort="Waiting",
    ),
    listing(
        "Workers that are down or busy",
        f"Workers that are down, and the {_SHOWN} with the highest saturation. What others ran last is "
        "not known.",
        Column("State", lowest(up, "worker"), PLAIN, words=limits.UP_OR_DOWN),
        Column("Running", shared.running(chosen, "worker"), COUNT),
        Column("Saturation", shared.busy(chosen, "worker"), RATIO, limits.SATURATION),
        Column(
            "Last event",
            age(chosen("celery_worker_last_seen_timestamp_seconds"), "worker"),
            SECONDS,
            limits.SILENCE,
        ),
        Column("Load", highest(of_up(chosen("celery_worker_load1"), up), "worker"), COUNT),
        keys=(Key("worker", "Worker", link=links.from_cell("worker")),),
        rows=_DOWN_OR_BUSY,
        none="no workers known",
        sort="State",
        ascending=True,
        width=24,
    ),
)

_GRAPHS = (
    shared.outcomes_over_time(chosen),
    graph_by(
        "queue",
        "Success ratio",
        "Share of attempts that succeeded, of all that succeeded or failed, by queue. A gap: there were none.",
        success_ratio(succeeded, failed, "queue"),
        unit=RATIO,
        none="none ended",
        limits=limits.SUCCESS,
        near_one=True,
    ),
    shared.waiting_over_time(chosen),
    shared.oldest_over_time(chosen),
    shared.wait_over_time(chosen),
    graph(
        "Publications and deliveries",
        "Messages that clients sent and workers took, per second. While sent is above received, queues grow.",
        Query(per_second(chosen("celery_task_sent_total")), "sent"),
        Query(per_second(chosen("celery_task_received_total")), "received"),
        unit=PER_SECOND,
        none="no tasks known",
    ),
    graph(
        "Workers",
        "Workers whose events arrive, and workers that were lost or have just stopped.",
        Query(total(up), "up"),
        Query(f"sum(1 - {up})", "down"),
        unit=COUNT,
        none="no workers known",
    ),
    shared.slots_over_time(chosen),
)

SHEET = Sheet(
    about="overview",
    title="Celery / Overview",
    description="Is everything all right with tasks, queues and workers? The tables lead to details.",
    selection=chosen,
    rows=(
        Row("Is everything all right?", *_FIGURES, alerts.raised()),
        Row("Where?", *_TABLES),
        Row("Since when?", *_GRAPHS),
    ),
)
