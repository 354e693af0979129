"""Scrapes of pages of several sizes: latency, CPU time, and the encoders alone."""

import http.client
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from time import perf_counter
from typing import Final

from benchmarks.child import ChildProcess
from benchmarks.results import Result, Spread, Table, Value
from benchmarks.scrapes.formats import FORMATS
from benchmarks.settings import Settings
from tests.integration.servers import HOST

#: Who serves, in the order of the pairs of numbers below.
SERVERS: Final = ("ours", "prometheus_client")
#: Series of a page, and how often it is scraped in each way.
SIZES: Final[Mapping[int, int]] = {1_000: 40, 10_000: 15, 100_000: 5}
_SECONDS: Final = 60.0
_MILLI: Final = 1e3
_ENCODER_COLUMNS: Final = {
    "encoder alone": "",
    "ours, CPU ms": ",.2f",
    "prometheus_client, CPU ms": ",.2f",
    "ratio within a round": ",.1f",
}
_PAGE_COLUMNS: Final = {"over HTTP": "", "server": "", "latency ms": ",.1f", "CPU ms": ",.1f", "KB": ",.0f"}

#: By format, the CPU seconds of each of SERVERS without HTTP, in each round.
EncoderCosts = Mapping[str, list[tuple[float, float]]]
#: By name of the format and server, seconds until the last byte, CPU seconds of the server and bytes, in each round.
Scrapes = Mapping[tuple[str, str], list[tuple[float, float, int]]]


def measure(series: int, settings: Settings) -> Result:
    """Fill one registry and scrape it in every way, by turns; between two rounds it changes."""
    rounds = settings.rounds or SIZES[series]
    encoders: dict[str, list[tuple[float, float]]] = defaultdict(list)
    scrapes: dict[tuple[str, str], list[tuple[float, float, int]]] = defaultdict(list)
    with ChildProcess.started("benchmarks.scrapes.server", f"--series={series}") as server:
        greeting = server.read_reply()
        ports = dict(zip(SERVERS, greeting["ports"], strict=True))
        for number in range(rounds + 1):  # the first fills caches, and does not count
            server.request("change")
            for each in FORMATS:
                ours, theirs = server.request("encode", each.name)
                encoders[each.name].append((ours, theirs))
            for each in FORMATS:
                for packed in (False, True):
                    way = f"{each.name}{', gzip' if packed else ''}"
                    for name in SERVERS[:: 1 if number % 2 else -1]:
                        scrapes[way, name].append(_scrape(server, ports[name], each.accept, packed=packed))
            print(f"{greeting['series']:,} series: round {number} of {rounds}", file=sys.stderr)
    return result(
        greeting["series"],
        {name: costs[1:] for name, costs in encoders.items()},
        {way: found[1:] for way, found in scrapes.items()},
    )


def result(series: int, encoders: EncoderCosts, scrapes: Scrapes) -> Result:
    """What was measured of one registry, in figures; those of the text format's encoders are facts."""
    compared = {name: _compared(costs) for name, costs in encoders.items()}
    ours, theirs, ratio = compared["text"]
    page_rows: list[list[Value]] = []
    for way in dict.fromkeys(way for way, _ in scrapes):
        for server in SERVERS:
            latencies, cpu, sizes = zip(*scrapes[way, server], strict=True)
            latency = Spread.of([seconds * _MILLI for seconds in latencies])
            page_rows.append([way, server, latency, median(cpu) * _MILLI, median(sizes) / _MILLI])
    return Result(
        facts={
            "series": series,
            "rounds": len(encoders["text"]),
            "text, CPU ms": ours,
            "text by prometheus_client, CPU ms": theirs,
            "text, prometheus_client / ours": ratio.median,
        },
        tables=[
            Table(_ENCODER_COLUMNS, [[name, *figures] for name, figures in compared.items()]),
            Table(_PAGE_COLUMNS, page_rows),
        ],
    )


def _compared(costs: Sequence[tuple[float, float]]) -> tuple[float, float, Spread]:
    ours, theirs = (median(each) * _MILLI for each in zip(*costs, strict=True))
    return ours, theirs, Spread.of([their_cost / our_cost for our_cost, their_cost in costs])


def _scrape(server: ChildProcess, port: int, accept: str, *, packed: bool) -> tuple[float, float, int]:
    headers = {"Accept": accept, "Accept-Encoding": "gzip" if packed else "identity"}
    used: float = server.request("cpu")
    latency, size = fetch(port, headers)
    return latency, server.request("cpu") - used, size


def fetch(port: int, headers: Mapping[str, str]) -> tuple[float, int]:
    """Read a metrics page: seconds until its last byte was there, from before the connection, and its bytes."""
    connection = http.client.HTTPConnection(HOST, port, timeout=_SECONDS)
    try:
        began = perf_counter()
        connection.request("GET", "/metrics", headers=dict(headers))
        response = connection.getresponse()
        size = len(response.read())
        latency = perf_counter() - began
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise RuntimeError(f"a scrape was answered with {response.status}")
    return latency, size
