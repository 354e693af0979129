"""The queues, workers and tasks of a snapshot.

Everything is bounded: of long lists the most interesting rows are here, and how many there are. Rows of workers and
tasks hold the records themselves, which go on changing: they are for showing at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Generic, Literal, TypeVar

from celery_metrics_exporter.tasks.counts import Counts
from celery_metrics_exporter.workers.worker import Worker

RowT = TypeVar("RowT")


@dataclass(frozen=True, slots=True)
class Top(Generic[RowT]):
    """The most interesting of ``total`` rows."""

    rows: tuple[RowT, ...] = ()
    total: int = 0

    @property
    def more(self) -> int:
        """How many are not here."""
        return max(0, self.total - len(self.rows))


#: No names at all.
NOBODY: Top[str] = Top()
#: Names that are shown of many.
NAMES: Final = 5


def top_names(names: Iterable[str]) -> Top[str]:
    """The first of these names, each once, in alphabetical order."""
    every = sorted(set(names))
    return Top(tuple(every[:NAMES]), len(every))


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRow:
    """One queue.

    Attributes:
        length: messages that wait; None without a fresh sample.
        unacked: messages that workers hold, where the broker tells.
        delayed: messages that the broker holds back, where it tells.
        consumers: by the broker, where it tells.
        workers: by their own answers, None if not all have told.
        slots: tasks that these run at once.
        oldest: since when the message at the head is known.
    """

    name: str
    length: int | None = None
    unacked: int | None = None
    delayed: int | None = None
    consumers: int | None = None
    workers: int | None = None
    slots: int | None = None
    oldest: float | None = None

    @property
    def is_abandoned(self) -> bool:
        """Whether messages wait that nobody consumes: the broker knows best, workers if it does not tell."""
        consumers = self.workers if self.consumers is None else self.consumers
        return bool(self.length) and consumers == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Queues:
    """All queues.

    Attributes:
        waiting: messages in all of them.
        abandoned: have messages and no consumer.
        ageless: have messages, and it is not known since when.
        absent: are named by --queue, and the broker does not have them.
        missing: are known, and have no length because the broker does not have them.
        forbidden: are known, and we lack the right to look at them.
    """

    shown: Top[QueueRow] = Top()
    waiting: int | None = None
    abandoned: Top[str] = Top()
    ageless: Top[str] = Top()
    absent: Top[str] = Top()
    missing: Top[str] = Top()
    forbidden: Top[str] = Top()


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One worker; ``offline``: it said so, ``lost``: it fell silent."""

    state: Literal["up", "offline", "lost"]
    worker: Worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """All workers; the lists of names are of those that are up, but for ``lost``.

    Attributes:
        silent: send no task events.
        switched_on: sent none until the exporter asked them to.
        skewed: have a clock that differs from ours, by these seconds ...
        skew: ... and what may be the reason: our own ``clock``, a time ``zone``, or events that come ``late``.
        untold: did not answer.
        unheard: answered, and no event of them came.
        namesakes: names that several workers share.
        outdated: run a version that is older than any whose events are known.
        missed: starts that they counted and no event told of.
    """

    shown: Top[WorkerRow] = Top()
    up: int = 0
    offline: int = 0
    lost: Top[str] = Top()
    silent: Top[str] = Top()
    switched_on: Top[str] = Top()
    skewed: Top[tuple[str, float]] = Top()
    skew: Literal["clock", "zone", "late"] | None = None
    untold: Top[str] = Top()
    unheard: Top[str] = Top()
    namesakes: Top[str] = Top()
    outdated: Top[str] = Top()
    missed: int = 0


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One task on one queue.

    Attributes:
        counts: what was counted since the exporter started.
        rate: starts a second in the last minute, or since its first event.
        running: between start and end.
        recent_failures: in the last minutes ...
        recent_ends: ... and all outcomes in them.
    """

    counts: Counts
    rate: float | None = None
    running: int = 0
    recent_failures: int = 0
    recent_ends: int = 0


@dataclass(frozen=True, slots=True)
class RunningRow:
    """One task that runs."""

    task: str
    queue: str
    worker: str
    started: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tasks:
    """All tasks by queue.

    Attributes:
        window: seconds that rates are of, None at first ...
        long_window: ... and recent outcomes.
        unsent: tasks that started lately without a task-sent event, at least some of them.
        unregistered: tasks that failed lately because their worker does not know them.
    """

    busiest: Top[TaskRow] = Top()
    failing: Top[TaskRow] = Top()
    running: Top[RunningRow] = Top()
    window: float | None = None
    long_window: float | None = None
    sent: int = 0
    started: int = 0
    recent_failures: int = 0
    recent_ends: int = 0
    unsent: Top[str] = Top()
    unregistered: Top[str] = Top()
