"""How soon a scrape is answered while events come in.

Owns: what is scraped how often. Must not know: how messages are made, how results are written.
"""

import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from benchmarks.figures import percentile
from benchmarks.load.rig import counted, rig
from benchmarks.pages import samples
from benchmarks.scrapes.filling import kinds_for
from benchmarks.scrapes.measure import fetch
from benchmarks.settings import Settings

RATE: Final = 20_000
SERIES: Final = 10_000
_LIST_SIZE: Final = 3
_TASKS: Final = 20_000
#: Much oftener than Prometheus would, for there to be many.
_INTERVAL_SECONDS: Final = 0.2
#: Until the caches are warm and every kind of task has been seen.
_WARM_UP_SECONDS: Final = 6.0
#: In turns: as Prometheus asks, and plainly.
_ASKED: Final[Mapping[str, Mapping[str, str]]] = {
    "OpenMetrics, gzip": {
        "Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5",
        "Accept-Encoding": "gzip",
    },
    "text": {"Accept": "text/plain;version=0.0.4", "Accept-Encoding": "identity"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scraped:
    """Scrapes under load.

    Attributes:
        broker: what ran.
        rate: events a second.
        series: of the page.
        late: seconds that the generator was behind its rate at the worst.
        missing: events that were published and not counted.
        lost: connections that ended.
        latencies: seconds, by the way that was asked.
    """

    broker: str
    rate: int
    series: int
    late: float
    missing: int
    lost: int
    latencies: Mapping[str, Sequence[float]]

    def percentile(self, share: float) -> float:
        """Over all ways, in seconds."""
        return percentile([each for found in self.latencies.values() for each in found], share)


def measure(settings: Settings) -> Scraped:
    """Scrape for so long while the generator publishes."""
    kinds, seconds = kinds_for(SERIES), 3 * settings.seconds
    latencies: dict[str, list[float]] = {name: [] for name in _ASKED}
    with (
        tempfile.TemporaryDirectory(prefix="celery-exporter-bench-") as folder,
        rig(Path(folder), f"--tasks={_TASKS}", f"--list-size={_LIST_SIZE}", f"--kinds={kinds}") as place,
        place.exporter() as exporter,
    ):
        cut_off = place.cut_off()
        published = place.generator.order(RATE, _WARM_UP_SECONDS)["events"]
        done: dict[str, float] = {}
        publishing = threading.Thread(target=lambda: done.update(place.generator.order(RATE, seconds)))
        publishing.start()
        port, began = urlsplit(exporter.url).port or 0, time.monotonic()
        ways = list(_ASKED)
        for number in range(round((seconds - 1) / _INTERVAL_SECONDS)):
            time.sleep(max(0.0, began + number * _INTERVAL_SECONDS - time.monotonic()))
            way = ways[number % len(ways)]
            latencies[way].append(fetch(port, _ASKED[way])[0])
        publishing.join()
        published = int(published + done["events"])
        result = Scraped(
            broker=place.version,
            rate=RATE,
            series=len(samples(exporter.url)),
            late=done["late"],
            missing=published - counted(exporter, published),
            lost=place.lost(exporter, cut_off),
            latencies=latencies,
        )
    print(f"scrapes under load: 99 % within {result.percentile(0.99) * 1e3:.0f} ms", file=sys.stderr)
    return result
