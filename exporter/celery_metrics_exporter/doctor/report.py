"""How findings are written: lines for people, or one JSON document for machines; both say the same.

The document, whose names stay as they are::

    {"version": "0.1.0", "broker": "redis://:***@host:6379/0", "exit_code": 1,
     "summary": {"ok": 9, "warning": 1, "failed": 1, "skipped": 8},
     "checks": [{"id": "login", "title": "login", "status": "failed", "message": "...", "remedy": "...",
                 "command": "..."}, ...]}

``remedy`` and ``command`` are null where there is none.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from celery_metrics_exporter import __version__
from celery_metrics_exporter.status_page.findings import Finding, Level

#: What a check can come to; a note is no trouble, see ``results.together``.
_COLOURS: Final = {Level.OK: "32", Level.WARNING: "33", Level.FAILED: "31", Level.SKIPPED: "2"}
_LEVEL_WIDTH: Final = max(map(len, _COLOURS))
_TITLE_WIDTH: Final = 19
_INDENT: Final = " " * (_LEVEL_WIDTH + 2)


def lines_of(title: str, finding: Finding, *, colour: bool) -> str:
    """A line for what the check of this title came to, and one each for its remedy and its command."""
    level = _painted(finding.level, f"{finding.level:<{_LEVEL_WIDTH}}", colour=colour)
    lines = [f"{level}  {title:<{_TITLE_WIDTH}}  {finding.title}"]
    if finding.remedy:
        lines.append(f"{_INDENT}-> {finding.remedy}")
    if finding.command:
        lines.append(f"{_INDENT}   {finding.command}")
    return "\n".join(lines)


def summary_of(findings: Iterable[Finding], *, colour: bool) -> str:
    """How many checks came to what, in one line."""
    counts = _counts(findings)
    return ", ".join(
        _painted(level, f"{number} {level}", colour=colour) for level, number in counts.items() if number
    )


def document_of(broker: str, found: Mapping[str, Finding]) -> str:
    """The document; ``broker``: its URL without a password, ``found``: what checks came to, by their titles."""
    document = {
        "version": __version__,
        "broker": broker,
        "exit_code": exit_code(found.values()),
        "summary": _counts(found.values()),
        "checks": [
            {
                "id": finding.key,
                "title": title,
                "status": finding.level,
                "message": finding.title,
                "remedy": finding.remedy or None,
                "command": finding.command or None,
            }
            for title, finding in found.items()
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def exit_code(findings: Iterable[Finding]) -> int:
    """1 when anything failed, else 0."""
    return int(any(finding.level is Level.FAILED for finding in findings))


def _counts(findings: Iterable[Finding]) -> dict[Level, int]:
    counts = Counter(finding.level for finding in findings)
    return {level: counts[level] for level in _COLOURS}


def _painted(level: Level, text: str, *, colour: bool) -> str:
    return f"\033[{_COLOURS[level]}m{text}\033[0m" if colour else text
