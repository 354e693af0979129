"""Everything that can be measured: what it is called, what it needs, what comes out, where it stands in the page."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from benchmarks import in_flight
from benchmarks.events import report as events
from benchmarks.events import tables
from benchmarks.events.rounds import Comparison
from benchmarks.in_flight import Memory
from benchmarks.load import report as load
from benchmarks.load import scraped, sustained
from benchmarks.load.scraped import Scraped
from benchmarks.load.sustained import Sustained
from benchmarks.scrapes import measure as scrapes
from benchmarks.scrapes import report as pages
from benchmarks.scrapes.measure import Size
from benchmarks.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One measurement.

    Attributes:
        chapter: of the page.
        kind: of its result.
        measure: makes the result.
        sections: the result in Markdown.
        backend: what must be installed, if anything.
    """

    chapter: str
    kind: type[Any]
    measure: Callable[[Settings], Any]
    sections: Callable[[Any], Iterable[str]]
    backend: str | None = None


EVENTS: Final = "Events"
LOAD: Final = "Load"
SCRAPES: Final = "Scrapes"
MEMORY: Final = "Tasks in flight"

#: How the parts of a chapter are measured, in the order of the page.
CHAPTERS: Final[Mapping[str, str]] = {
    EVENTS: events.method(),
    LOAD: load.method(),
    SCRAPES: pages.method(),
    MEMORY: "",
}

PARTS: Final[Mapping[str, Part]] = {
    **{
        name: Part(
            chapter=EVENTS,
            kind=Comparison,
            measure=partial(tables.measure, table),
            sections=events.sections,
            backend=table.backend,
        )
        for name, table in tables.TABLES.items()
    },
    **{
        f"sustained-{size}": Part(
            chapter=LOAD,
            kind=Sustained,
            measure=partial(sustained.measure, size),
            sections=load.sustained_sections,
            backend="valkey",
        )
        for size in (24, 3)
    },
    "scraped": Part(
        chapter=LOAD,
        kind=Scraped,
        measure=scraped.measure,
        sections=load.scraped_sections,
        backend="valkey",
    ),
    **{
        f"scrapes-{series}": Part(
            chapter=SCRAPES, kind=Size, measure=partial(scrapes.measure, series), sections=pages.sections
        )
        for series in scrapes.SIZES
    },
    "in-flight": Part(chapter=MEMORY, kind=Memory, measure=in_flight.measure, sections=in_flight.sections),
}
