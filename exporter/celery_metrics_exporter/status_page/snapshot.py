"""What the status page shows: one look at a running exporter, as plain values.

``status_page.survey`` takes the look, ``status_page`` shows it. Everything is bounded: of long lists the most
interesting rows are here, and how many there are.

Times are epoch seconds by our clock, ages and durations are seconds, None is what is not known. Texts of others (names,
errors) are as they came: whoever shows them escapes them; errors are free of secrets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """How the exporter was started, as far as that decides what can be known.

    Attributes:
        version: of the exporter.
        broker: its name, without secrets.
        reads_queues: whether anything can read queues on such a broker.
        remote_control: whether workers may be asked anything,
        enable_events: ... to send task events,
        inspect_workers: ... about pools and queues.
        queues: those of --queue.
        routing_key: which events are received; ``#`` is all.
        sample_interval: between two looks at the broker.
        worker_timeout: silence after which a worker is lost.
    """

    version: str
    broker: str
    reads_queues: bool = True
    remote_control: bool = True
    enable_events: bool = True
    inspect_workers: bool = True
    queues: tuple[str, ...] = ()
    routing_key: str = "#"
    sample_interval: float = 5.0
    worker_timeout: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionView:
    """The subscription to the event stream.

    Attributes:
        connected: whether it stands.
        deafness: why it is known to deliver nothing.
        delivers: whether something came through it lately; None while that is not known.
        lasting: for how long it has been heard, or not heard.
        error: why it does not stand.
        past_error: why the one before was lost, or could not be had at first ...
        past_error_age: ... and when that was.
        reconnects: how often it was lost and made anew.
        unheard: seconds without, from the start of the exporter on.
        restarts: receivers that were stuck.
    """

    connected: bool
    deafness: str | None = None
    delivers: bool | None = None
    lasting: float = 0.0
    error: str | None = None
    past_error: str | None = None
    past_error_age: float = 0.0
    reconnects: int = 0
    unheard: float = 0.0
    restarts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """The events.

    Attributes:
        total: handled so far, other than those of exporters.
        heard: everything that came so far: events of anybody, and messages that could not be read.
        last: receipt of the latest, other than those of exporters.
        rate: a second, lately.
        rates: a second, in steps of some seconds, oldest first, of the last minutes.
        lag: 95 % of those of the last minutes came within these seconds; infinite beyond the last bucket.
        dropped: by reason.
        retimed: with an impossible timestamp.
    """

    total: int = 0
    heard: int = 0
    last: float | None = None
    rate: float | None = None
    rates: tuple[float, ...] = ()
    lag: float | None = None
    dropped: tuple[tuple[str, int], ...] = ()
    retimed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerView:
    """The broker, by the samples of it.

    Attributes:
        up: whether the latest sample succeeded; None before the first.
        error: why it did not.
        round_trip: of one question.
        unacked: messages that workers hold, where that is told of the whole broker ...
        delayed: ... and those that wait in the broker for their eta.
        control_error: why workers cannot be asked.
    """

    up: bool | None = None
    error: str | None = None
    round_trip: float | None = None
    unacked: int | None = None
    delayed: int | None = None
    control_error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRow:
    """One queue.

    Attributes:
        length: messages that wait; None without a fresh sample.
        unacked: messages that workers hold, where the broker tells.
        consumers: by the broker, where it tells.
        workers: by their own answers, None if not all have told.
        slots: tasks that these run at once.
        oldest: since when the message at the head is known.
    """

    name: str
    length: int | None = None
    unacked: int | None = None
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
    """

    shown: Top[QueueRow] = Top()
    waiting: int | None = None
    abandoned: Top[str] = Top()
    ageless: Top[str] = Top()
    absent: Top[str] = Top()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRow:
    """One worker.

    Attributes:
        state: ``up``; ``offline``: it said so; ``lost``: it fell silent.
        last_seen: receipt of its latest event.
        sends_events: whether it sends task events.
        active: tasks that run, by its heartbeat.
        slots: how many it can run at once, by its answer.
        queues: that it consumes, by its answer, some of them.
        offset: of its clock to ours.
        missed: starts that it counted and no event told of.
    """

    name: str
    state: Literal["up", "offline", "lost"]
    last_seen: float
    sends_events: bool | None = None
    active: int | None = None
    slots: int | None = None
    queues: Top[str] | None = None
    version: str = ""
    offset: float | None = None
    missed: int = 0
    succeeded: int = 0
    failed: int = 0


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


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRow:
    """One task on one queue.

    Attributes:
        rate: starts a second in the last minute, or since its first event.
        running: between start and end.
        recent_failures: in the last minutes ...
        recent_ends: ... and all outcomes in them.
        runtime: mean of those that succeeded.
        wait: mean from due to started.
        exception: the commonest of its failures.
    """

    task: str
    queue: str
    rate: float | None = None
    running: int = 0
    sent: int = 0
    started: int = 0
    succeeded: int = 0
    failed: int = 0
    retried: int = 0
    recent_failures: int = 0
    recent_ends: int = 0
    runtime: float | None = None
    wait: float | None = None
    exception: str = ""
    last_failed: float | None = None


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
        evicted: tasks in flight that were forgotten.
        overflowed: label sets that were folded, by family.
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
    evicted: int = 0
    overflowed: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything; ``since`` is when the exporter started."""

    now: float
    since: float
    setup: Setup
    subscription: SubscriptionView
    stream: Stream = Stream()
    broker: BrokerView = BrokerView()
    queues: Queues = Queues()
    workers: Workers = Workers()
    tasks: Tasks = Tasks()
