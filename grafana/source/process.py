"""The exporter as a process: what it costs, what it dropped for lack of room, its versions."""

from typing import Unpack

from grafana.source import limits, links
from grafana.source.graphs import Look, graph, graph_by, states
from grafana.source.panels import BYTES, CLOCK, COUNT, PER_SECOND, RATIO, SECONDS, PanelBuilder, Query
from grafana.source.queries import highest, lowest, per_second, ratio, since_latest, total
from grafana.source.selection import Selection
from grafana.source.sheet import Row
from grafana.source.tables import Facts, Key, listing

chosen = Selection()

cpu = chosen("process_cpu_seconds_total")
events = chosen("celery_exporter_events_total")

_VERSIONS = (
    Key("instance", "Exporter", link=links.from_cell("instance")),
    *(Key(name, name.capitalize(), width=95) for name in ("version", "python", "celery", "kombu")),
)


def _each(title: str, description: str, expr: str, *, unit: str, **look: Unpack[Look]) -> PanelBuilder:
    """A line for each exporter."""
    return graph_by("instance", title, description, expr, unit=unit, none="no exporter", **look)


def _by(label: str, counter: str) -> Query:
    return Query(per_second(chosen(counter), label), f"{{{{{label}}}}}")


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
        words=limits.yes_no("yes", "NO"),
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

ROWS = (Row("What it costs", *_COSTS), Row("Detail", *_DETAIL, collapsed=True))
