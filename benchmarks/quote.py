"""The README's section on cost: the last results in short."""

import re
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any, Final

from benchmarks.events.rounds import Comparison
from benchmarks.kept import Kept
from benchmarks.markdown import paragraph, table
from benchmarks.scrapes.measure import SERVERS

_COLUMNS: Final = {
    "redis-3": "Redis, lists of 3",
    "redis-24": "Redis, lists of 24",
    "rabbitmq-3": "RabbitMQ, lists of 3",
    "rabbitmq-24": "RabbitMQ, lists of 24",
}
_MILLI: Final = 1e3
_SECTION: Final = re.compile(r"(?<=^## Cost\n).*?(?=^## )", re.DOTALL | re.MULTILINE)


def quoted_in(readme: str, kept: Mapping[str, Kept]) -> str:
    """The text of the README with its section "Cost" written anew."""
    if not _SECTION.search(readme):
        raise ValueError("the README has no section 'Cost', or it is the last one")
    text = "\n\n".join(_sections({part: each.result for part, each in kept.items()}))
    return _SECTION.sub(lambda _: f"\n{text}\n\n", readme, count=1)


def _sections(results: Mapping[str, Any]) -> Iterable[str]:
    yield paragraph(
        "CPU time of the whole process for each event in µs, median of rounds in turns on one machine; three of a",
        "task's four events come in lists of its worker. Measured by `make bench`; how, spread, memory and versions",
        "are in [benchmarks/RESULTS.md](benchmarks/RESULTS.md).",
    )
    compared: dict[str, Comparison] = {part: results[part] for part in _COLUMNS if part in results}
    names = list(dict.fromkeys(name for comparison in compared.values() for name in comparison.runs))
    yield table(
        ("consumer", *(_COLUMNS[part] for part in compared)),
        [(name, *(_cost(comparison, name) for comparison in compared.values())) for name in names],
    )
    yield paragraph(*_sentences(results))


def _cost(comparison: Comparison, name: str) -> str:
    costs = comparison.costs(name) if name in comparison.runs else ()
    return f"{median(costs):.1f}" if costs else ""


def _sentences(results: Mapping[str, Any]) -> Iterable[str]:
    rates = {size: results[part].highest for size in (24, 3) if (part := f"sustained-{size}") in results}
    if rates:
        stood = ", ".join(f"{rate:,} in lists of {size}" for size, rate in rates.items())
        yield "Redis events a second on one core with nothing lost, Redis' limits for slow readers at their defaults:"
        yield f"{stood}."
    if "scrapes-100000" in results:
        size = results["scrapes-100000"]
        ours, theirs = (median(size.encoders["text"][server]) * _MILLI for server in SERVERS)
        yield f"A page of {size.series:,} series takes {ours:,.0f} ms, prometheus_client's encoder {theirs:,.0f}."
    if "scraped" in results:
        scraped = results["scraped"]
        yield f"While {scraped.rate:,} events a second come in, 99 % of the scrapes of {scraped.series:,} series are"
        yield f"answered within {scraped.percentile(0.99) * _MILLI:.0f} ms."
    if "in-flight" in results:
        memory = results["in-flight"]
        yield f"{memory.tasks:,} tasks in flight take {memory.megabytes:.0f} MB."
