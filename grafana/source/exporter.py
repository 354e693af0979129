"""Exporter: whether the data of the other dashboards is complete and current, and what the exporter costs."""

from grafana.source import limits, process, shared
from grafana.source.graphs import graph, graph_by, spread, states
from grafana.source.histograms import quantile
from grafana.source.panels import CLOCK, COUNT, PER_SECOND, RATIO, SECONDS, Query, figure
from grafana.source.queries import (
    RANGE,
    in_range,
    lowest,
    per_second,
    since_latest,
    trailing,
    while_seen,
)
from grafana.source.selection import Selection
from grafana.source.sheet import Row, Sheet

chosen = Selection()

up = chosen("up")
events = chosen("celery_exporter_events_total")
dropped = chosen("celery_exporter_events_dropped_total")
lag = chosen.histogram("celery_exporter_event_lag_seconds")
last_event = chosen("celery_exporter_last_event_timestamp_seconds")
connected = chosen("celery_exporter_receiver_connected")
delivering = chosen("celery_exporter_receiver_delivering")
standby = chosen("celery_exporter_receiver_standby")
reconnects = chosen("celery_exporter_receiver_reconnects_total")
restarts = chosen("celery_exporter_receiver_restarts_total")
disconnected = chosen("celery_exporter_receiver_disconnected_seconds_total")
cpu = chosen("process_cpu_seconds_total")

_YES_NO = limits.yes_no("yes", "NO")


_FIGURES = (
    shared.health(chosen),
    figure(
        "Latest event",
        "Time since the latest event of a worker or client. Workers send heartbeats every 2 s.",
        since_latest(last_event),
        unit=SECONDS,
        none="not known",
        limits=limits.EVENT_SILENCE,
    ),
    figure(
        "Dropped",
        "Events and messages in the time range that could not be handled.",
        while_seen(in_range(dropped), up),
        unit=COUNT,
        none="unknown",
        limits=limits.DROPPED,
    ),
    figure(
        "Disconnected",
        "Time without a working subscription in the time range: events may have been missed.",
        while_seen(f"sum(increase({disconnected}[{RANGE}]))", up),
        unit=SECONDS,
        none="unknown",
        limits=limits.FEW_ARE_RIGHT,
    ),
    figure(
        "Event lag p95",
        "95 % of the events in the time range arrived within this time, by the senders' clocks.",
        while_seen(quantile(0.95, lag, window=RANGE), up),
        unit=SECONDS,
        none="unknown",
        limits=limits.EVENT_LAG,
    ),
)

_EVENTS = (
    graph(
        "Events by type",
        "Events handled per second.",
        Query(f"{per_second(events, 'event')} > 0", "{{event}}"),
        unit=PER_SECOND,
        none="no events",
        stacked=True,
        width=8,
    ),
    graph(
        "Event lag",
        "Receipt time minus timestamp of each event, by the senders' clocks. A gap: no event arrived.",
        *shared.quantiles(lag, exemplars=False),
        unit=SECONDS,
        none="no events",
        limits=limits.EVENT_LAG,
        width=8,
    ),
    spread(
        "Event lags",
        "Events per second by lag. A separate band far up means that one sender's clock is behind.",
        lag,
        none="no events",
        exemplars=False,
        width=8,
    ),
    graph_by(
        "instance",
        "Since the latest event",
        "Age of the latest event. While it rises, no worker is up, or the exporter receives nothing.",
        since_latest(last_event, "instance"),
        unit=CLOCK,
        none="not known",
        limits=limits.EVENT_SILENCE,
    ),
    graph(
        "Drops by reason",
        "Events or messages per second that could not be handled.",
        Query(per_second(dropped, "reason"), "{{reason}}"),
        unit=PER_SECOND,
        none="no exporter that receives events",
        width=8,
    ),
    graph_by(
        "instance",
        "Retimed",
        "Events per second with an implausible timestamp, counted at receipt time.",
        per_second(chosen("celery_exporter_events_retimed_total"), "instance"),
        unit=PER_SECOND,
        none="no exporter that receives events",
    ),
)

_SUBSCRIPTION = (
    states(
        "Connected, delivering",
        "Whether the subscription is confirmed, and whether events arrive through it. No bar: not known. On standby "
        "another exporter gets them from the same durable queue.",
        Query(trailing(lowest(connected, "instance"), "instance"), "{{instance}} connected"),
        Query(trailing(lowest(delivering, "instance"), "instance"), "{{instance}} delivering"),
        Query(trailing(f"{lowest(standby, 'instance')} > 0", "instance"), "{{instance}} on standby"),
        words=_YES_NO,
        none="no exporter that receives events",
        width=8,
    ),
    graph_by(
        "instance",
        "Disconnected",
        "Share of the time without a working subscription.",
        per_second(disconnected, "instance"),
        unit=RATIO,
        highest=1,
        width=8,
        none="no exporter that receives events",
    ),
    graph(
        "Reconnects",
        "Subscriptions made again, and stuck receivers that were replaced, in the last rate interval.",
        Query(f"sum(increase({reconnects}[$__rate_interval]))", "reconnects"),
        Query(f"sum(increase({restarts}[$__rate_interval]))", "restarts"),
        unit=COUNT,
        none="no exporter that receives events",
        width=8,
    ),
)

SHEET = Sheet(
    about="instance",
    title="Celery / Exporter",
    description="Whether the data of the other dashboards is complete and current, and what the exporter costs.",
    selection=chosen,
    rows=(
        Row("Is it complete?", *_FIGURES),
        Row("Events", *_EVENTS),
        Row("Subscription", *_SUBSCRIPTION),
        *process.ROWS,
    ),
)
