"""The exporter itself: ``celery_exporter_*``, the events that it receives and drops, and its own state.

Source of facts: every event that is dispatched, the dispatcher's drops, the event stream, the table of attempts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from prometheus_client import Metric

from celery_metrics_exporter.cells import Cells
from celery_metrics_exporter.clock import BatchClock
from celery_metrics_exporter.collectors.family import Family
from celery_metrics_exporter.collectors.task_counts import Buckets
from celery_metrics_exporter.distribution import BatchDistribution
from celery_metrics_exporter.events import types as events
from celery_metrics_exporter.events.handlers import HandlerTable
from celery_metrics_exporter.events.stream_state import StreamState
from celery_metrics_exporter.facts import PROBE
from celery_metrics_exporter.labels import OTHER, SeriesLimit
from celery_metrics_exporter.tasks.inflight import Inflight

#: Upper bounds in seconds: for the usual lag, for a backlog, and for clocks that disagree.
LAG_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

_BUILD = Family(
    "celery_exporter_build_info",
    "gauge",
    "Always 1; versions of the exporter, Python, Celery and kombu.",
    ("version", "python", "celery", "kombu"),
)
_EVENTS = Family(
    "celery_exporter_events_total",
    "counter",
    "Events handled, by type; probes of exporters are counted as exporter-probe, types without a handler as other.",
    ("event",),
)
_DROPPED = Family(
    "celery_exporter_events_dropped_total",
    "counter",
    "Events and messages that were dropped, by reason.",
    ("reason",),
)
_RETIMED = Family(
    "celery_exporter_events_retimed_total",
    "counter",
    "Events with an implausible timestamp, counted at receipt time.",
)
_LAG = Family("celery_exporter_event_lag_seconds", "histogram", "Receipt time minus timestamp of each event.")
_LAST_EVENT = Family(
    "celery_exporter_last_event_timestamp_seconds",
    "gauge",
    "Receipt time of the latest event that is not a probe of an exporter.",
)
_CONNECTED = Family(
    "celery_exporter_receiver_connected",
    "gauge",
    "1 while the exporter is subscribed to the event stream, else 0.",
)
_DELIVERING = Family(
    "celery_exporter_receiver_delivering",
    "gauge",
    "1 while the subscription delivers events, at least our own probes, 0 if it does not, absent while unknown.",
)
_STANDBY = Family(
    "celery_exporter_receiver_standby",
    "gauge",
    "1 while another exporter gets the events of the durable event queue and this one waits to take over, else 0.",
)
_RESTARTS = Family(
    "celery_exporter_receiver_restarts_total",
    "counter",
    "Receivers that were stuck and have been replaced.",
)
_RECONNECTS = Family(
    "celery_exporter_receiver_reconnects_total", "counter", "Subscriptions that were made again after a loss."
)
_DISCONNECTED = Family(
    "celery_exporter_receiver_disconnected_seconds_total",
    "counter",
    "Time without a subscription that delivers, since the process started; its events may have been missed.",
)
_IN_FLIGHT = Family(
    "celery_exporter_in_flight_tasks",
    "gauge",
    "Tasks in the correlation table, including recently finished ones.",
)
_EVICTED = Family(
    "celery_exporter_in_flight_evicted_total",
    "counter",
    "Tasks removed from the correlation table before their end, by reason.",
    ("reason",),
)
_OVERFLOWED = Family(
    "celery_exporter_series_overflowed_total",
    "counter",
    "Times that a new label set was counted as other, because its family (or group of families) was full.",
    ("family",),
)

#: Why events are dropped; each has a series from the start, so that its rate exists.
DROP_REASONS: Final = ("undecodable", "invalid", "oversized", "handler_error")


class ExporterCollector:
    """Feeds the families about the exporter."""

    name = "exporter"
    families = (
        _BUILD,
        _EVENTS,
        _DROPPED,
        _RETIMED,
        _LAG,
        _LAST_EVENT,
        _CONNECTED,
        _DELIVERING,
        _STANDBY,
        _RESTARTS,
        _RECONNECTS,
        _DISCONNECTED,
        _IN_FLIGHT,
        _EVICTED,
        _OVERFLOWED,
    )

    def __init__(
        self,
        subscription: StreamState,
        inflight: Inflight,
        now: BatchClock,
        limit: SeriesLimit,
        *,
        versions: Mapping[str, str],
        buckets: Buckets,
        listens: bool = True,
    ) -> None:
        """Args:
        subscription: the state of the event stream.
        inflight: the table of attempts, whose size and evictions are shown.
        now: the receipt time of the current batch.
        limit: the limit of label sets, whose overflows are shown.
        versions: label values of ``celery_exporter_build_info``.
        buckets: which ones histograms have.
        listens: whether events are received; without them nothing is shown of events.
        """
        self._listens = listens
        self._subscription = subscription
        self._inflight = inflight
        self._now = now
        self._limit = limit
        #: Receipt time (epoch seconds) of the latest event that is not a probe; 0.0 before the first.
        self.last_event = 0.0
        self._versions = tuple(versions[label] for label in _BUILD.labels)
        self._handled = Counter(dict.fromkeys(events.WIRE_NAMES, 0))
        self._unknown = 0
        self._probes = 0
        self._lost = 0
        self._dropped = dict.fromkeys(DROP_REASONS, 0)
        self.retimed = 0
        self._shows_classic = buckets.classic
        self._classic, self._native = Cells(LAG_BUCKETS, None), Cells(LAG_BUCKETS, buckets.schema)
        self.lags = BatchDistribution(self._native)

    def subscribe(self, table: HandlerTable) -> None:
        """Register the handlers."""
        table.on(events.UnknownEvent, self.on_unknown)
        table.on(events.Retimed, self.on_retimed)
        table.on_batch(self.on_events)

    def on_events(self, batch: Sequence[events.Event]) -> None:
        """Count the events of a batch, and observe their lags."""
        self._handled.update(map(type, batch))
        self.last_event = now = self._now.wall
        lags = [now - event.timestamp for event in batch]
        if min(lags) < 0:  # a sender's clock is ahead of ours
            lags = [max(0.0, lag) for lag in lags]
        self.lags.observe_all(lags)

    def on_unknown(self, event: events.UnknownEvent) -> None:
        """Count a probe, or an event of a type without a handler."""
        if event.type == PROBE:  # a probe is no sign of Celery
            self._probes += 1
            return
        self._unknown += 1
        self.last_event = self._now.wall

    def received(self) -> int:
        """Number of events so far: of any sender, good or bad."""
        return self.total() + self._probes + self._lost

    def total(self) -> int:
        """Number of events handled so far, without probes."""
        return sum(self._handled.values()) + self._unknown

    def recount(self, *, native: bool) -> None:
        """Count lags in native buckets, too, or no more."""
        self.lags.recount(self._native if native else self._classic)

    def drops(self) -> dict[str, int]:
        """Number of events dropped so far, by reason."""
        return self._dropped.copy()

    def overflows(self) -> dict[str, int]:
        """Number of label sets counted as ``other`` so far, by family."""
        return dict(self._limit.overflows)

    def on_retimed(self, _event: events.Retimed) -> None:
        """Count an event with an implausible timestamp."""
        self.retimed += 1

    def dropped(self, reason: str) -> None:
        """Count a dropped event."""
        self._lost += 1
        self._dropped[reason] += 1

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        build = _BUILD.empty()
        build.add_metric(self._versions, 1)
        yield build
        overflowed = _OVERFLOWED.empty()
        for name, number in self.overflows().items():
            overflowed.add_metric((name,), number)
        yield overflowed
        if self._listens:
            yield from self._collect_stream()

    def _collect_stream(self) -> Iterator[Metric]:
        """Yield the families of events, of the subscription to them, and of the table of attempts."""
        state = self._subscription.read()
        dropped = _DROPPED.empty()
        for reason, number in self.drops().items():
            dropped.add_metric((reason,), number)
        yield dropped
        lag = _LAG.empty_histogram(LAG_BUCKETS, classic=self._shows_classic)
        lag.add((), self.lags)
        yield lag
        handled = _EVENTS.empty()
        for kind, name in events.WIRE_NAMES.items():
            handled.add_metric((name,), self._handled[kind])
        handled.add_metric((PROBE,), self._probes)
        handled.add_metric((OTHER,), self._unknown)
        yield handled
        values = {
            _RETIMED: float(self.retimed),
            _CONNECTED: float(state.connected),
            _STANDBY: float(state.standby),
            _RESTARTS: state.restarts,
            _RECONNECTS: state.reconnects,
            _DISCONNECTED: state.disconnected_seconds,
            _IN_FLIGHT: len(self._inflight),
        }
        if state.delivering is not None:
            values[_DELIVERING] = float(state.delivering)
        if self.last_event:
            values[_LAST_EVENT] = self.last_event
        for declared, value in values.items():
            metric = declared.empty()
            metric.add_metric((), value)
            yield metric
        evicted = _EVICTED.empty()
        for reason, number in self._inflight.evicted.items():
            evicted.add_metric((reason,), number)
        yield evicted
