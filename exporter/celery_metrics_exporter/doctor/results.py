"""What a check comes to: one finding, made of its own words or of what the status page says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from celery_metrics_exporter.status_page.findings import Finding, Level, in_order
from celery_metrics_exporter.status_page.snapshot_tables import NOBODY

ok: Final = partial(Finding, Level.OK, "")
#: Something is missing or may mislead.
warning: Final = partial(Finding, Level.WARNING, "")
#: Metrics do not come.
failed: Final = partial(Finding, Level.FAILED, "")
#: It was not checked.
skipped: Final = partial(Finding, Level.SKIPPED, "")


def together(found: Sequence[Finding], otherwise: Finding) -> Finding:
    """One finding for all that a check found: as bad as the worst, with the first command.

    Notes are no trouble: with nothing but them it is ``otherwise``, with their texts added.
    """
    ordered = in_order(found)
    if not any(each.level in (Level.FAILED, Level.WARNING) for each in ordered):
        ordered = [otherwise, *ordered]
    return replace(
        ordered[0],
        title="; besides: ".join(map(in_one_line, ordered)),
        remedy=" Besides: ".join(f"{each.remedy.rstrip('.')}." for each in ordered if each.remedy),
        names=NOBODY,
        quote=None,
        command=next((each.command for each in ordered if each.command), ""),
    )


def in_one_line(finding: Finding) -> str:
    """What the finding says, with the names that it concerns and the words of a library."""
    names = f": {listed(finding.names.rows, total=finding.names.total)}" if finding.names.total else ""
    quote = f" ({finding.quote})" if finding.quote else ""
    return f"{finding.title}{names}{quote}"


def listed(names: Iterable[object], most: int = 5, *, total: int | None = None) -> str:
    """Some names in one line; of many the first ones. ``total``: how many there are, if not all are given."""
    every = list(map(str, names))
    more = (len(every) if total is None else total) - min(most, len(every))
    return ", ".join(every[:most]) + (f" and {more:,} more" if more > 0 else "")
