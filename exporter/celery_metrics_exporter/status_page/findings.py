"""A finding: something that cannot be known, or is known to be wrong, why, and what to do about it.

The status page and the doctor show the same findings, in the same words. Which ones there are stands in ``missing``
and ``missing_work``; the doctor has some more of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Final

from celery_metrics_exporter.status_page.snapshot_tables import NOBODY, Top


class Level(StrEnum):
    """How bad it is, the worst first. The last two are for what was checked and is no finding."""

    FAILED = "failed"  # numbers stand still, are wrong or do not come
    WARNING = "warning"  # somebody should look
    NOTE = "note"  # it is so by choice or by nature
    OK = "ok"
    SKIPPED = "skipped"  # not checked; the title says why


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding.

    Attributes:
        level: how bad it is.
        key: names it, in the anchor too.
        title: what it is, in a few words.
        remedy: what to do; empty where nothing is to be done. Text between backticks is to be typed as it stands.
        command: a line to type that repairs it, or shows more; may hold names of queues.
        names: workers, queues or tasks that it concerns.
        quote: what a library said.
    """

    level: Level
    key: str
    title: str
    remedy: str = ""
    command: str = ""
    names: Top[str] = NOBODY
    quote: str | None = None


failed: Final = partial(Finding, Level.FAILED)
warning: Final = partial(Finding, Level.WARNING)
note: Final = partial(Finding, Level.NOTE)


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """The worst first."""
    levels = list(Level)
    return sorted(findings, key=lambda finding: levels.index(finding.level))


def count(number: int, one: str, many: str | None = None) -> str:
    """The number with its noun, such as ``1 worker`` or ``2,000 workers``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
