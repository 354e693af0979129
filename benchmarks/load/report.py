"""Load in words and tables."""

from collections.abc import Iterable
from statistics import median

from benchmarks.figures import percentile
from benchmarks.load.scraped import Scraped
from benchmarks.load.sustained import Offer, Sustained
from benchmarks.markdown import paragraph, table

_MILLI = 1e3
_MEGABYTE = 1e6


def method() -> str:
    """How all of it is measured."""
    return paragraph(
        "Valkey with its limits for slow readers at their defaults (pub/sub: 32 MB, or 8 MB for a minute).",
        "The exporter has one core for itself; Valkey, the generator (prepared bytes, other ids in each lap,",
        "CLIENT REPLY OFF) and whoever scrapes share another. A rate counts as sustained when the generator kept it,",
        "every event was counted, no connection ended, and in the end less than 8 MB were waiting in Valkey.",
        "Each rate is offered to a fresh exporter, and to another one if that fails.",
    )


def sustained_sections(result: Sustained) -> Iterable[str]:
    """A table of rates."""
    yield f"### Sustained rates, lists of {result.list_size}"
    yield paragraph(
        f"{result.broker}. Highest rate sustained: {result.highest:,} events a second. The generator with Valkey could",
        f"offer {result.limit:,.0f} at most, to a subscriber that throws them away.",
    )
    yield table(
        (
            "offered, events/s",
            "for s",
            "published",
            "counted",
            "exporter's core, % busy",
            "CPU µs/event",
            "waiting in Valkey, MB at most",
            "in the end",
            "connections lost",
            "sustained",
        ),
        [_offer_row(offer) for offer in result.offers],
    )


def _offer_row(offer: Offer) -> tuple[str, ...]:
    return (
        f"{offer.rate:,}",
        f"{offer.seconds:.0f}",
        f"{offer.published:,}",
        f"{offer.counted:,}",
        f"{offer.cpu / offer.seconds:.0%}",
        f"{offer.cpu / offer.counted * 1e6:.1f}" if offer.sustained else "",
        f"{offer.waiting / _MEGABYTE:.1f}",
        f"{offer.left / _MEGABYTE:.1f}",
        f"{offer.lost}",
        ("yes" if offer.sustained else "no") if offer.offered else f"not offered, {offer.late:.1f} s late",
    )


def scraped_sections(result: Scraped) -> Iterable[str]:
    """A table of latencies."""
    yield f"### Scrapes of {result.series:,} series while {result.rate:,} events a second come in"
    count = sum(map(len, result.latencies.values()))
    lost = "every event was counted"
    if result.missing or result.lost:
        lost = f"{result.missing:,} events were not counted, {result.lost} connections ended"
    yield paragraph(
        f"{result.broker}, lists of 3; {count} scrapes, each on a connection of its own, in turns as Prometheus asks",
        f"(OpenMetrics, gzip) and plainly; {lost}.",
    )
    yield table(
        ("latency of a scrape, ms", "scrapes", "median", "90 %", "99 %", "longest"),
        [
            (
                way,
                str(len(found)),
                f"{median(found) * _MILLI:.1f}",
                *(f"{percentile(found, share) * _MILLI:.1f}" for share in (0.9, 0.99, 1.0)),
            )
            for way, found in (
                *result.latencies.items(),
                ("all", [each for found in result.latencies.values() for each in found]),
            )
        ],
    )
