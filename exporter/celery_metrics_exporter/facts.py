"""Plain facts about brokers and workers, as those who ask them report.

Owns: the shape of the facts. Must not know: who asks, events, metrics.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The type of the events by which exporters try their own subscriptions.
PROBE: Final = "exporter-probe"

_NONE: Mapping[int, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """One queue at one moment; None where the broker does not tell.

    Attributes:
        exists: whether the broker has it: declared, bound, or at least one message in it.
        ready: messages that wait for a worker, of all priorities.
        unacked: messages that workers hold.
        consumers: how many consume it.
        heads: the id of the message that is next, for each priority that has one; a digest where it carries no id.
            None where the broker lets nobody look at messages.
        by_priority: ``ready`` by priority, for brokers that keep a list for each.
    """

    exists: bool
    ready: int
    unacked: int | None = None
    consumers: int | None = None
    heads: tuple[str, ...] | None = None
    by_priority: Mapping[int, int] = field(default_factory=lambda: _NONE)


@dataclass(frozen=True, slots=True)
class BrokerFacts:
    """One sample of a broker; None where the broker does not tell.

    Attributes:
        queues: the queues that were asked for and those that the broker named by itself.
        round_trip: seconds of one question and its answer.
        unacked: messages that workers hold, over all queues.
        oldest_unacked: epoch seconds, by the clock of the worker that holds it, at which the oldest was delivered.
        delayed: messages that wait in the broker for their eta or countdown.
    """

    queues: Mapping[str, QueueFacts]
    round_trip: float
    unacked: int | None = None
    oldest_unacked: float | None = None
    delayed: int | None = None


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """What one answer of one worker tells; None: nothing of that.

    Attributes:
        worker: nodename, such as ``celery@host``.
        pool_size: tasks that it can run at once.
        prefetch_limit: messages that it holds at most; 0 is unlimited.
        queues: names of all queues that it consumes.
        events_enabled: whether it sends task events from now on.
        events_were_on: whether it did so before it was asked to.
    """

    worker: str
    pool_size: int | None = None
    prefetch_limit: int | None = None
    queues: tuple[str, ...] | None = None
    events_enabled: bool | None = None
    events_were_on: bool | None = None
