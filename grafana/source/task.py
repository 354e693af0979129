"""Task: one task or several, from publication to outcome."""

from grafana.source import limits, links, shared, tasks
from grafana.source.graphs import graph, graph_by, spread
from grafana.source.histograms import mean, quantile, sum_per_second
from grafana.source.panels import COUNT, PER_SECOND, SECONDS, PanelBuilder, Query, figure
from grafana.source.queries import (
    RANGE,
    age_or_none,
    in_range,
    leading_rates,
    per_second,
    since_latest,
    top,
    total,
)
from grafana.source.selection import Selection
from grafana.source.sheet import Row, Sheet
from grafana.source.tables import Column, Key, listing

chosen = Selection("queue", "task")

succeeded = chosen("celery_task_succeeded_total")
failed = chosen("celery_task_failed_total")
exceptions = chosen("celery_task_exceptions_total")
ran = chosen.histogram("celery_task_runtime_seconds", outcome="succeeded")
ended = chosen.histogram("celery_task_runtime_seconds")
waited = chosen.histogram("celery_task_queue_wait_seconds")
held = chosen.histogram("celery_task_prefetch_wait_seconds")
in_progress = chosen("celery_task_in_progress")
oldest_running = chosen("celery_task_oldest_running_timestamp_seconds")
last_succeeded = chosen("celery_task_last_succeeded_timestamp_seconds")
last_failed = chosen("celery_task_last_failed_timestamp_seconds")

_TASK = Key("task", "Task", link=links.from_cell("task"))


def _seconds(title: str, description: str, expr: str, none: str) -> PanelBuilder:
    """A duration without a judgement: what is long depends on the task."""
    words = limits.NONE_RUNS if " - 1" in expr else None
    return figure(title, description, expr, unit=SECONDS, none=none, words=words)


_FIGURES = (
    shared.success(chosen),
    *(shared.ended(chosen, outcome, width=4) for outcome in ("succeeded", "failed", "retried")),
    _seconds(
        "Run time p95",
        "95 % of the attempts that succeeded took no longer than this.",
        quantile(0.95, ran, window=RANGE),
        "none succeeded",
    ),
    shared.queue_wait(chosen),
    figure(
        "Running now",
        "Attempts that started and have not ended.",
        total(in_progress),
        unit=COUNT,
        none="unknown",
    ),
    _seconds(
        "Oldest running",
        "Run time of the longest running attempt.",
        age_or_none(oldest_running, in_progress, chosen("up")),
        "unknown",
    ),
    _seconds(
        "Latest success",
        "Time since the last success of any chosen task. Choose one task to see whether it keeps its schedule.",
        since_latest(last_succeeded),
        "not known",
    ),
    _seconds(
        "Latest failure",
        "Time since the last failure of any chosen task.",
        since_latest(last_failed),
        "not known",
    ),
    figure(
        "Busy slots",
        "Worker slots that the chosen tasks used on average: seconds of run time per second, of all outcomes.",
        sum_per_second(ended, window=RANGE),
        unit=COUNT,
        none="unknown",
        decimals=2,
    ),
    _seconds("Mean run time", "Of attempts that succeeded.", mean(ran, window=RANGE), "none succeeded"),
)

_OUTCOMES = (
    graph(
        "Stages",
        "Publications, deliveries and starts per second. They differ if messages wait, are lost or come twice.",
        *(
            Query(per_second(chosen(f"celery_task_{stage}_total")), stage)
            for stage in ("sent", "received", "started")
        ),
        unit=PER_SECOND,
        none="no such task",
    ),
    shared.outcomes_over_time(chosen, "cancelled"),
)

_EXCEPTIONS = (
    graph(
        "Exceptions",
        "Exceptions per second by class, of failures and retries; the most frequent ones.",
        Query(leading_rates(exceptions, "exception", "outcome"), "{{exception}} ({{outcome}})"),
        unit=PER_SECOND,
        none="no exception seen",
        width=8,
    ),
    listing(
        "Exceptions in the time range",
        "How often each exception ended each task; retried: a retry followed.",
        Column("Times", top(100, f"{in_range(exceptions, 'task', 'exception', 'outcome')} > 0"), COUNT),
        keys=(_TASK, Key("exception", "Exception"), Key("outcome", "Outcome", width=90)),
        none="no exception seen",
        sort="Times",
        width=16,
        height=8,
    ),
)

_RUN_TIME = (
    graph(
        "Run time of successes",
        "As measured by workers. A gap: none succeeded. From classic buckets no quantile is above the last one (1 h by "
        "default).",
        *shared.quantiles(ran),
        Query(mean(ran), "mean"),
        unit=SECONDS,
        none="none succeeded",
        width=8,
    ),
    spread(
        "Run times of successes",
        "Successes per second by run time. Two bands mean two kinds of work under one name.",
        ran,
        none="none succeeded",
        width=8,
    ),
    graph(
        "Run time p95 by outcome",
        "Successes as measured by workers; failures and retries from task-started until their end.",
        Query(quantile(0.95, ended, "outcome"), "{{outcome}}", exemplars=True),
        unit=SECONDS,
        none="none ended",
        width=8,
    ),
)

_WAITING = (
    shared.wait_over_time(chosen, width=8),
    spread(
        "Queue waits",
        "Attempts per second by queue wait.",
        waited,
        none="none started, or no task-sent events",
        width=8,
    ),
    graph(
        "Wait in the worker",
        "Time from when a worker took the message (or its eta) until it started the task. If it is long, the prefetch "
        "limit is too high for such long tasks.",
        *shared.quantiles(held, exemplars=False),
        unit=SECONDS,
        none="none started",
        width=8,
    ),
)

_DETAIL = (
    graph(
        "Revoked",
        "Tasks that were revoked before their start, expired, or were terminated while they ran.",
        Query(per_second(chosen("celery_task_revoked_total"), "reason"), "{{reason}}"),
        unit=PER_SECOND,
        none="no such task",
        width=8,
    ),
    graph(
        "Rejected",
        "Messages that workers rejected, by whether the broker delivers them again (requeue).",
        Query(per_second(chosen("celery_task_rejected_total"), "requeue"), "requeue {{requeue}}"),
        unit=PER_SECOND,
        none="no such task",
        width=8,
    ),
    graph(
        "Ended unseen",
        "Attempts that ended while the exporter did not listen, as their workers' answers showed; how is not known.",
        Query(per_second(chosen("celery_task_ended_unseen_total")), "ended unseen"),
        unit=PER_SECOND,
        none="no such task",
        width=8,
    ),
    graph_by(
        "queue",
        "Ended by queue",
        "Successes and failures per second, by queue of the task.",
        f"{per_second(succeeded, 'queue')} + {per_second(failed, 'queue')}",
        unit=PER_SECOND,
        none="no such task",
        width=24,
    ),
)

SHEET = Sheet(
    about="task",
    title="Celery / Task",
    description="One task or several: outcomes, exceptions, run times, waits, and what runs now.",
    selection=chosen,
    rows=(
        Row("In the time range", *_FIGURES),
        Row("Outcomes", *_OUTCOMES),
        Row("Exceptions", *_EXCEPTIONS),
        Row("Run time", *_RUN_TIME),
        Row("Waiting", *_WAITING),
        tasks.ROW,
        Row("Detail", *_DETAIL, collapsed=True),
    ),
)
