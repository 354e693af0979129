"""Queues and the broker: ``celery_queue_*`` and ``celery_broker_*``.

Source of facts: samples of the broker (``queues.readers``), task-sent events for the age of the oldest message, and the
answers of workers about the queues that they consume. A sample is served while it is fresh; afterwards the families are
left out, because an old number is worse than none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import Metric

from celery_metrics_exporter.clock import Clock
from celery_metrics_exporter.collectors.family import Family
from celery_metrics_exporter.exposition.rows import ValueRows
from celery_metrics_exporter.facts import BrokerFacts, QueueFacts
from celery_metrics_exporter.queues.backlog import Backlog, HeadTimes
from celery_metrics_exporter.queues.flow import Movements
from celery_metrics_exporter.queues.known import KnownQueues
from celery_metrics_exporter.workers.capacity import Consumption
from celery_metrics_exporter.workers.roster import Roster

#: A sample is fresh for so many intervals.
FRESH_INTERVALS: Final = 3

_QUEUE = ("queue",)
_LENGTH = Family(
    "celery_queue_length",
    "gauge",
    "Messages that wait for a worker, all priorities together, from a sample of the broker; approximate on SQS.",
    _QUEUE,
)
_PRIORITY_LENGTH = Family(
    "celery_queue_priority_length",
    "gauge",
    "Messages that wait for a worker, by priority step of a Redis broker; only with --queue-priorities.",
    ("queue", "priority"),
)
_UNACKED = Family(
    "celery_queue_unacked_messages",
    "gauge",
    "Messages that workers have not acknowledged, where the broker tells it by queue (RabbitMQ's management API, SQS).",
    _QUEUE,
)
_QUEUE_DELAYED = Family(
    "celery_queue_delayed_messages",
    "gauge",
    "Messages of the queue that the broker holds back for a time that their sender asked for (SQS; approximate).",
    _QUEUE,
)
_CONSUMERS = Family(
    "celery_queue_consumers",
    "gauge",
    "Consumers of the queue, where the broker reports them (RabbitMQ).",
    _QUEUE,
)
_WORKERS = Family(
    "celery_queue_workers",
    "gauge",
    "Workers that are up and consume the queue, from their answers to active_queues.",
    _QUEUE,
)
_POOL_SIZE = Family(
    "celery_queue_pool_size",
    "gauge",
    "Tasks that the workers of the queue can run at once, from their answers to stats.",
    _QUEUE,
)
_OLDEST = Family(
    "celery_queue_oldest_message_timestamp_seconds",
    "gauge",
    "Time when the message at the head was first known: of its task-sent, else of the sample that first showed it.",
    _QUEUE,
)
_UP = Family(
    "celery_broker_up", "gauge", "1 if the latest sample of the broker succeeded and is fresh, else 0."
)
_ROUND_TRIP = Family(
    "celery_broker_round_trip_seconds",
    "gauge",
    "Time from a request to the broker's answer, in the latest sample.",
)
_ALL_UNACKED = Family(
    "celery_broker_unacked_messages",
    "gauge",
    "Messages that workers have not acknowledged, in the whole database of a Redis broker, also those with an eta.",
)
_OLDEST_UNACKED = Family(
    "celery_broker_oldest_unacked_timestamp_seconds",
    "gauge",
    "Time when the oldest unacknowledged message was delivered, in the whole database of a Redis broker.",
)
_DELAYED = Family(
    "celery_broker_delayed_messages",
    "gauge",
    "Messages that RabbitMQ holds back until their eta, in the queues of Celery's native delayed delivery.",
)


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample of the broker, since when each queue's oldest message is known, and when it was taken (monotonic)."""

    facts: BrokerFacts
    oldest: Mapping[str, float]  # queue -> epoch seconds
    taken: float


class QueueCollector:
    """Serves the latest sample; ``on_sample`` is called under the dispatcher's lock."""

    name = "queue"
    families = (
        _LENGTH,
        _PRIORITY_LENGTH,
        _UNACKED,
        _QUEUE_DELAYED,
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
        known: the queues to show.
        roster: the workers that consume them.
        movements: messages into and out of the queues, from events; updated before each sample.
        clock: for the age of samples.
        sent_at: the timestamp of a task's task-sent, by the task's id; None if there was none.
        interval: seconds between two samples.
        by_priority: whether to show lengths by priority too.
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
        #: Why the latest sample failed, in one line; None if it succeeded.
        self.error: str | None = None
        self._verdict_by = clock.monotonic() + self._fresh_seconds

    def on_sample(self, facts: BrokerFacts) -> None:
        """Take a sample."""
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
        self.error = None

    def expect_no_sample(self) -> None:
        """Note that nothing reads the broker, so that nothing is to be said about it."""
        self._verdict_by = math.inf

    def on_failure(self, error: str) -> None:
        """Note that the broker could not be read; ``error`` is the reason in one line."""
        self.error = error

    def _oldest(self, name: str, queue: QueueFacts, now: float, *, is_ours: bool) -> float | None:
        if queue.heads is not None:
            return self._heads.setdefault(name, HeadTimes()).sample(queue.heads, self._sent_at, now)
        movement = self._movements.of(name, consumers=queue.consumers, is_ours=is_ours)
        return self._backlogs.setdefault(name, Backlog()).sample(queue.ready, movement, now)

    def fresh(self) -> Sample | None:
        """The latest sample, or None if it is too old."""
        sample = self._sample
        fresh = sample is not None and self._clock.monotonic() - sample.taken <= self._fresh_seconds
        return sample if fresh else None

    def is_broker_up(self) -> bool | None:
        """Whether the latest sample succeeded and is fresh; None while the first is pending."""
        if self._sample is None and self.error is None and self._clock.monotonic() <= self._verdict_by:
            return None
        return self.fresh() is not None and self.error is None

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
            _QUEUE_DELAYED: queue.delayed,
            _CONSUMERS: queue.consumers,
            _OLDEST: sample.oldest.get(name),
        }.items():
            if value is not None:
                made[family].add_metric((name,), value)
        if self._by_priority:
            for priority, length in queue.by_priority.items():
                made[_PRIORITY_LENGTH].add_metric((name, str(priority)), length)
