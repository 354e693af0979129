"""``python -m benchmarks.render``: shows the results under benchmarks/results in the pages that quote them.

A page marks where: what stands between ``<!-- result: NAME -->`` and ``<!-- end -->`` is written anew. NAME is a file
of results, ``environment`` for what the results of the page were measured on, or one of :data:`SUMMARIES`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from benchmarks.results import Result, Spread, Value, read
from benchmarks.targets import TARGETS
from tests.integration.servers.exporter import REPOSITORY
from tests.matrix.columns import COLUMNS

FOLDER: Final = REPOSITORY / "benchmarks" / "results"
PAGES: Final = (
    *(
        REPOSITORY / "benchmarks" / f"{name}.md"
        for name in ("RESULTS", "SAMPLING", "SOAK", "IMAGE", "HISTOGRAMS")
    ),
    REPOSITORY / "tests" / "fuzz" / "RESULTS.md",
    REPOSITORY / "docs" / "compatibility.md",
    REPOSITORY / "docs" / "in-worker.md",
    REPOSITORY / "README.md",
)
#: The README's table of costs: the title of a column by the result whose first table it is taken from.
COSTS: Final = {
    "redis-3": "Redis, lists of 3",
    "rabbitmq-3": "RabbitMQ, lists of 3",
}
#: The README's other figures: a result and one of its facts.
FIGURES: Final = (
    (
        "Redis events/s on one core, nothing lost, lists of 24",
        "sustained-24",
        "highest rate sustained, events/s",
    ),
    (
        "Redis events/s on one core, nothing lost, lists of 3",
        "sustained-3",
        "highest rate sustained, events/s",
    ),
    ("ms to encode 100,000 series", "scrapes-100000", "text, CPU ms"),
    ("ms to encode them with prometheus_client", "scrapes-100000", "text by prometheus_client, CPU ms"),
    ("ms for 99 % of scrapes of 10,000 series, at 20,000 events/s", "scraped", "99 % of scrapes within, ms"),
    ("MB for 1,000,000 tasks in flight", "in-flight", "MB for them"),
)
_BLOCK: Final = re.compile(r"(<!-- result: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)

Results = Mapping[str, Result]


def shown(value: Value, form: str = "") -> str:
    """A value in text; a number in this format, or with three digits at the least."""
    if isinstance(value, Spread):
        return f"{value.median:{form}} ({value.min:{form}} - {value.max:{form}})"
    if isinstance(value, float) and not form:
        form = ",.2f" if value < 10 else ",.1f" if value < 100 else ",.0f"  # noqa: PLR2004 - digits
    return value if isinstance(value, str) else "failed" if value is None else f"{value:{form or ','}}"


def table(columns: Mapping[str, str], rows: Iterable[Sequence[Value]]) -> str:
    """A table in Markdown; columns with a format are aligned to the right."""
    lines = [list(columns), ["---:" if form else "---" for form in columns.values()]]
    lines += [[shown(*cell) for cell in zip(row, columns.values(), strict=True)] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def section(result: Result) -> str:
    """A result: its facts, how it was measured, its tables."""
    facts = "\n".join(f"- {name}: {shown(value)}" for name, value in result.facts.items())
    took = f" in {result.seconds:.0f} s" if result.seconds else ""
    made = f"- measured on {result.date}{took} by `{result.command}`"
    return "\n\n".join([f"{facts}\n{made}", *(table(each.columns, each.rows) for each in result.tables)])


def environment(results: Iterable[Result]) -> str:
    """What results were measured on; where it changed in between, all that it was."""
    found: dict[str, set[str]] = {}
    for result in results:
        found.setdefault("machine", set()).add(result.machine)
        found.setdefault("Python", set()).add(result.python)
        for name, versions in result.versions.items():
            found.setdefault(name, set()).add(", ".join(map(" ".join, versions.items())))
    texts = {name: " / ".join(sorted(values - {""})) for name, values in found.items()}
    return "\n".join(f"- {name}: {text}" for name, text in texts.items() if text)


def targets(results: Results) -> str:
    """What was aimed at, and whether it was reached."""
    rows = []
    for target in TARGETS:
        bound = "at most " if target.at_most else ""
        aims = [f"{bound}{aim:,g}{target.unit}" for aim in (target.goal, target.stretch)]
        value = target.measured(results)
        measured = shown(value) if value is None else f"{shown(value)}{target.unit}"
        rows.append([target.what, *aims, measured, target.verdict(value)])
    return table({"what": "", "aimed at": ",", "stretch": ",", "measured": ",", "reached": ""}, rows)


def cost(results: Results) -> str:
    """What the README quotes: CPU time of an event by consumer and stream, and the other figures."""
    costs: dict[Value, dict[str, Value]] = {}
    for name in COSTS:
        for consumer, spread, *_ in results[name].tables[0].rows:
            costs.setdefault(consumer, {})[name] = spread
    compared = [[consumer, *(found.get(name, "") for name in COSTS)] for consumer, found in costs.items()]
    others = [[title, results[name].facts[fact]] for title, name, fact in FIGURES]
    tables = [
        table({"consumer": "", **dict.fromkeys(COSTS.values(), ",.1f")}, compared),
        table({"other figures": "", "measured": ",.0f"}, others),
    ]
    return "\n\n".join(tables)


def _columns(results: Results) -> dict[str, Result]:
    """The results of `make matrix` by column, in the order of these."""
    return {name: results[f"matrix-{name}"] for name in COLUMNS if f"matrix-{name}" in results}


def compatibility(results: Results) -> str:
    """What `make matrix` found: what each column ran with, and what came of it by subject."""
    found = _columns(results)
    if not found:
        return "No column was run yet."
    ran = [
        [
            name,
            *(", ".join(map(" ".join, result.versions[kind].items())) for kind in ("servers", "libraries")),
            *(result.facts[outcome] for outcome in ("passed", "failed", "skipped")),
            f"{result.date}, {result.seconds / 60:.0f} min",
        ]
        for name, result in found.items()
    ]
    counts = {name: {str(row[0]): row[1:] for row in result.tables[0].rows} for name, result in found.items()}
    subjects = list(dict.fromkeys(subject for rows in counts.values() for subject in rows))
    by_subject = [
        [name, *(_of(*rows[subject]) if subject in rows else "" for subject in subjects)]
        for name, rows in counts.items()
    ]
    outcomes = {"passed": ",", "failed": ",", "skipped": ","}
    return "\n\n".join(
        [
            table({"column": "", "servers": "", "Python and libraries": "", **outcomes, "run": ""}, ran),
            table({"column": "", **dict.fromkeys(subjects, "")}, by_subject),
        ]
    )


def _of(passed: Value, failed: Value, skipped: Value) -> str:
    return (
        f"{passed}" + (f", {failed} failed" if failed else "") + (f", {skipped} skipped" if skipped else "")
    )


def tested(results: Results) -> str:
    """The README's table of versions: all that the columns without a failed test ran with."""
    names = ("Celery", "Python", "RabbitMQ", "Redis", "Valkey", "Prometheus", "Alertmanager")
    found: dict[str, dict[str, None]] = {name: {} for name in names}
    for result in _columns(results).values():
        if not result.facts["failed"]:
            for versions in result.versions.values():
                for name in names & versions.keys():
                    found[name][versions[name]] = None
    rows = [[name, ", ".join(sorted(versions, key=_parts))] for name, versions in found.items()]
    return table({"": "", "tested with": ""}, rows)


def _parts(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def native(results: Results) -> str:
    """What the README says of native histograms: series in Prometheus, and how wrong a quantile is."""
    if "histograms" not in results:
        return "Not measured yet."
    result = results["histograms"]
    _, servers, errors = result.tables
    series = {row[0]: row[list(servers.columns).index("series")] for row in servers.rows}
    quantiles = {row[0]: dict(zip(errors.columns, row, strict=True)) for row in errors.rows}
    wrong = quantiles["log-normal, p95"]
    off = {
        kind: f"{shown(wrong[f'{kind}, median, %'], ',.1f')} % (at worst {shown(wrong[f'{kind}, worst, %'], ',.0f')} %)"
        for kind in ("native", "classic")
    }
    version = " ".join(each.partition("+")[0] for each in result.versions["Prometheus"].values())
    return (
        f"With 1,000 (task, queue), Prometheus {version} holds {shown(series['native'])} series if it takes native "
        f"histograms, and {shown(series['classic'])} with classic ones. Its p95 of log-normal run times is off by "
        f"{off['native']}, instead of {off['classic']}: [measured](benchmarks/HISTOGRAMS.md)."
    )


SUMMARIES: Final = {
    "targets": targets,
    "cost": cost,
    "compatibility": compatibility,
    "tested": tested,
    "native": native,
}


def fill(page: str, results: Results) -> str:
    """The text of a page with its blocks written anew."""
    own = [results[name] for _, name, _ in _BLOCK.findall(page) if name in results]

    def block(marked: re.Match[str]) -> str:
        begin, name, end = marked.groups()
        if name == "environment":
            text = environment(own)
        else:
            text = SUMMARIES[name](results) if name in SUMMARIES else section(results[name])
        return f"{begin}\n{text}\n\n{end}"

    return _BLOCK.sub(block, page)


def main() -> None:
    """Write all pages anew."""
    results = read(FOLDER)
    for page in PAGES:
        page.write_text(fill(page.read_text(encoding="utf-8"), results), encoding="utf-8")


if __name__ == "__main__":
    main()
