"""Scrapes of pages of several sizes: latency, CPU time, and the encoders alone.

Owns: what is measured of one page. Must not know: how registries are filled, how results are written.
"""

import http.client
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.dialogue import Dialogue
from benchmarks.figures import ratios
from benchmarks.scrapes.formats import FORMATS
from benchmarks.settings import Settings
from tests.integration.servers import HOST

#: Who serves, in the order of the pairs of numbers below.
SERVERS: Final = ("ours", "prometheus_client")
#: Series of a page, and how often it is scraped in each way.
SIZES: Final[Mapping[int, int]] = {1_000: 40, 10_000: 15, 100_000: 5}
_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """One: seconds until the last byte was there, CPU seconds of the server's process, bytes over the network."""

    latency: float
    cpu: float
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One format of one registry, packed or not: the scrapes of each server, one a round."""

    format: str
    gzip: bool
    scrapes: Mapping[str, Sequence[Scrape]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """One registry.

    Attributes:
        series: that it has.
        encoders: by format, CPU seconds of each of :data:`SERVERS` without HTTP, one a round.
        pages: over HTTP.
    """

    series: int
    encoders: Mapping[str, Mapping[str, Sequence[float]]]
    pages: Sequence[Page]

    def ratios(self, name: str) -> list[float]:
        """How many times as long as ours prometheus_client's encoder of a format takes, in each round."""
        ours, theirs = (self.encoders[name][server] for server in SERVERS)
        return ratios(theirs, ours)


def measure(series: int, settings: Settings) -> Size:
    """Fill one registry and scrape it in every way, by turns; between two rounds it changes."""
    rounds = settings.rounds or SIZES[series]
    with Dialogue.started("benchmarks.scrapes.server", f"--series={series}") as server:
        greeting = server.answer()
        ports = dict(zip(SERVERS, greeting["ports"], strict=True))
        encoders: dict[str, dict[str, list[float]]] = {
            each.name: {name: [] for name in SERVERS} for each in FORMATS
        }
        pages = [
            (each, packed, {name: list[Scrape]() for name in SERVERS})
            for each in FORMATS
            for packed in (False, True)
        ]
        for number in range(rounds + 1):  # the first fills caches, and does not count
            server.order("change")
            for each in FORMATS:
                costs = zip(SERVERS, server.order("encode", each.name), strict=True)
                for name, cost in costs if number else ():
                    encoders[each.name][name].append(cost)
            for each, packed, scrapes in pages:
                for name in SERVERS[:: 1 if number % 2 else -1]:
                    scrape = _scrape(server, ports[name], each.accept, packed=packed)
                    if number:
                        scrapes[name].append(scrape)
            print(f"{greeting['series']:,} series: round {number} of {rounds}", file=sys.stderr)
    return Size(
        series=greeting["series"],
        encoders=encoders,
        pages=[Page(format=each.name, gzip=packed, scrapes=scrapes) for each, packed, scrapes in pages],
    )


def _scrape(server: Dialogue, port: int, accept: str, *, packed: bool) -> Scrape:
    headers = {"Accept": accept, "Accept-Encoding": "gzip" if packed else "identity"}
    used: float = server.order("cpu")
    latency, size = fetch(port, headers)
    return Scrape(latency=latency, cpu=server.order("cpu") - used, size=size)


def fetch(port: int, headers: Mapping[str, str]) -> tuple[float, int]:
    """Read a metrics page: seconds until its last byte was there, from before the connection, and its bytes."""
    connection = http.client.HTTPConnection(HOST, port, timeout=_SECONDS)
    try:
        began = time.perf_counter()
        connection.request("GET", "/metrics", headers=dict(headers))
        response = connection.getresponse()
        size = len(response.read())
        latency = time.perf_counter() - began
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise RuntimeError(f"a scrape was answered with {response.status}")
    return latency, size
