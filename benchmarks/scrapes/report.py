"""Scrapes in words and tables."""

from collections.abc import Iterable, Sequence
from statistics import median

from benchmarks.figures import spread
from benchmarks.markdown import paragraph, table
from benchmarks.scrapes.measure import SERVERS, Page, Size

_MILLI = 1e3


def method() -> str:
    """How all of them are measured."""
    return paragraph(
        "Registries filled with events of so many kinds of tasks by the exporter's own pipeline, in one process that",
        "serves each twice: by our web server and by prometheus_client's. Between two rounds a task of each kind runs,",
        "so that every label set changes. Encoders alone: CPU time of one call in that process, ours and",
        "prometheus_client's by turns on the same registry. Over HTTP: latency from before the connection until the",
        "last byte, and CPU time of the whole serving process.",
    )


def sections(size: Size) -> Iterable[str]:
    """Heading, encoders and pages."""
    yield f"### {size.series:,} series"
    ours, theirs = SERVERS
    yield table(
        ("encoder alone", f"{ours}, CPU ms", f"{theirs}, CPU ms", "ratio within a round", "min - max"),
        [
            (
                name,
                *(f"{median(costs[server]) * _MILLI:,.2f}" for server in SERVERS),
                *spread(size.ratios(name), 1),
            )
            for name, costs in size.encoders.items()
        ],
    )
    yield table(
        ("over HTTP", "server", "latency ms", "min - max", "CPU ms", "KB"),
        [row for page in size.pages for row in _rows(page)],
    )


def _rows(page: Page) -> Iterable[Sequence[str]]:
    for server in SERVERS:
        scrapes = page.scrapes[server]
        yield (
            f"{page.format}{', gzip' if page.gzip else ''}",
            server,
            *spread([scrape.latency * _MILLI for scrape in scrapes], 1),
            f"{median(scrape.cpu for scrape in scrapes) * _MILLI:,.1f}",
            f"{median(scrape.size for scrape in scrapes) / _MILLI:,.0f}",
        )
