"""Workers: which are up or lost, how busy they are, and whether their numbers can be trusted."""

from grafana.source import limits, links, shared
from grafana.source.colours import RED
from grafana.source.graphs import graph, graph_by, states
from grafana.source.panels import CLOCK, COUNT, PER_SECOND, PLAIN, RATIO, SECONDS, Query, figure
from grafana.source.queries import (
    age,
    highest,
    in_range,
    leading_rates,
    lowest,
    of_up,
    per_second,
    trailing,
    while_seen,
)
from grafana.source.selection import Selection
from grafana.source.sheet import Row, Sheet
from grafana.source.tables import Column, Facts, Key, listing

chosen = Selection("worker")

up = chosen("celery_worker_up")
processed = chosen("celery_worker_processed_tasks_total")
missed = chosen("celery_worker_missed_tasks_total")
lost = chosen("celery_worker_lost_total")
last_seen = chosen("celery_worker_last_seen_timestamp_seconds")


def _of_up(metric: str) -> str:
    return of_up(chosen(metric), up)


offset = f"max by (worker) (abs({_of_up('celery_worker_clock_offset_seconds')}))"
load = highest(_of_up("celery_worker_load1"), "worker")
info = _of_up("celery_worker_info")

_WORKER = Key("worker", "Worker", link=links.from_cell("worker"))
_SOFTWARE = (
    Key("software", "Software", width=120),
    Key("version", "Version", width=120),
    Key("system", "System", width=120),
)

_FIGURES = (
    shared.workers_up(chosen, width=4),
    shared.workers_down(chosen),
    figure(
        "Lost in the time range",
        "Lost workers: their events ended without an announcement. All workers count, not only the chosen.",
        while_seen(in_range(lost), chosen("up")),
        unit=COUNT,
        none="unknown",
        limits=limits.NONE_IS_RIGHT,
    ),
    shared.saturation(chosen),
    figure(
        "Missed",
        "Starts in the time range that workers counted and whose events never arrived. The other figures are too low "
        "by as much.",
        while_seen(in_range(missed), chosen("up")),
        unit=COUNT,
        none="unknown",
        limits=limits.MISSED,
    ),
    figure(
        "Largest clock offset",
        "Largest difference between a worker's clock and ours. Waits are wrong by as much.",
        f"max({offset})",
        unit=SECONDS,
        none="no heartbeats",
        limits=limits.CLOCK_OFFSET,
    ),
)

_TABLE = listing(
    "Workers",
    "Every worker that is up, was lost in the last hour, or stopped in the last two minutes. What those that are down "
    "said last is left out.",
    Column("State", lowest(up, "worker"), PLAIN, words=limits.UP_OR_DOWN, width=80),
    Column("Running", shared.running(chosen, "worker"), COUNT),
    Column("Slots", shared.slots(chosen, "worker"), COUNT),
    Column("Saturation", shared.busy(chosen, "worker"), RATIO, limits.SATURATION, width=105),
    Column("Started", per_second(processed, "worker"), PER_SECOND),
    Column("Missed", in_range(missed, "worker"), COUNT, limits.MISSED),
    Column("Load", load, COUNT),
    Column("Last event", age(last_seen, "worker"), SECONDS, limits.SILENCE, width=105),
    Column("Clock offset", offset, SECONDS, limits.CLOCK_OFFSET, width=110),
    Column(
        "Task events",
        lowest(_of_up("celery_worker_task_events_enabled"), "worker"),
        PLAIN,
        words=limits.yes_no("on", "OFF"),
        width=105,
    ),
    Column(
        "Name",
        f"1 - {highest(_of_up('celery_worker_name_shared'), 'worker')}",
        PLAIN,
        words=limits.yes_no("its own", "SHARED"),
    ),
    keys=(_WORKER,),
    rows=lowest(up, "worker"),
    none="no workers known",
    sort="State",
    ascending=True,
    width=24,
    height=10,
)

_GRAPHS = (
    states(
        "Up and down",
        "Whether events of each worker arrived; those that were down in the time range come first.",
        Query(trailing(lowest(up, "worker"), "worker"), "{{worker}}"),
        words=limits.UP_OR_DOWN,
        none="no workers known",
        link=links.from_series("worker"),
        width=24,
    ),
    shared.slots_over_time(chosen, width=8),
    graph(
        "Outcomes",
        "Outcomes of attempts on the chosen workers per second.",
        Query(per_second(chosen("celery_worker_tasks_total"), "outcome"), "{{outcome}}"),
        unit=PER_SECOND,
        none="no workers known",
        width=8,
    ),
    graph_by(
        "instance",
        "Workers lost",
        "Workers that were lost in the last rate interval, by exporter.",
        f"sum by (instance) (increase({lost}[$__rate_interval]))",
        unit=COUNT,
        none="no exporter",
        shades_of=RED,
    ),
    graph_by(
        "worker",
        "Saturation",
        "Share of each worker's slots that ran a task, on average of 5 min.",
        shared.busy(chosen, "worker"),
        unit=RATIO,
        none="pools unknown",
        limits=limits.SATURATION,
    ),
    graph_by(
        "worker",
        "Tasks started",
        "Starts per second as counted by the workers.",
        leading_rates(processed, "worker"),
        ranked=True,
        unit=PER_SECOND,
        none="no heartbeats, or no starts",
    ),
    graph_by(
        "worker",
        "Failures",
        "Attempts that failed on each worker per second. Just one worker: look there.",
        leading_rates(chosen("celery_worker_tasks_total", outcome="failed"), "worker"),
        ranked=True,
        unit=PER_SECOND,
        none="no failure seen",
        shades_of=RED,
    ),
    graph_by(
        "worker",
        "Load",
        "Load average of one minute of each worker's machine.",
        load,
        unit=COUNT,
        none="no heartbeats",
    ),
)

_TRUST = (
    graph_by(
        "worker",
        "Since the last event",
        "Age of each worker's latest event. A solo worker sends nothing during a task.",
        age(last_seen, "worker"),
        unit=CLOCK,
        none="no workers known",
        limits=limits.SILENCE,
    ),
    graph_by(
        "worker",
        "Clock offset",
        "Difference between each worker's clock and ours, ahead or behind.",
        offset,
        unit=SECONDS,
        none="no heartbeats",
        limits=limits.CLOCK_OFFSET,
    ),
    graph_by(
        "worker",
        "Missed",
        "Starts per second that workers counted and whose events never arrived.",
        per_second(missed, "worker"),
        unit=PER_SECOND,
        none="no heartbeats",
    ),
)

_DETAIL = (
    listing(
        "Versions",
        "Number of workers by version. Several lines: a deployment is going on, or a worker was forgotten.",
        Column("Workers", f"count by (software, version, system) ({info})", COUNT),
        keys=tuple(Key(key.label, key.title) for key in _SOFTWARE),
        none="no heartbeats",
        sort="Workers",
    ),
    listing(
        "Queues of workers",
        "The queues that each worker consumes, by its own answer.",
        Facts(highest(_of_up("celery_worker_queue_info"), "worker", "queue")),
        keys=(_WORKER, Key("queue", "Queue", link=links.from_cell("queue"))),
        none="no worker has answered",
        sort="Worker",
        ascending=True,
    ),
    listing(
        "Settings and versions",
        "Most messages that each worker holds (0: no limit), its interval of heartbeats, and its software.",
        Column("Prefetch limit", highest(_of_up("celery_worker_prefetch_limit"), "worker"), COUNT, width=120),
        Column(
            "Heartbeat every",
            highest(_of_up("celery_worker_heartbeat_interval_seconds"), "worker"),
            SECONDS,
            width=130,
        ),
        Facts(highest(info, "worker", *(key.label for key in _SOFTWARE)), _SOFTWARE),
        keys=(_WORKER,),
        none="no heartbeats",
        width=24,
    ),
)

SHEET = Sheet(
    about="worker",
    title="Celery / Workers",
    description="Which workers are up or lost, how busy each is, and whether their numbers can be trusted.",
    selection=chosen,
    rows=(
        Row("Now", *_FIGURES),
        Row("Each worker", _TABLE),
        Row("Over time", *_GRAPHS),
        Row("Can it be trusted?", *_TRUST),
        Row("Detail", *_DETAIL, collapsed=True),
    ),
)
