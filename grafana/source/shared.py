"""Panels and queries that several dashboards have, for the selection of each."""

from grafana.source import limits
from grafana.source.graphs import graph, graph_by
from grafana.source.histograms import Histogram, quantile
from grafana.source.links import DataLink
from grafana.source.panels import CLOCK, COUNT, PER_SECOND, PLAIN, RATIO, SECONDS, PanelBuilder, Query, figure
from grafana.source.queries import (
    RANGE,
    age,
    age_or_none,
    counted_once,
    in_range,
    lowest,
    of_up,
    per_second,
    ratio,
    success_ratio,
    total,
    unless_blind,
    while_seen,
)
from grafana.source.selection import Selection

#: Outcome -> what the attempts did.
_ENDED = {"succeeded": "succeeded", "failed": "failed, without retries,", "retried": "ended in a retry"}


def health(chosen: Selection, link: DataLink | None = None) -> PanelBuilder:
    """Whether the other figures can be trusted."""
    connected = chosen("celery_exporter_receiver_connected")
    delivering = chosen("celery_exporter_receiver_delivering")
    return figure(
        "Monitoring health",
        "Whether the other figures can be trusted: Prometheus reaches every exporter, events arrive at each of them, "
        "each can read its broker, and no worker is reported by two exporters (then choose one exporter).",
        Query(lowest(chosen("up")), "Exporter"),
        Query(f"min(({delivering} or {connected}) * {connected})", "Events"),
        Query(lowest(chosen("celery_broker_up")), "Broker"),
        Query(counted_once(chosen("celery_worker_up")), "Counted once"),
        unit=PLAIN,
        none="no exporter",
        words=limits.yes_no("yes", "NO"),
        link=link,
        width=8,
    )


def without_consumers(chosen: Selection, link: DataLink | None = None) -> PanelBuilder:
    """Queues that nobody empties."""
    # As the alert of this name: RabbitMQ counts consumers, else workers tell which queues they consume.
    consumers = f"({chosen('celery_queue_consumers')} or {chosen('celery_queue_workers')})"
    held = f"{chosen('celery_queue_length')} > 0 and on (job, instance, queue) {consumers} == 0"
    return figure(
        "Queues without consumers",
        "Queues that hold messages, and have no consumer on RabbitMQ, or no worker elsewhere. Unknown: an exporter is "
        "not reached, or it does not know yet which queues the workers consume.",
        unless_blind(f"count({held}) or sum({consumers} * 0)", chosen("up")),
        unit=COUNT,
        none="unknown",
        limits=limits.NONE_IS_RIGHT,
        link=link,
    )


def oldest_message(chosen: Selection, link: DataLink | None = None) -> PanelBuilder:
    """The age that a stall cannot hide from."""
    oldest = chosen("celery_queue_oldest_message_timestamp_seconds")
    return figure(
        "Oldest message",
        "Time since the oldest waiting message was first known. It grows when no worker takes messages.",
        age_or_none(oldest, chosen("celery_queue_length"), chosen("up")),
        unit=SECONDS,
        none="unknown",
        limits=limits.OLDEST_MESSAGE,
        words=limits.NONE_WAITS,
        link=link,
    )


def waiting(chosen: Selection, link: DataLink | None = None) -> PanelBuilder:
    """The sum of lengths, without a judgement."""
    return figure(
        "Messages waiting",
        "Messages that no worker has taken yet, in all queues.",
        total(chosen("celery_queue_length")),
        unit=COUNT,
        none="unknown",
        link=link,
    )


def queue_wait(chosen: Selection, link: DataLink | None = None) -> PanelBuilder:
    """How long tasks waited; what does not start is not in it."""
    return figure(
        "Queue wait p95",
        "95 % of the tasks that started in the time range had waited no longer than this after they were due. Tasks "
        "that did not start are not in it: see the oldest message. Needs task-sent events.",
        while_seen(
            quantile(0.95, chosen.histogram("celery_task_queue_wait_seconds"), window=RANGE), chosen("up")
        ),
        unit=SECONDS,
        none="unknown",
        limits=limits.QUEUE_WAIT,
        link=link,
    )


def success(chosen: Selection, link: DataLink | None = None) -> PanelBuilder:
    """Success ratio over the range."""
    ended = (chosen(f"celery_task_{outcome}_total") for outcome in ("succeeded", "failed"))
    return figure(
        "Success ratio",
        "Share of attempts that succeeded, of all that succeeded or failed in the time range. Retries do not count.",
        while_seen(success_ratio(*ended, window=RANGE), chosen("up")),
        unit=RATIO,
        none="unknown",
        limits=limits.SUCCESS,
        link=link,
    )


def ended(chosen: Selection, outcome: str, link: DataLink | None = None, *, width: int = 3) -> PanelBuilder:
    """Attempts with an outcome in the range, without a judgement: that is the success ratio's."""
    return figure(
        outcome.capitalize(),
        f"Attempts that {_ENDED[outcome]} in the time range.",
        in_range(chosen(f"celery_task_{outcome}_total")),
        unit=COUNT,
        none="unknown",
        link=link,
        width=width,
    )


def workers_up(chosen: Selection, link: DataLink | None = None, *, width: int = 3) -> PanelBuilder:
    """How many are up."""
    return figure(
        "Workers up",
        "Workers whose events arrive.",
        total(chosen("celery_worker_up")),
        unit=COUNT,
        none="unknown",
        limits=limits.YES_IS_RIGHT,
        link=link,
        width=width,
    )


def workers_down(chosen: Selection, link: DataLink | None = None) -> PanelBuilder:
    """How many are down."""
    return figure(
        "Workers down",
        "Workers that were lost, for an hour after their last event, and workers that stopped in the last two minutes.",
        unless_blind(f"sum(1 - {chosen('celery_worker_up')})", chosen("up")),
        unit=COUNT,
        none="unknown",
        limits=limits.NONE_IS_RIGHT,
        link=link,
    )


def running(chosen: Selection, *by: str) -> str:
    """Running tasks of workers that are up."""
    return total(of_up(chosen("celery_worker_active_tasks"), chosen("celery_worker_up")), *by)


def slots(chosen: Selection, *by: str) -> str:
    """The slots of their pools."""
    return total(of_up(chosen("celery_worker_pool_size"), chosen("celery_worker_up")), *by)


def busy(chosen: Selection, *by: str) -> str:
    """Share of the slots that ran a task, on average of 5 min; of workers that are up and whose pool size is known."""
    active = f"avg_over_time({chosen('celery_worker_active_tasks')}[5m])"
    known = f"{active} and on (job, instance, worker) {chosen('celery_worker_pool_size')}"
    return ratio(total(of_up(known, chosen("celery_worker_up")), *by), slots(chosen, *by))


def saturation(chosen: Selection, link: DataLink | None = None, *, width: int = 4) -> PanelBuilder:
    """How busy all slots are."""
    return figure(
        "Saturation",
        "Share of all pool slots that ran a task, on average of 5 min. Where it is red, tasks wait for a free slot. It "
        "is low as well when nobody takes messages.",
        busy(chosen),
        unit=RATIO,
        none="pools unknown",
        limits=limits.SATURATION,
        link=link,
        width=width,
    )


def quantiles(of: Histogram, *, exemplars: bool = True) -> list[Query]:
    """Median, p95 and p99 over time."""
    median, *others = (Query(quantile(level, of), f"p{level * 100:.0f}") for level in (0.5, 0.95, 0.99))
    return [median._replace(exemplars=exemplars), *others]


def outcomes_over_time(chosen: Selection, *more: str) -> PanelBuilder:
    """Attempts per second by outcome."""
    names = ("succeeded", "failed", "retried", "rejected", "revoked", *more)
    return graph(
        "Outcomes",
        "Outcomes of attempts per second.",
        *(Query(per_second(chosen(f"celery_task_{name}_total")), name, name == "failed") for name in names),
        unit=PER_SECOND,
        none="no tasks known",
    )


def waiting_over_time(chosen: Selection) -> PanelBuilder:
    """Lengths of the longest queues."""
    return graph_by(
        "queue",
        "Messages waiting",
        "Messages that no worker has taken yet, of all priorities. A gap: the broker could not be read.",
        total(chosen("celery_queue_length"), "queue"),
        unit=COUNT,
        none="no queues known",
    )


def oldest_over_time(chosen: Selection) -> PanelBuilder:
    """Ages of the oldest messages."""
    return graph_by(
        "queue",
        "Age of the oldest message",
        "Time since the message at the head was first known. No line: none waits, or not known.",
        age(chosen("celery_queue_oldest_message_timestamp_seconds"), "queue"),
        unit=CLOCK,
        none="nothing waits, or it is not known",
        limits=limits.OLDEST_MESSAGE,
    )


def wait_over_time(chosen: Selection, *, width: int = 12) -> PanelBuilder:
    """How long tasks waited that started."""
    return graph(
        "Queue wait",
        "Time from when tasks were due (sent, or their eta) until they started. A gap: none started. Needs task-sent "
        "events.",
        *quantiles(chosen.histogram("celery_task_queue_wait_seconds")),
        unit=SECONDS,
        none="none started, or no task-sent events",
        limits=limits.QUEUE_WAIT,
        width=width,
    )


def slots_over_time(chosen: Selection, *, width: int = 12) -> PanelBuilder:
    """Running tasks and slots."""
    return graph(
        "Running and slots",
        "Running tasks, and the slots of the pools, of workers that are up.",
        Query(running(chosen), "running"),
        Query(slots(chosen), "slots"),
        unit=COUNT,
        none="no workers known",
        width=width,
    )
