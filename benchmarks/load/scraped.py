"""How soon a scrape is answered while events come in."""

import math
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Final
from urllib.parse import urlsplit

from benchmarks.load.rig import counted, start_rig
from benchmarks.metrics import samples
from benchmarks.results import Result, Table, Value
from benchmarks.scrapes.filling import kinds_for
from benchmarks.scrapes.measure import fetch
from benchmarks.settings import Settings

RATE: Final = 20_000
SERIES: Final = 10_000
_LIST_SIZE: Final = 3
_TASKS: Final = 20_000
#: Much more often than Prometheus scrapes, to have many.
_INTERVAL_SECONDS: Final = 0.2
#: Until the caches are warm and every kind of task has been seen.
_WARM_UP_SECONDS: Final = 6.0
_MILLI: Final = 1e3
_COLUMNS: Final = {
    "latency of a scrape, ms": "",
    "scrapes": ",",
    "median": ",.1f",
    "90 %": ",.1f",
    "99 %": ",.1f",
    "longest": ",.1f",
}
#: In turns: as Prometheus asks, and plainly.
_ASKED: Final[Mapping[str, Mapping[str, str]]] = {
    "OpenMetrics, gzip": {
        "Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5",
        "Accept-Encoding": "gzip",
    },
    "text": {"Accept": "text/plain;version=0.0.4", "Accept-Encoding": "identity"},
}


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that at least this share of them (above 0, up to 1) does not exceed: nearest rank."""
    ordered = sorted(values)
    return ordered[math.ceil(share * len(ordered)) - 1]


def result(latencies: Mapping[str, Sequence[float]], facts: Mapping[str, int | float | str | None]) -> Result:
    """The figures of all scrapes, in seconds by the way that was asked; events that were lost spoil the headline."""
    found = {**latencies, "all": [each for some in latencies.values() for each in some]}
    rows: list[list[Value]] = []
    for way, some in found.items():
        figures = (median(some), *(percentile(some, share) for share in (0.9, 0.99, 1.0)))
        rows.append([way, len(some), *(figure * _MILLI for figure in figures)])
    headline = None if facts["events not counted"] else percentile(found["all"], 0.99) * _MILLI
    return Result(facts={**facts, "99 % of scrapes within, ms": headline}, tables=[Table(_COLUMNS, rows)])


def measure(settings: Settings) -> Result:
    """Scrape for so long while the generator publishes."""
    kinds, seconds = kinds_for(SERIES), 3 * settings.seconds
    latencies: dict[str, list[float]] = {name: [] for name in _ASKED}
    with (
        tempfile.TemporaryDirectory(prefix="celery-exporter-bench-") as folder,
        start_rig(Path(folder), f"--tasks={_TASKS}", f"--list-size={_LIST_SIZE}", f"--kinds={kinds}") as rig,
        rig.exporter() as exporter,
    ):
        cut_off = rig.cut_off()
        published = rig.generator.request(RATE, _WARM_UP_SECONDS)["events"]
        done: dict[str, float] = {}
        publishing = threading.Thread(target=lambda: done.update(rig.generator.request(RATE, seconds)))
        publishing.start()
        port, began = urlsplit(exporter.url).port or 0, time.monotonic()
        ways = list(_ASKED)
        for number in range(round((seconds - 1) / _INTERVAL_SECONDS)):
            time.sleep(max(0.0, began + number * _INTERVAL_SECONDS - time.monotonic()))
            way = ways[number % len(ways)]
            latencies[way].append(fetch(port, _ASKED[way])[0])
        publishing.join()
        published = int(published + done["events"])
        return result(
            latencies,
            {
                "broker": rig.version,
                "events/s": RATE,
                "in lists of": _LIST_SIZE,
                "series": len(samples(exporter.url)),
                "s that the generator was late, at the most": done["late"],
                "events not counted": published - counted(exporter, published),
                "connections ended": rig.lost(exporter, cut_off),
            },
        )
