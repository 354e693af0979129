"""From the classic histograms of pages to native ones, and into a Prometheus' data.

Pages in the text format have classic buckets alone. What is in one of them is spread evenly over the native buckets
that lie in it, so that a picture shows what a native histogram looks like, and not where exactly a value was.
"""

import json
import math
import re
import shutil
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.integration.servers.prometheus import Prometheus
from tests.integration.servers.remote_write import RECEIVES, NativeHistogram, Series, write

_BUCKET: Final = re.compile(r"(\w+)_bucket\{(.*)\} (\S+)")
_PART: Final = re.compile(r"(\w+)_(?:bucket|sum|count)[{ ]")
_LABEL: Final = re.compile(r'(\w+)="([^"]*)"')
_SCHEMA: Final = 3
#: The lower end of the lowest bucket, in seconds; the length of the last one in buckets.
_LOWEST: Final = 0.001
_LAST: Final = 8


class Natives:
    """Native histograms that are collected from pages, to be stored."""

    def __init__(self) -> None:
        self._samples: dict[tuple[tuple[str, str], ...], list[tuple[float, float | NativeHistogram]]] = {}

    def take(self, lines: Iterable[str], target: dict[str, str], at: float) -> list[str]:
        """Take the histograms out of a page; returns its other lines."""
        lines = list(lines)
        buckets: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
        for found in filter(None, map(_BUCKET.match, lines)):
            labels = {"__name__": found[1], **target, **dict(_LABEL.findall(found[2]))}
            bound = float(labels.pop("le"))
            buckets.setdefault(tuple(labels.items()), []).append((bound, float(found[3])))
        for key, cumulative in buckets.items():
            self._samples.setdefault(key, []).append((at, _spread(cumulative)))
        families = {dict(key)["__name__"] for key in buckets}
        return [line for line in lines if not ((part := _PART.match(line)) and part[1] in families)]

    def store(self, data: Path) -> None:
        """Put them as blocks into the folder ``data`` of a Prometheus that does not run."""
        work = data.parent / "natives"
        options = (*RECEIVES, "--web.enable-admin-api", "--storage.tsdb.retention.time=100y")
        with Prometheus(work, [], options=options) as server:
            write(server.url, (Series(dict(key), samples) for key, samples in self._samples.items()))
            order = urllib.request.Request(f"{server.url}/api/v1/admin/tsdb/snapshot", method="POST")  # noqa: S310 - always http
            with urllib.request.urlopen(order, timeout=60) as answer:  # noqa: S310 - as above
                name = json.load(answer)["data"]["name"]
        for block in (work / "data" / "snapshots" / name).iterdir():
            shutil.move(block, data / block.name)


def _spread(cumulative: list[tuple[float, float]]) -> NativeHistogram:
    counts: dict[int, int] = {}
    total = below = 0.0
    low = _number(_LOWEST)
    for bound, up_to in cumulative:
        high = low + _LAST if bound == math.inf else _number(bound)
        here = round(up_to - below)
        for place in range(high - low):
            count = (here + place * 5 % (high - low)) // (high - low)
            if count:
                counts[low + 1 + place] = count
                total += count * 2 ** ((low + 0.5 + place) / 2**_SCHEMA)
        below, low = up_to, high
    return NativeHistogram(counts, total, schema=_SCHEMA)


def _number(bound: float) -> int:
    """The number of the bucket that a value is in."""
    return math.ceil(math.log2(bound) * 2**_SCHEMA)
