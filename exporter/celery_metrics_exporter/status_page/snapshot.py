"""What the status page shows: one look at a running exporter.

``status_page.survey`` takes the look, ``status_page`` shows it.

Times are epoch seconds by our clock, ages and durations are seconds, None is what is not known. Texts of others (names,
errors) are as they came: whoever shows them escapes them; errors are free of secrets.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from celery_metrics_exporter.config.config import Config
from celery_metrics_exporter.events.stream_state import StreamReading
from celery_metrics_exporter.status_page.snapshot_tables import Queues, Tasks, Workers


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
        evicted: tasks in flight that were forgotten.
        overflowed: label sets that were folded, by family.
    """

    total: int = 0
    heard: int = 0
    last: float | None = None
    rate: float | None = None
    rates: tuple[float, ...] = ()
    lag: float | None = None
    dropped: tuple[tuple[str, int], ...] = ()
    retimed: int = 0
    evicted: int = 0
    overflowed: tuple[tuple[str, int], ...] = ()


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
class Snapshot:
    """Everything.

    Attributes:
        since: when the exporter started.
        config: how it was started.
        broker_name: the broker's URL without secrets.
        reads_queues: whether anything can read queues on such a broker.
        in_worker: whether it is a worker that reports for itself, and for no other.
        subscription: to the event stream.
    """

    now: float
    since: float
    config: Config
    broker_name: str
    reads_queues: bool = True
    in_worker: bool = False
    subscription: StreamReading
    stream: Stream = Stream()
    broker: BrokerView = BrokerView()
    queues: Queues = field(default_factory=Queues)
    workers: Workers = field(default_factory=Workers)
    tasks: Tasks = field(default_factory=Tasks)
