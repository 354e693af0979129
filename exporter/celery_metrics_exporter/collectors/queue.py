"""Queues and the broker as they are, workers or not: ``celery_queue_*`` and ``celery_broker_*``.

Source of facts: samples of the broker (``queues.readers``), joined with task-sent for the age of the oldest message
and with what workers answer about the queues that they consume. A sample is served while it is fresh; then the families
are left out, for an old number is worse than none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from celery_metrics_exporter.collectors.family import Family
from celery_metrics_exporter.queues.backlog import Backlog, HeadTimes
from celery_metrics_exporter.workers.capacity import Consumption

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client import Metric

    from celery_metrics_exporter.clock import Clock
    from celery_metrics_exporter.exposition.rows import ValueRows
    from celery_metrics_exporter.facts import BrokerFacts, QueueFacts
    from celery_metrics_exporter.queues.flow import Movements
    from celery_metrics_exporter.queues.known import KnownQueues
    from celery_metrics_exporter.workers.roster import Roster

#: A sample is fresh for this many intervals.
FRESH_INTERVALS: Final = 3

_QUEUE = ("queue",)
_LENGTH = Family(
    "celery_queue_length",
    "gauge",
    "Messages that wait for a worker, of all priorities, from a sample of the broker.",
    _QUEUE,
)
_PRIORITY_LENGTH = Family(
    "celery_queue_priority_length",
    "gauge",
    "Messages that wait for a worker, by priority step of a Redis broker; with --queue-priorities.",
    ("queue", "priority"),
)
_UNACKED = Family(
    "celery_queue_unacked_messages",
    "gauge",
    "Messages that workers hold, where the broker tells it of each queue (RabbitMQ's management API).",
    _QUEUE,
)
_CONSUMERS = Family(
    "celery_queue_consumers", "gauge", "Consumers of the queue, where the broker tells it (RabbitMQ).", _QUEUE
)
_WORKERS = Family(
    "celery_queue_workers",
    "gauge",
    "Workers that are up and consume the queue, by their own answers.",
    _QUEUE,
)
_POOL_SIZE = Family(
    "celery_queue_pool_size",
    "gauge",
    "Tasks that the workers of the queue can run at once, by their own answers.",
    _QUEUE,
)
_OLDEST = Family(
    "celery_queue_oldest_message_timestamp_seconds",
    "gauge",
    "Time since which the message at the head is known: of its task-sent, else of the sample that first showed it.",
    _QUEUE,
)
_UP = Family(
    "celery_broker_up", "gauge", "1 if the latest sample of the broker succeeded and is fresh, else 0."
)
_ROUND_TRIP = Family(
    "celery_broker_round_trip_seconds",
    "gauge",
    "Time from a question to the broker's answer, in the latest sample.",
)
_ALL_UNACKED = Family(
    "celery_broker_unacked_messages",
    "gauge",
    "Messages that workers hold, in the whole database of a Redis broker; includes those held for their eta.",
)
_OLDEST_UNACKED = Family(
    "celery_broker_oldest_unacked_timestamp_seconds",
    "gauge",
    "Time at which the oldest message that a worker holds was delivered, in the whole database of a Redis broker.",
)
_DELAYED = Family(
    "celery_broker_delayed_messages",
    "gauge",
    "Messages that RabbitMQ keeps back until their eta, in the queues of Celery's native delayed delivery.",
)


@dataclass(frozen=True, slots=True)
class Sample:
    """The facts, since when the oldest message of each queue is known, and when it was taken (monotonic)."""

    facts: BrokerFacts
    oldest: Mapping[str, float]  # queue -> epoch seconds
    taken: float


class QueueCollector:
    """Serves the latest sample. Samples are given under the dispatcher's lock."""

    name = "queue"
    families = (
        _LENGTH,
        _PRIORITY_LENGTH,
        _UNACKED,
        _CONSUMERS,
        _WORKERS,
        _POOL_SIZE,
        _OLDEST,
        _UP,
        _ROUND_TRIP,
        _ALL_UNACKED,
        _OLDEST_UNACKED,
        _DELAYED,
    )

    def __init__(
        self,
        known: KnownQueues,
        roster: Roster,
        movements: Movements,
        clock: Clock,
        *,
        sent_at: Callable[[str], float | None],
        interval: float,
        by_priority: bool,
    ) -> None:
        """Args:
        known: the queues that are shown.
        roster: the workers that consume them.
        movements: what events tell of the queues, brought up to date before each sample is given.
        clock: ages of samples.
        sent_at: timestamp of the task-sent of a task's id, None if there was none.
        interval: seconds between two samples.
        by_priority: whether to tell lengths by priority too.
        """
        self._known = known
        self._roster = roster
        self._movements = movements
        self._clock = clock
        self._sent_at = sent_at
        self._fresh_seconds = interval * FRESH_INTERVALS
        self._by_priority = by_priority
        self._heads: dict[str, HeadTimes] = {}
        self._backlogs: dict[str, Backlog] = {}
        self._sample: Sample | None = None
        self._failed = False
        self._verdict_by = clock.monotonic() + self._fresh_seconds

    def on_sample(self, facts: BrokerFacts) -> None:
        """Take a sample of the broker."""
        now = self._clock.wall()
        consumed = self._roster.consumption()
        oldest = {}
        for name, queue in facts.queues.items():
            since = self._oldest(name, queue, now, is_ours=name in consumed)
            if since is not None:
                oldest[name] = since
        for gone in (self._heads.keys() | self._backlogs.keys()) - facts.queues.keys():
            self._heads.pop(gone, None)
            self._backlogs.pop(gone, None)
        self._sample = Sample(facts, oldest, self._clock.monotonic())
        self._failed = False

    def on_failure(self) -> None:
        """The broker could not be read."""
        self._failed = True

    def _oldest(self, name: str, queue: QueueFacts, now: float, *, is_ours: bool) -> float | None:
        if queue.heads is not None:
            return self._heads.setdefault(name, HeadTimes()).sample(queue.heads, self._sent_at, now)
        movement = self._movements.of(name, consumers=queue.consumers, is_ours=is_ours)
        return self._backlogs.setdefault(name, Backlog()).sample(queue.ready, movement, now)

    def fresh(self) -> Sample | None:
        """The latest sample, unless it is too old to be served."""
        sample = self._sample
        fresh = sample is not None and self._clock.monotonic() - sample.taken <= self._fresh_seconds
        return sample if fresh else None

    def is_broker_up(self) -> bool | None:
        """Whether the latest sample succeeded and is fresh; None while the first is to come."""
        if self._sample is None and not self._failed and self._clock.monotonic() <= self._verdict_by:
            return None
        return self.fresh() is not None and not self._failed

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        made = {family: family.empty() for family in self.families}
        sample, is_up = self.fresh(), self.is_broker_up()
        if is_up is not None:
            made[_UP].add_metric((), float(is_up))
        consumed = self._roster.consumption()
        all_told = self._roster.all_told_queues()
        for name in self._known.names():
            here = consumed.get(name, Consumption() if all_told else None)
            if here is not None:
                made[_WORKERS].add_metric((name,), here.workers)
                if here.pool_size is not None:
                    made[_POOL_SIZE].add_metric((name,), here.pool_size)
            if sample is not None and name in sample.facts.queues:
                self._add_queue(made, name, sample)
        if sample is not None:
            facts = sample.facts
            for family, value in {
                _ROUND_TRIP: facts.round_trip,
                _ALL_UNACKED: facts.unacked,
                _OLDEST_UNACKED: facts.oldest_unacked,
                _DELAYED: facts.delayed,
            }.items():
                if value is not None:
                    made[family].add_metric((), value)
        yield from (metric for metric in made.values() if metric.labels)

    def _add_queue(self, made: Mapping[Family, ValueRows], name: str, sample: Sample) -> None:
        queue = sample.facts.queues[name]
        for family, value in {
            _LENGTH: queue.ready,
            _UNACKED: queue.unacked,
            _CONSUMERS: queue.consumers,
            _OLDEST: sample.oldest.get(name),
        }.items():
            if value is not None:
                made[family].add_metric((name,), value)
        if self._by_priority:
            for priority, length in queue.by_priority.items():
                made[_PRIORITY_LENGTH].add_metric((name, str(priority)), length)
