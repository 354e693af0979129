"""What the status page shows: one look at a running exporter, as plain values.

``status_page.survey`` takes the look, ``status_page`` shows it.

Times are epoch seconds by our clock, ages and durations are seconds, None is what is not known. Texts of others (names,
errors) are as they came: whoever shows them escapes them; errors are free of secrets.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from celery_metrics_exporter.status_page.snapshot_tables import Queues, Tasks, Workers


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
class Snapshot:
    """Everything; ``since`` is when the exporter started."""

    now: float
    since: float
    setup: Setup
    subscription: SubscriptionView
    stream: Stream = Stream()
    broker: BrokerView = BrokerView()
    queues: Queues = field(default_factory=Queues)
    workers: Workers = field(default_factory=Workers)
    tasks: Tasks = field(default_factory=Tasks)
