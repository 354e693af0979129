"""Exporter: whether the data of the other dashboards is complete and current, and what the exporter costs."""

from grafana.source import limits, links
from grafana.source.panels import (
    BYTES,
    COUNT,
    EVENTS_PER_SECOND,
    PLAIN,
    RATIO,
    SECONDS,
    Query,
    figure,
    graph,
    spread,
)
from grafana.source.queries import (
    RANGE,
    bucket_rates,
    counted_once,
    highest,
    in_range,
    lowest,
    per_second,
    quantile,
    ratio,
    since_latest,
    total,
)
from grafana.source.selection import Selection
from grafana.source.sheet import Row, Sheet
from grafana.source.tables import Facts, Key, listing

chosen = Selection()

events = chosen("celery_exporter_events_total")
dropped = chosen("celery_exporter_events_dropped_total")
retimed = chosen("celery_exporter_events_retimed_total")
lag = chosen("celery_exporter_event_lag_seconds_bucket")
last_event = chosen("celery_exporter_last_event_timestamp_seconds")
connected = chosen("celery_exporter_receiver_connected")
delivering = chosen("celery_exporter_receiver_delivering")
reconnects = chosen("celery_exporter_receiver_reconnects_total")
restarts = chosen("celery_exporter_receiver_restarts_total")
disconnected = chosen("celery_exporter_receiver_disconnected_seconds_total")
cut = chosen("celery_exporter_web_connections_cut_total")
in_flight = chosen("celery_exporter_in_flight_tasks")
evicted = chosen("celery_exporter_in_flight_evicted_total")
overflowed = chosen("celery_exporter_series_overflowed_total")
cpu = chosen("process_cpu_seconds_total")
started = chosen("process_start_time_seconds")

_EXPORTER = "{{instance}}"

SHEET = Sheet(
    uid=links.EXPORTER,
    title="Celery / Exporter",
    description="Whether the data of the other dashboards is complete and current, and what the exporter costs.",
    selection=chosen,
    rows=(
        Row(
            "Is it complete?",
            figure(
                "Data is complete",
                "Prometheus reaches every exporter, each one is subscribed to events, events arrive, and no worker is "
                "reported by two exporters: if they watch one broker, sums are doubled, so choose one exporter.",
                Query(lowest(chosen("up")), "Scraped"),
                Query(lowest(connected), "Subscribed"),
                Query(lowest(delivering), "Events arrive"),
                Query(counted_once(chosen("celery_worker_up")), "Counted once"),
                unit=PLAIN,
                none="unknown",
                words=limits.yes_no("yes", "NO"),
                width=8,
            ),
            figure(
                "Latest event",
                "Time since the latest event of a worker or client. Workers send heartbeats every 2 s.",
                Query(since_latest(last_event), "ago"),
                unit=SECONDS,
                none="none yet",
                limits=limits.SILENCE,
            ),
            figure(
                "Dropped",
                "Events and messages in the time range that could not be handled.",
                Query(in_range(dropped), "events"),
                unit=COUNT,
                none="no exporter",
                limits=limits.FEW_ARE_RIGHT,
            ),
            figure(
                "Without events",
                "Time without a working subscription in the time range: events may have been missed.",
                Query(f"sum(increase({disconnected}[{RANGE}]))", "seconds"),
                unit=SECONDS,
                none="no exporter",
                limits=limits.FEW_ARE_RIGHT,
            ),
            figure(
                "Event lag p95",
                "95 % of the events in the time range arrived within this time, by the senders' clocks.",
                Query(quantile(0.95, lag, window=RANGE), "lag"),
                unit=SECONDS,
                none="no events",
                limits=limits.EVENT_LAG,
            ),
        ),
        Row(
            "Events",
            graph(
                "Events by type",
                "Events handled per second.",
                Query(f"{per_second(events, 'event')} > 0", "{{event}}"),
                unit=EVENTS_PER_SECOND,
                none="no events",
                stacked=True,
                width=8,
            ),
            graph(
                "Event lag",
                "Receipt time minus timestamp of each event, by the senders' clocks. A gap: no event arrived.",
                *(Query(quantile(level, lag), f"p{level * 100:.0f}") for level in (0.5, 0.95, 0.99)),
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
            graph(
                "Drops by reason",
                "Events or messages per second that could not be handled.",
                Query(per_second(dropped, "reason"), "{{reason}}"),
                unit=EVENTS_PER_SECOND,
                none="no exporter",
                width=8,
            ),
            graph(
                "Retimed",
                "Events per second with an implausible timestamp, counted at receipt time.",
                Query(per_second(retimed, "instance"), _EXPORTER),
                unit=EVENTS_PER_SECOND,
                none="no exporter",
                width=8,
            ),
            graph(
                "Since the latest event",
                "Age of the latest event. While it rises, no worker is up, or the exporter receives nothing.",
                Query(since_latest(last_event, "instance"), _EXPORTER),
                unit=SECONDS,
                none="no events yet",
                limits=limits.SILENCE,
                width=8,
            ),
        ),
        Row(
            "Subscription",
            graph(
                "Without a subscription",
                "Share of the time without a working subscription.",
                Query(per_second(disconnected, "instance"), _EXPORTER),
                unit=RATIO,
                none="no exporter",
                highest=1,
                width=8,
            ),
            graph(
                "Reconnects",
                "Subscriptions made again, and stuck receivers that were replaced, in the last rate interval.",
                Query(
                    f"sum by (instance) (increase({reconnects}[$__rate_interval]))", "reconnects {{instance}}"
                ),
                Query(f"sum by (instance) (increase({restarts}[$__rate_interval]))", "restarts {{instance}}"),
                unit=COUNT,
                none="no exporter",
                width=8,
            ),
            graph(
                "Connected, delivering",
                "1 while the subscription is confirmed, and 1 while events arrive through it. No line: not known.",
                Query(lowest(connected, "instance"), "connected {{instance}}"),
                Query(lowest(delivering, "instance"), "delivering {{instance}}"),
                unit=PLAIN,
                none="no exporter",
                highest=1,
                width=8,
            ),
        ),
        Row(
            "What it costs",
            graph(
                "CPU",
                "Used CPU cores. Handling events can use one at most.",
                Query(per_second(cpu, "instance"), _EXPORTER),
                unit=RATIO,
                none="no exporter",
                limits=limits.OF_A_CORE,
                width=8,
            ),
            graph(
                "CPU time per event",
                "CPU time of the whole process, with scrapes and samples of the broker, per event. A gap: no events.",
                Query(ratio(per_second(cpu, "instance"), per_second(events, "instance")), _EXPORTER),
                unit=SECONDS,
                none="no events",
                width=8,
            ),
            graph(
                "Memory",
                "Resident memory.",
                Query(highest(chosen("process_resident_memory_bytes"), "instance"), _EXPORTER),
                unit=BYTES,
                none="no exporter",
                width=8,
            ),
            graph(
                "Scrape",
                "Time that Prometheus needed for a scrape; its timeout is 10 s by default.",
                Query(highest(chosen("scrape_duration_seconds"), "instance"), _EXPORTER),
                unit=SECONDS,
                none="no exporter",
                limits=limits.SCRAPE_SECONDS,
                width=8,
            ),
            graph(
                "Series",
                "Samples in a scrape. They grow with (task, queue) pairs, workers, queues and exceptions.",
                Query(highest(chosen("scrape_samples_scraped"), "instance"), _EXPORTER),
                unit=COUNT,
                none="no exporter",
                width=8,
            ),
            graph(
                "Tasks in the table",
                "Tasks that the exporter keeps, including recently ended ones; --max-in-flight is the limit.",
                Query(total(in_flight, "instance"), _EXPORTER),
                unit=COUNT,
                none="no exporter",
                width=8,
            ),
        ),
        Row(
            "Detail",
            graph(
                "Evicted",
                "Tasks per second that were forgotten before their end; their waits and run times are not measured.",
                Query(per_second(evicted, "reason"), "{{reason}}"),
                unit=EVENTS_PER_SECOND,
                none="none was evicted",
                width=8,
            ),
            graph(
                "Counted as other",
                "New label sets per second that were counted as other, since their family was full (--max-series).",
                Query(per_second(overflowed, "family"), "{{family}}"),
                unit=EVENTS_PER_SECOND,
                none="no family was full",
                width=8,
            ),
            graph(
                "Collectors",
                "Time that each collector needed in a scrape.",
                Query(
                    highest(chosen("celery_exporter_collector_duration_seconds"), "collector"),
                    "{{collector}}",
                ),
                unit=SECONDS,
                none="no exporter",
                width=8,
            ),
            graph(
                "Failing collectors",
                "1 for a collector that failed: its families are missing.",
                Query(
                    f"1 - {lowest(chosen('celery_exporter_collector_success'), 'collector')}", "{{collector}}"
                ),
                unit=PLAIN,
                none="no exporter",
                highest=1,
                width=8,
            ),
            graph(
                "Connections cut",
                "Connections to its port per second that the exporter cut or could not accept, for lack of room.",
                Query(per_second(cut, "reason"), "{{reason}}"),
                unit=EVENTS_PER_SECOND,
                none="no exporter",
                width=8,
            ),
            graph(
                "Open files",
                "Share of the file descriptors that the process may open.",
                Query(
                    ratio(
                        highest(chosen("process_open_fds"), "instance"),
                        highest(chosen("process_max_fds"), "instance"),
                    ),
                    _EXPORTER,
                ),
                unit=RATIO,
                none="no exporter",
                highest=1,
                width=8,
            ),
            graph(
                "Uptime",
                "Time since the process started; its counters began at 0 then.",
                Query(since_latest(started, "instance"), _EXPORTER),
                unit=SECONDS,
                none="no exporter",
                width=8,
            ),
            listing(
                "Versions",
                "Versions of each exporter and of its libraries.",
                Facts(
                    expr=highest(
                        chosen("celery_exporter_build_info"),
                        "job",
                        "instance",
                        "version",
                        "python",
                        "celery",
                        "kombu",
                    ),
                    labels=(),
                ),
                keys=(
                    Key(label="job", title="Job"),
                    Key(label="instance", title="Exporter", link=links.from_cell("instance")),
                    Key(label="version", title="Version"),
                    Key(label="python", title="Python"),
                    Key(label="celery", title="Celery"),
                    Key(label="kombu", title="Kombu"),
                ),
                none="no exporter",
                width=24,
                height=6,
            ),
            collapsed=True,
        ),
    ),
)
