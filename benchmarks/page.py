"""The page of all results."""

from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.kept import Kept
from benchmarks.markdown import bullets, paragraph
from benchmarks.parts import CHAPTERS, PARTS
from benchmarks.targets import summary


def page(kept: Mapping[str, Kept]) -> str:
    """Everything: what was aimed at, where it was measured, and a chapter for each kind of part."""
    results = {part: each.result for part, each in kept.items()}
    sections = [
        "# What the exporter costs, and what others do",
        "Made by `make bench`.",
        "## What was aimed at, what was measured",
        summary(results),
        "## Where and when",
        bullets(_environment(kept)),
        *_chapters(results),
        "## Commands",
        "Each part can be measured alone; with `--output` its result takes the place of the last one.",
        bullets(f"{each.date}, {each.seconds:.0f} s: `{each.command}`" for each in kept.values()),
    ]
    return "\n\n".join(sections) + "\n"


def _chapters(results: Mapping[str, Any]) -> Iterable[str]:
    for chapter, method in CHAPTERS.items():
        parts = [part for part in results if PARTS[part].chapter == chapter]
        if parts:
            yield f"## {chapter}"
            if method:
                yield method
            for part in parts:
                yield from PARTS[part].sections(results[part])


def _environment(kept: Mapping[str, Kept]) -> Iterable[str]:
    dates = sorted({each.date for each in kept.values()})
    yield (
        f"Date: {dates[-1]}"
        if len(dates) == 1
        else paragraph(
            f"Parts were measured on different days, {dates[0]} to {dates[-1]}: see the end of this page."
        )
    )
    for name, values in (
        ("Machine", {each.machine.hardware for each in kept.values()}),
        ("Python", {each.machine.python for each in kept.values()}),
        *versions(each.result for each in kept.values()).items(),
    ):
        yield f"{name}: {' / '.join(sorted(values))}"


def versions(results: Iterable[Any]) -> dict[str, set[str]]:
    """What each consumer ran on, as far as results tell: more than one text where that changed in between."""
    found: dict[str, set[str]] = {}
    for result in results:
        for consumer, libraries in getattr(result, "versions", {}).items():
            text = ", ".join(f"{name} {version}" for name, version in libraries.items())
            found.setdefault(consumer, set()).add(text)
    return found
