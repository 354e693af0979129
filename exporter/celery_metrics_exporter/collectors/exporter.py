"""The exporter itself: ``celery_exporter_*``, what it hears, loses and knows of its own state.

Source of facts: every event that is dispatched, the dispatcher's drops, the subscription, the table of attempts.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from celery_metrics_exporter.collectors.family import Distribution, Family
from celery_metrics_exporter.events import types as events
from celery_metrics_exporter.facts import PROBE
from celery_metrics_exporter.labels import OTHER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from prometheus_client import Counter as PrometheusCounter
    from prometheus_client import Metric

    from celery_metrics_exporter.clock import Moment
    from celery_metrics_exporter.events.handlers import HandlerTable
    from celery_metrics_exporter.events.stream_state import Subscription
    from celery_metrics_exporter.tasks.inflight import Inflight

#: Upper bounds in seconds: what is usual, what a backlog makes of it, and what only clocks that disagree can.
LAG_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

_BUILD = Family(
    "celery_exporter_build_info",
    "gauge",
    "Always 1; versions of the exporter and of what it runs on.",
    ("version", "python", "celery", "kombu"),
)
_EVENTS = Family(
    "celery_exporter_events_total",
    "counter",
    "Events handled, by type; those that exporters send to try their subscription as exporter-probe, those without "
    "a handler as other.",
    ("event",),
)
_DROPPED = Family(
    "celery_exporter_events_dropped_total",
    "counter",
    "Events or messages that could not be handled, by reason.",
    ("reason",),
)
_RETIMED = Family(
    "celery_exporter_events_retimed_total",
    "counter",
    "Events whose timestamp cannot be, by our clock, and that count as of the time of their receipt.",
)
_LAG = Family(
    "celery_exporter_event_lag_seconds", "histogram", "Time of receipt less timestamp of each event."
)
_LAST_EVENT = Family(
    "celery_exporter_last_event_timestamp_seconds",
    "gauge",
    "Time at which the latest event was received, other than those of exporters.",
)
_CONNECTED = Family(
    "celery_exporter_receiver_connected",
    "gauge",
    "1 while the subscription to the event stream stands, else 0.",
)
_DELIVERING = Family(
    "celery_exporter_receiver_delivering",
    "gauge",
    "1 while events, at least our own, arrive through the subscription, 0 when they do not, absent while that is "
    "not known.",
)
_RESTARTS = Family(
    "celery_exporter_receiver_restarts_total",
    "counter",
    "Receivers that were given up because they were stuck, and replaced.",
)
_RECONNECTS = Family(
    "celery_exporter_receiver_reconnects_total", "counter", "Subscriptions made again after one was lost."
)
_DISCONNECTED = Family(
    "celery_exporter_receiver_disconnected_seconds_total",
    "counter",
    "Time without a subscription that delivers, in which events may have been missed, from the start of the process "
    "on.",
)
_IN_FLIGHT = Family(
    "celery_exporter_in_flight_tasks",
    "gauge",
    "Tasks in the correlation table, recently ended ones included.",
)
_EVICTED = Family(
    "celery_exporter_in_flight_evicted_total",
    "counter",
    "Tasks taken out of the correlation table before their end, by reason.",
    ("reason",),
)
_OVERFLOWED = Family(
    "celery_exporter_series_overflowed_total",
    "counter",
    "Times that something was counted as other because its family (or group of families) was full.",
    ("family",),
)

#: Why events die; each exists from the start, so that its rate does.
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
        _RESTARTS,
        _RECONNECTS,
        _DISCONNECTED,
        _IN_FLIGHT,
        _EVICTED,
        _OVERFLOWED,
    )

    def __init__(
        self, subscription: Subscription, inflight: Inflight, now: Moment, *, versions: Mapping[str, str]
    ) -> None:
        """Args:
        subscription: state of the receiver.
        inflight: the table whose size and evictions are shown.
        now: times of receipt.
        versions: values of the labels of ``celery_exporter_build_info``.
        """
        self._subscription = subscription
        self._inflight = inflight
        self._now = now
        #: Epoch seconds of the latest event, other than those of exporters; 0.0 before the first.
        self.last_event = 0.0
        self._build = _BUILD.gauge()
        self._build.labels(**versions).set(1)
        self._handled = Counter(dict.fromkeys(events.WIRE_NAMES, 0))
        self._unknown = 0
        self._probes = 0
        self._lost = 0
        self._dropped = _DROPPED.counter()
        for reason in DROP_REASONS:
            self._dropped.labels(reason)
        self.retimed = 0
        self.lags = Distribution(LAG_BUCKETS)
        self._overflowed = _OVERFLOWED.counter()

    def subscribe(self, table: HandlerTable) -> None:
        """Name the handlers."""
        table.on(events.UnknownEvent, self.on_unknown)
        table.on(events.Retimed, self.on_retimed)
        table.on_batch(self.on_events)

    def on_events(self, batch: Sequence[events.Event]) -> None:
        """Count the events that came together, and measure how late they are."""
        self._handled.update(map(type, batch))
        self.last_event = now = self._now.wall
        lags = [now - event.timestamp for event in batch]
        if min(lags) < 0:  # by the clock of a worker that is ahead of ours
            lags = [max(0.0, lag) for lag in lags]
        self.lags.observe_all(lags)

    def on_unknown(self, event: events.UnknownEvent) -> None:
        """Count an event of a type that nothing handles."""
        if event.type == PROBE:  # a day without Celery's events stays one
            self._probes += 1
            return
        self._unknown += 1
        self.last_event = self._now.wall

    def heard(self) -> int:
        """How many events have come so far, good or bad, of anybody."""
        return self.total() + self._probes + self._lost

    def total(self) -> int:
        """How many events were handled so far, other than those of exporters."""
        return sum(self._handled.values()) + self._unknown

    def drops(self) -> dict[str, int]:
        """How many events died so far, by reason."""
        return _totals(self._dropped)

    def overflows(self) -> dict[str, int]:
        """How often label sets were folded into ``other`` so far, by family."""
        return _totals(self._overflowed)

    def on_retimed(self, _event: events.Retimed) -> None:
        """Count an event of which the time is not known."""
        self.retimed += 1

    def dropped(self, reason: str) -> None:
        """Count an event that died of ``reason``."""
        self._lost += 1
        self._dropped.labels(reason).inc()

    def overflowed(self, family: str) -> None:
        """Count a label set that was folded into ``other``."""
        self._overflowed.labels(family).inc()

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        state = self._subscription.state()
        for family in (self._build, self._dropped, self._overflowed):
            yield from family.collect()
        lag = _LAG.empty_histogram(LAG_BUCKETS)
        self.lags.add_to(lag, ())
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


def _totals(counter: PrometheusCounter) -> dict[str, int]:
    """By the value of its only label."""
    return {
        value: int(sample.value)
        for metric in counter.collect()
        for sample in metric.samples
        for value in sample.labels.values()
    }
