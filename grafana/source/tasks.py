"""The tasks side by side, as far as they are chosen in the dashboard of tasks."""

from grafana.source import limits, links
from grafana.source.colours import RED
from grafana.source.graphs import graph_by
from grafana.source.histograms import leading_sums, quantile
from grafana.source.panels import CLOCK, COUNT, PER_SECOND, RATIO, SECONDS
from grafana.source.queries import age, in_range, leading_rates, since_latest, success_ratio, total
from grafana.source.selection import Selection
from grafana.source.sheet import Row
from grafana.source.tables import Column, Key, listing

chosen = Selection("queue", "task")

succeeded = chosen("celery_task_succeeded_total")
failed = chosen("celery_task_failed_total")
last_succeeded = chosen("celery_task_last_succeeded_timestamp_seconds")
last_failed = chosen("celery_task_last_failed_timestamp_seconds")
in_progress = chosen("celery_task_in_progress")
oldest_running = chosen("celery_task_oldest_running_timestamp_seconds")

ROW = Row(
    "Each task",
    listing(
        "Tasks",
        "Last outcomes of each chosen task, and its counts in the time range.",
        Column("Succeeded", in_range(succeeded, "task"), COUNT),
        Column("Failed", in_range(failed, "task"), COUNT),
        Column("Last success", since_latest(last_succeeded, "task"), SECONDS, width=110),
        Column("Last failure", since_latest(last_failed, "task"), SECONDS, width=110),
        Column("Running for", age(oldest_running, "task"), SECONDS, width=110),
        keys=(Key("task", "Task", link=links.from_cell("task")),),
        none="no such task",
        sort="Failed",
        width=24,
    ),
    graph_by(
        "task",
        "Failures",
        "Failures per second of the tasks that failed most.",
        leading_rates(failed, "task"),
        ranked=True,
        exemplars=True,
        unit=PER_SECOND,
        none="no failure seen",
        shades_of=RED,
    ),
    graph_by(
        "task",
        "Success ratio",
        "The tasks with the lowest ratio. A gap: none succeeded or failed.",
        success_ratio(succeeded, failed, "task"),
        unit=RATIO,
        none="none ended",
        limits=limits.SUCCESS,
        near_one=True,
    ),
    graph_by(
        "task",
        "Run time p95",
        "Run time of successes of the slowest tasks.",
        quantile(0.95, chosen.histogram("celery_task_runtime_seconds", outcome="succeeded"), "task"),
        exemplars=True,
        unit=SECONDS,
        none="none succeeded",
    ),
    graph_by(
        "task",
        "Running",
        "Attempts that started and have not ended.",
        total(in_progress, "task"),
        unit=COUNT,
        none="no such task",
    ),
    graph_by(
        "task",
        "Oldest running",
        "Run time of the longest running attempt of each task. If a line keeps rising, the attempt hangs.",
        age(oldest_running, "task"),
        unit=CLOCK,
        none="none is running",
    ),
    graph_by(
        "task",
        "Busy slots",
        "Slots that each task keeps busy: seconds of run time per second.",
        leading_sums(chosen.histogram("celery_task_runtime_seconds"), "task"),
        ranked=True,
        unit=COUNT,
        none="none ended",
    ),
)
