"""Facts about queues, brokers and workers, as readers and remote control report them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from celery_metrics_exporter.labels import queue_label

#: The type of the events with which exporters probe their own subscriptions.
PROBE: Final = "exporter-probe"

_NONE: Mapping[int, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """One queue at one moment; None where the broker does not tell.

    Attributes:
        exists: whether the broker has the queue: it is declared, bound, or holds a message.
        ready: messages that wait for a worker, of all priorities.
        unacked: messages that workers hold.
        delayed: messages that the broker holds back.
        consumers: number of consumers.
        heads: the id of the next message of each priority that has one; a digest where a message carries no id. None
            where messages cannot be read.
        by_priority: ``ready`` by priority, for brokers that keep a list for each.
    """

    exists: bool
    ready: int
    unacked: int | None = None
    delayed: int | None = None
    consumers: int | None = None
    heads: tuple[str, ...] | None = None
    by_priority: Mapping[int, int] = field(default_factory=lambda: _NONE)

    def plus(self, other: QueueFacts) -> QueueFacts:
        """Both queues as one."""
        priorities = self.by_priority.keys() | other.by_priority.keys()
        return QueueFacts(
            exists=self.exists or other.exists,
            ready=self.ready + other.ready,
            unacked=_sum(self.unacked, other.unacked),
            delayed=_sum(self.delayed, other.delayed),
            consumers=_sum(self.consumers, other.consumers),
            heads=None if self.heads is None or other.heads is None else self.heads + other.heads,
            by_priority={
                each: self.by_priority.get(each, 0) + other.by_priority.get(each, 0) for each in priorities
            },
        )


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


@dataclass(frozen=True, slots=True)
class BrokerFacts:
    """One sample of a broker; None where the broker does not tell.

    Attributes:
        queues: the wanted queues and those found on the broker.
        round_trip: seconds from a request to its answer.
        unacked: messages that workers hold, over all queues.
        oldest_unacked: when the oldest of them was delivered: epoch seconds by the clock of the worker that holds it.
        delayed: messages that the broker holds back until their eta or countdown.
        forbidden: wanted queues whose numbers we lack the right to know.
        missing: wanted queues that are not there, on a broker where such a queue is not the same as an empty one.
    """

    queues: Mapping[str, QueueFacts]
    round_trip: float
    unacked: int | None = None
    oldest_unacked: float | None = None
    delayed: int | None = None
    forbidden: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def by_label(self) -> BrokerFacts:
        """The same with the queues that share a label as one, under that label."""
        queues: dict[str, QueueFacts] = {}
        for name, queue in self.queues.items():
            label = queue_label(name)
            queues[label] = queues[label].plus(queue) if label in queues else queue
        return replace(self, queues=queues)


@dataclass(frozen=True, slots=True)
class Binding:
    """A queue gets messages of an exchange (of a kind: direct, topic, fanout, ...) with a key."""

    queue: str
    exchange: str
    kind: str
    key: str


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """The content of one answer of one worker; None for what this answer does not tell.

    Attributes:
        worker: nodename, such as ``celery@host``.
        pool_size: tasks that the worker can run at once.
        prefetch_limit: most messages that it holds; 0 is unlimited.
        queues: names of all queues that it consumes.
        bindings: of these queues, as far as the worker declares them.
        events_enabled: whether it sends task events from now on.
        events_were_on: whether it did so before it was asked to.
        answered_twice: whether another answer to the same command came under the same name.
    """

    worker: str
    pool_size: int | None = None
    prefetch_limit: int | None = None
    queues: tuple[str, ...] | None = None
    bindings: tuple[Binding, ...] = ()
    events_enabled: bool | None = None
    events_were_on: bool | None = None
    answered_twice: bool = False


@dataclass(frozen=True, slots=True)
class HeldTask:
    """A task that a worker holds or runs, by its answer; None for what the answer does not tell.

    Attributes:
        uuid: its id.
        name: as the worker reports it in events.
        exchange: to which its message was published.
        routing_key: with which it was published.
        started: when it started, in epoch seconds by the worker's clock; None if it waits for its start.
        eta: earliest start asked for, as an ISO time.
    """

    uuid: str
    name: str | None = None
    exchange: str | None = None
    routing_key: str | None = None
    started: float | None = None
    eta: str | None = None


@dataclass(frozen=True, slots=True)
class TaskQuestion:
    """A question to one worker about its tasks: ``command`` is ``scheduled``, ``reserved`` or ``active``, or ``conf``.

    ``several``: several workers of this name may answer.
    """

    worker: str
    command: str
    several: bool = False
