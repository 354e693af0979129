"""A finding: something that cannot be known, or is known to be wrong, why, and what to write instead.

Owns: its shape and its rank. Which ones there are stands in ``missing``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from celery_metrics_exporter.status_page.snapshot import NOBODY, Top

if TYPE_CHECKING:
    from collections.abc import Iterable

Level = Literal["fault", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is missing.

    Attributes:
        key: names it, in the anchor too.
        level: ``fault``: numbers stand still or are wrong; ``warning``: somebody should look; ``note``: it is so by
            choice or by nature.
        title: what, in a few words.
        remedy: what to do. Text between backticks is to be typed as it stands. These two are our words alone;
        names: whom it concerns, and
        quote: what a library said: words of others.
    """

    key: str
    level: Level
    title: str
    remedy: str
    names: Top[str] = NOBODY
    quote: str | None = None


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """The worst first."""
    ranks: dict[Level, int] = {"fault": 0, "warning": 1, "note": 2}
    return sorted(findings, key=lambda finding: ranks[finding.level])


def count(number: int, one: str, many: str | None = None) -> str:
    """The number with its noun, such as ``1 worker`` or ``2,000 workers``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
