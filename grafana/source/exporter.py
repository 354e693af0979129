"""Exporter: whether the data of the other dashboards is complete and current, and what the exporter costs."""

from typing import Unpack

from grafana.source import limits, links, shared
from grafana.source.graphs import Look, graph, graph_by, spread, states
from grafana.source.panels import BYTES, CLOCK, COUNT, PER_SECOND, RATIO, SECONDS, PanelBuilder, Query, figure
from grafana.source.queries import (
    RANGE,
    bucket_rates,
    highest,
    in_range,
    lowest,
    per_second,
    quantile,
    ratio,
    since_latest,
    total,
    trailing,
)
from grafana.source.selection import Selection
from grafana.source.sheet import Row, Sheet
from grafana.source.tables import Facts, Key, listing

chosen = Selection()

events = chosen("celery_exporter_events_total")
dropped = chosen("celery_exporter_events_dropped_total")
lag = chosen("celery_exporter_event_lag_seconds_bucket")
last_event = chosen("celery_exporter_last_event_timestamp_seconds")
connected = chosen("celery_exporter_receiver_connected")
delivering = chosen("celery_exporter_receiver_delivering")
reconnects = chosen("celery_exporter_receiver_reconnects_total")
restarts = chosen("celery_exporter_receiver_restarts_total")
disconnected = chosen("celery_exporter_receiver_disconnected_seconds_total")
cpu = chosen("process_cpu_seconds_total")

_VERSIONS = (
    Key("instance", "Exporter", link=links.from_cell("instance")),
    *(Key(name, name.capitalize(), width=95) for name in ("version", "python", "celery", "kombu")),
)
_YES_NO = limits.yes_no("yes", "NO")


def _each(title: str, description: str, expr: str, *, unit: str, **look: Unpack[Look]) -> PanelBuilder:
    """A line for each exporter."""
    return graph_by("instance", title, description, expr, unit=unit, none="no exporter", **look)


def _by(label: str, counter: str) -> Query:
    return Query(per_second(chosen(counter), label), f"{{{{{label}}}}}")


_FIGURES = (
    shared.health(chosen),
    figure(
        "Latest event",
        "Time since the latest event of a worker or client. Workers send heartbeats every 2 s.",
        since_latest(last_event),
        unit=SECONDS,
        none="none yet",
        limits=limits.SILENCE,
    ),
    figure(
        "Dropped",
        "Events and messages in the time range that could not be handled.",
        in_range(dropped),
        unit=COUNT,
        none="unknown",
        limits=limits.FEW_ARE_RIGHT,
    ),
    figure(
        "Disconnected",
        "Time without a working subscription in the time range: events may have been missed.",
        f"sum(increase({disconnected}[{RANGE}]))",
        unit=SECONDS,
        none="unknown",
        limits=limits.FEW_ARE_RIGHT,
    ),
    figure(
        "Event lag p95",
        "95 % of the events in the time range arrived within this time, by the senders' clocks.",
        quantile(0.95, lag, window=RANGE),
        unit=SECONDS,
        none="no events",
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
        *shared.quantiles(lag),
        unit=SECONDS,
        none="no events",
        limits=limits.EVENT_LAG,
        width=8,
    ),
    spread(
        "Event lags",
        "Events per second by lag. A separate band far up means that one sender's clock is behind.",
        bucket_rates(lag),
        none="no events",
        width=8,
    ),
    graph_by(
        "instance",
        "Since the latest event",
        "Age of the latest event. While it rises, no worker is up, or the exporter receives nothing.",
        since_latest(last_event, "instance"),
        unit=CLOCK,
        none="no events yet",
        limits=limits.SILENCE,
    ),
    graph(
        "Drops by reason",
        "Events or messages per second that could not be handled.",
        _by("reason", "celery_exporter_events_dropped_total"),
        unit=PER_SECOND,
        none="no exporter",
        width=8,
    ),
    _each(
        "Retimed",
        "Events per second with an implausible timestamp, counted at receipt time.",
        per_second(chosen("celery_exporter_events_retimed_total"), "instance"),
        unit=PER_SECOND,
    ),
)

_SUBSCRIPTION = (
    states(
        "Connected, delivering",
        "Whether the subscription is confirmed, and whether events arrive through it. No bar: not known.",
        Query(trailing(lowest(connected, "instance"), "instance"), "{{instance}} connected"),
        Query(trailing(lowest(delivering, "instance"), "instance"), "{{instance}} delivering"),
        words=_YES_NO,
        none="no exporter",
        width=6,
    ),
    _each(
        "Disconnected",
        "Share of the time without a working subscription.",
        per_second(disconnected, "instance"),
        unit=RATIO,
        highest=1,
        width=6,
    ),
    _each(
        "Reconnects",
        "Subscriptions made again, in the last rate interval.",
        f"sum by (instance) (increase({reconnects}[$__rate_interval]))",
        unit=COUNT,
        width=6,
    ),
    _each(
        "Restarts of receivers",
        "Stuck receivers that were replaced, in the last rate interval.",
        f"sum by (instance) (increase({restarts}[$__rate_interval]))",
        unit=COUNT,
        width=6,
    ),
)

_COSTS = (
    _each(
        "CPU",
        "Used CPU cores. Handling events can use one at most.",
        per_second(cpu, "instance"),
        unit=RATIO,
        limits=limits.OF_A_CORE,
    ),
    graph_by(
        "instance",
        "CPU time per event",
        "CPU time of the whole process, with scrapes and samples of the broker, per event. A gap: no events.",
        ratio(per_second(cpu, "instance"), per_second(events, "instance")),
        unit=SECONDS,
        none="no events",
    ),
    _each(
        "Memory",
        "Resident memory.",
        highest(chosen("process_resident_memory_bytes"), "instance"),
        unit=BYTES,
    ),
    _each(
        "Scrape",
        "Time that Prometheus needed for a scrape; its timeout is 10 s by default.",
        highest(chosen("scrape_duration_seconds"), "instance"),
        unit=SECONDS,
        limits=limits.SCRAPE_SECONDS,
    ),
    _each(
        "Series",
        "Samples in a scrape. They grow with (task, queue) pairs, workers, queues and exceptions.",
        highest(chosen("scrape_samples_scraped"), "instance"),
        unit=COUNT,
    ),
    _each(
        "Tasks in the table",
        "Tasks that the exporter keeps, including recently ended ones; --max-in-flight is the limit.",
        total(chosen("celery_exporter_in_flight_tasks"), "instance"),
        unit=COUNT,
    ),
)

_DETAIL = (
    graph(
        "Evicted",
        "Tasks per second that were forgotten before their end; their waits and run times are not measured.",
        _by("reason", "celery_exporter_in_flight_evicted_total"),
        unit=PER_SECOND,
        none="none was evicted",
        width=8,
    ),
    graph(
        "Counted as other",
        "New label sets per second that were counted as other, since their family was full (--max-series).",
        _by("family", "celery_exporter_series_overflowed_total"),
        unit=PER_SECOND,
        none="no family was full",
        width=8,
    ),
    graph(
        "Collectors",
        "Time that each collector needed in a scrape.",
        Query(highest(chosen("celery_exporter_collector_duration_seconds"), "collector"), "{{collector}}"),
        unit=SECONDS,
        none="no exporter",
        width=8,
    ),
    states(
        "Working collectors",
        "Whether each collector worked; the families of one that failed are missing.",
        Query(lowest(chosen("celery_exporter_collector_success"), "collector"), "{{collector}}"),
        words=_YES_NO,
        none="no exporter",
        width=8,
    ),
    graph(
        "Connections cut",
        "Connections to its port per second that the exporter cut or could not accept, for lack of room.",
        _by("reason", "celery_exporter_web_connections_cut_total"),
        unit=PER_SECOND,
        none="no exporter",
        width=8,
    ),
    _each(
        "Open files",
        "Share of the file descriptors that the process may open.",
        ratio(
            highest(chosen("process_open_fds"), "instance"), highest(chosen("process_max_fds"), "instance")
        ),
        unit=RATIO,
    ),
    _each(
        "Uptime",
        "Time since the process started; its counters began at 0 then.",
        since_latest(chosen("process_start_time_seconds"), "instance"),
        unit=CLOCK,
    ),
    listing(
        "Versions",
        "Versions of each exporter and of its libraries.",
        Facts(highest(chosen("celery_exporter_build_info"), *(key.label for key in _VERSIONS))),
        keys=_VERSIONS,
        none="no exporter",
        width=16,
        height=8,
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
        Row("What it costs", *_COSTS),
        Row("Detail", *_DETAIL, collapsed=True),
    ),
)
