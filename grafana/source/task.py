"""Task: one task or several, from publication to outcome."""

from grafana.source import limits, links
from grafana.source.panels import COUNT, RATIO, SECONDS, TASKS_PER_SECOND, Query, figure, graph, spread
from grafana.source.queries import (
    RANGE,
    age,
    bucket_rates,
    in_range,
    mean,
    per_second,
    quantile,
    since_latest,
    success_ratio,
    top,
    total,
)
from grafana.source.selection import Selection
from grafana.source.sheet import Row, Sheet
from grafana.source.tables import Column, Key, listing

#: Lines that a graph can take; the tasks with the highest values at each moment are drawn.
_LINES = 20
_LEVELS = (0.5, 0.95, 0.99)

chosen = Selection("queue", "task")

sent = chosen("celery_task_sent_total")
received = chosen("celery_task_received_total")
started = chosen("celery_task_started_total")
succeeded = chosen("celery_task_succeeded_total")
failed = chosen("celery_task_failed_total")
retried = chosen("celery_task_retried_total")
rejected = chosen("celery_task_rejected_total")
revoked = chosen("celery_task_revoked_total")
cancelled = chosen("celery_task_cancelled_total")
exceptions = chosen("celery_task_exceptions_total")
ran = chosen("celery_task_runtime_seconds_bucket", outcome="succeeded")
run_time = chosen("celery_task_runtime_seconds_sum", outcome="succeeded")
runs = chosen("celery_task_runtime_seconds_count", outcome="succeeded")
waited = chosen("celery_task_queue_wait_seconds_bucket")
held = chosen("celery_task_prefetch_wait_seconds_bucket")
in_progress = chosen("celery_task_in_progress")
oldest_running = chosen("celery_task_oldest_running_timestamp_seconds")
last_succeeded = chosen("celery_task_last_succeeded_timestamp_seconds")
last_failed = chosen("celery_task_last_failed_timestamp_seconds")

_BY_TASK = (Key(label="task", title="Task", link=links.from_cell("task")),)
_TO_TASK = links.from_series("task")


def _busiest(expression: str) -> str:
    return top(_LINES, expression)


SHEET = Sheet(
    uid=links.TASK,
    title="Celery / Task",
    description="One task or several: outcomes, exceptions, run times, waits, and what runs now.",
    selection=chosen,
    rows=(
        Row(
            "In the time range",
            figure(
                "Success ratio",
                "Share of attempts that succeeded, of all that succeeded or failed. Retries do not count.",
                Query(success_ratio(succeeded, failed, window=RANGE), "ratio"),
                unit=RATIO,
                none="no tasks",
                limits=limits.SUCCESS,
            ),
            figure(
                "Succeeded",
                "Attempts that succeeded.",
                Query(in_range(succeeded), "tasks"),
                unit=COUNT,
                none="no such task",
            ),
            figure(
                "Failed",
                "Attempts that failed, without retries.",
                Query(in_range(failed), "tasks"),
                unit=COUNT,
                none="no such task",
                limits=limits.FEW_ARE_RIGHT,
            ),
            figure(
                "Retried",
                "Attempts that ended in a retry.",
                Query(in_range(retried), "tasks"),
                unit=COUNT,
                none="no such task",
                limits=limits.FEW_ARE_RIGHT,
            ),
            figure(
                "Run time p95",
                "95 % of the attempts that succeeded took no longer than this.",
                Query(quantile(0.95, ran, window=RANGE), "run time"),
                unit=SECONDS,
                none="none succeeded",
            ),
            figure(
                "Queue wait p95",
                "95 % of the attempts started no later than this after they were due. Needs task-sent events.",
                Query(quantile(0.95, waited, window=RANGE), "wait"),
                unit=SECONDS,
                none="none started",
                limits=limits.QUEUE_WAIT,
            ),
            figure(
                "Running now",
                "Attempts that started and have not ended.",
                Query(total(in_progress), "tasks"),
                unit=COUNT,
                none="no such task",
            ),
            figure(
                "Oldest running",
                "Run time of the longest running attempt.",
                Query(age(oldest_running), "age"),
                unit=SECONDS,
                none="none is running",
            ),
            figure(
                "Latest success",
                "Time since the last success of any chosen task. Choose one task to see whether it keeps its schedule.",
                Query(since_latest(last_succeeded), "ago"),
                unit=SECONDS,
                none="never seen",
            ),
            figure(
                "Latest failure",
                "Time since the last failure of any chosen task.",
                Query(since_latest(last_failed), "ago"),
                unit=SECONDS,
                none="never seen",
            ),
            figure(
                "Busy slots",
                "Worker slots that the chosen tasks used on average: seconds of run time per second, of all outcomes.",
                Query(per_second(chosen("celery_task_runtime_seconds_sum"), window=RANGE), "slots"),
                unit=COUNT,
                none="no such task",
                decimals=2,
            ),
            figure(
                "Mean run time",
                "Of attempts that succeeded.",
                Query(mean(run_time, runs, window=RANGE), "mean"),
                unit=SECONDS,
                none="none succeeded",
            ),
        ),
        Row(
            "Outcomes",
            graph(
                "Stages",
                "Publications, deliveries and starts per second. They differ if messages wait, are lost or come twice.",
                Query(per_second(sent), "sent"),
                Query(per_second(received), "received"),
                Query(per_second(started), "started"),
                unit=TASKS_PER_SECOND,
                none="no such task",
            ),
            graph(
                "Outcomes",
                "Outcomes of attempts per second.",
                Query(per_second(succeeded), "succeeded"),
                Query(per_second(failed), "failed"),
                Query(per_second(retried), "retried"),
                Query(per_second(rejected), "rejected"),
                Query(per_second(revoked), "revoked"),
                Query(per_second(cancelled), "cancelled"),
                unit=TASKS_PER_SECOND,
                none="no such task",
                stacked=True,
            ),
            graph(
                "Failures by task",
                f"Failures per second of the {_LINES} tasks with the most failures at each moment.",
                Query(_busiest(f"{per_second(failed, 'task')} > 0"), "{{task}}"),
                unit=TASKS_PER_SECOND,
                none="no task failed",
                link=_TO_TASK,
            ),
            graph(
                "Success ratio by task",
                f"The {_LINES} tasks with the lowest ratio at each moment. A gap: none succeeded or failed.",
                Query(f"bottomk({_LINES}, {success_ratio(succeeded, failed, 'task')})", "{{task}}"),
                unit=RATIO,
                none="no tasks",
                limits=limits.SUCCESS,
                link=_TO_TASK,
                lowest=None,
                highest=1,
            ),
        ),
        Row(
            "Exceptions",
            graph(
                "Exceptions",
                f"Exceptions per second by class, of failures and retries; the {_LINES} most frequent at each moment.",
                Query(
                    _busiest(f"{per_second(exceptions, 'exception', 'outcome')} > 0"),
                    "{{exception}} ({{outcome}})",
                ),
                unit=TASKS_PER_SECOND,
                none="no exceptions",
            ),
            listing(
                "Exceptions in the time range",
                "How often each exception ended each task; retried: a retry followed.",
                Column(
                    title="Times",
                    expr=top(100, f"{in_range(exceptions, 'task', 'exception', 'outcome')} > 0"),
                    unit=COUNT,
                ),
                keys=(
                    *_BY_TASK,
                    Key(label="exception", title="Exception"),
                    Key(label="outcome", title="Outcome"),
                ),
                none="no exceptions",
                sort="Times",
                height=8,
            ),
        ),
        Row(
            "Run time",
            graph(
                "Run time of successes",
                "As measured by workers. A gap: none succeeded. No quantile is above the last bucket (1 h by default).",
                *(Query(quantile(level, ran), f"p{level * 100:.0f}") for level in _LEVELS),
                Query(mean(run_time, runs), "mean"),
                unit=SECONDS,
                none="none succeeded",
                width=8,
            ),
            spread(
                "Run times of successes",
                "Successes per second by run time. Two bands mean two kinds of work under one name.",
                bucket_rates(ran),
                none="none succeeded",
                width=8,
            ),
            graph(
                "Run time p95 by task",
                f"Run time of successes; the {_LINES} slowest tasks at each moment.",
                Query(_busiest(f"({quantile(0.95, ran, 'task')})"), "{{task}}"),
                unit=SECONDS,
                none="none succeeded",
                link=_TO_TASK,
                width=8,
            ),
        ),
        Row(
            "Waiting",
            graph(
                "Queue wait",
                "Time from when an attempt was due (sent, or its eta) until it started. Needs task-sent events.",
                *(Query(quantile(level, waited), f"p{level * 100:.0f}") for level in _LEVELS),
                unit=SECONDS,
                none="none started, or no task-sent events",
                limits=limits.QUEUE_WAIT,
                width=8,
            ),
            spread(
                "Queue waits",
                "Attempts per second by queue wait.",
                bucket_rates(waited),
                none="none started, or no task-sent events",
                width=8,
            ),
            graph(
                "Held by workers",
                "Time from when a worker took the message (or its eta) until it started the task. If it is long, the "
                "prefetch limit is too high for such long tasks.",
                *(Query(quantile(level, held), f"p{level * 100:.0f}") for level in _LEVELS),
                unit=SECONDS,
                none="none started",
                width=8,
            ),
        ),
        Row(
            "Now",
            graph(
                "Running",
                f"Attempts that started and have not ended; the {_LINES} tasks with the most attempts at each moment.",
                Query(_busiest(f"{total(in_progress, 'task')} > 0"), "{{task}}"),
                unit=COUNT,
                none="none is running",
                link=_TO_TASK,
                width=8,
            ),
            graph(
                "Oldest running",
                f"Run time of the longest running attempt of each task; the {_LINES} longest. "
                "If a line keeps rising, the attempt hangs.",
                Query(_busiest(age(oldest_running, "task")), "{{task}}"),
                unit=SECONDS,
                none="none is running",
                link=_TO_TASK,
                width=8,
            ),
            listing(
                "Tasks",
                "Last outcomes of each chosen task, and its counts in the time range.",
                Column(title="Succeeded", expr=in_range(succeeded, "task"), unit=COUNT),
                Column(title="Failed", expr=in_range(failed, "task"), unit=COUNT),
                Column(title="Last success", expr=since_latest(last_succeeded, "task"), unit=SECONDS),
                Column(title="Last failure", expr=since_latest(last_failed, "task"), unit=SECONDS),
                Column(title="Running for", expr=age(oldest_running, "task"), unit=SECONDS),
                keys=_BY_TASK,
                none="no such task",
                sort="Failed",
                width=8,
                height=8,
            ),
        ),
        Row(
            "Detail",
            graph(
                "Revoked",
                "Tasks that were revoked before their start, expired, or were terminated while they ran.",
                Query(per_second(revoked, "reason"), "{{reason}}"),
                unit=TASKS_PER_SECOND,
                none="no such task",
                width=8,
            ),
            graph(
                "Rejected",
                "Messages that workers rejected, by whether the broker delivers them again (requeue).",
                Query(per_second(rejected, "requeue"), "requeue {{requeue}}"),
                unit=TASKS_PER_SECOND,
                none="no such task",
                width=8,
            ),
            graph(
                "Run time p95 by outcome",
                "Successes as measured by workers; failures and retries from task-started until their end.",
                Query(quantile(0.95, chosen("celery_task_runtime_seconds_bucket"), "outcome"), "{{outcome}}"),
                unit=SECONDS,
                none="none ended",
                width=8,
            ),
            graph(
                "Ended by queue",
                "Successes and failures per second, by queue of the task.",
                Query(f"{per_second(succeeded, 'queue')} + {per_second(failed, 'queue')}", "{{queue}}"),
                unit=TASKS_PER_SECOND,
                none="no such task",
                link=links.from_series("queue"),
            ),
            graph(
                "Busy slots by task",
                f"Slots that each task keeps busy: seconds of run time per second; the {_LINES} highest.",
                Query(
                    _busiest(f"{per_second(chosen('celery_task_runtime_seconds_sum'), 'task')} > 0"),
                    "{{task}}",
                ),
                unit=COUNT,
                none="none ended",
                link=_TO_TASK,
            ),
            collapsed=True,
        ),
    ),
)
