"""Takes a reading of everything that a soak watches: /proc, the metrics page, the broker."""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.metrics import text
from benchmarks.soak.readings import Reading
from benchmarks.usage import cpu_seconds, held_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.soak.brokers import Broker

_OURS: Final = "celery_exporter_"


def page_figures(text: str) -> tuple[int, dict[str, float]]:
    """The number of samples on a metrics page, and the totals of those about the exporter itself."""
    series, totals = 0, defaultdict[str, float](float)
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        series += 1
        if line.startswith((_OURS, "celery_worker_up")):
            name, _, value = line.rpartition(" ")
            totals[name.partition("{")[0]] += float(value)
    return series, dict(totals)


def take_reading(
    at: float, pid: int, url: str, broker: Broker, publish_counts: Callable[[], Mapping[str, float]]
) -> Reading:
    """Read everything now.

    Args:
        at: seconds since the start.
        pid: of the exporter.
        url: of its metrics page.
        broker: asked for leftovers.
        publish_counts: asks the publisher, after the page was read.
    """
    process = Path(f"/proc/{pid}")
    status = dict(
        line.split(":", 1)
        for line in (process / "status").read_text(encoding="utf-8").splitlines()
        if ":" in line
    )
    files = len(list((process / "fd").iterdir()))
    began = time.monotonic()
    page = text(url)
    scrape = time.monotonic() - began
    published = publish_counts()
    series, totals = page_figures(page)
    return Reading(
        at=at,
        sent=int(published["sent"]),
        delivered=int(published["delivered"]),
        counted=int(totals["celery_exporter_events_total"]),
        dropped=int(totals["celery_exporter_events_dropped_total"]),
        rss=held_memory(pid),
        threads=int(status["Threads"]),
        files=files,
        leftovers=len(broker.leftovers()),
        cpu=cpu_seconds(pid),
        lag=totals["celery_exporter_event_lag_seconds_sum"],
        series=series,
        scrape=scrape,
        in_flight=int(totals["celery_exporter_in_flight_tasks"]),
        evicted=int(totals["celery_exporter_in_flight_evicted_total"]),
        workers=int(totals.get("celery_worker_up", 0)),
        reconnects=int(totals["celery_exporter_receiver_reconnects_total"]),
        names=int(published["names"]),
        replies=int(published["replies"]),
    )
