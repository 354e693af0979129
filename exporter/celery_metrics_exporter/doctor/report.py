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
from typing import TYPE_CHECKING, Any, Final, Protocol, TextIO

from celery_metrics_exporter.doctor.results import exit_code
from celery_metrics_exporter.status_page.findings import Level

if TYPE_CHECKING:
    from celery_metrics_exporter.status_page.findings import Finding

#: What a check can come to; a note is no trouble, see ``results.together``.
_LEVELS: Final = (Level.OK, Level.WARNING, Level.FAILED, Level.SKIPPED)
_COLOURS: Final = dict(zip(_LEVELS, ("32", "33", "31", "2"), strict=True))
_LEVEL_WIDTH: Final = max(map(len, _LEVELS))
_TITLE_WIDTH: Final = 19
_INDENT: Final = " " * (_LEVEL_WIDTH + 2)


class Report(Protocol):
    """Takes what checks came to, in their order."""

    def begin(self, broker: str) -> None:
        """Name the broker, by its URL without a password."""

    def add(self, title: str, finding: Finding) -> None:
        """Take what the check of this title came to."""

    def end(self) -> None:
        """All have been taken."""


class TextReport:
    """A line for each check, as soon as it is made; remedies below it."""

    def __init__(self, out: TextIO, *, colour: bool) -> None:
        self._out = out
        self._colour = colour
        self._counts: Counter[Level] = Counter()

    def begin(self, broker: str) -> None:
        """Say what is looked at."""
        self._line(f"broker {broker}\n")

    def add(self, title: str, finding: Finding) -> None:
        """Write it."""
        self._counts[finding.level] += 1
        level = self._painted(finding.level, f"{finding.level:<{_LEVEL_WIDTH}}")
        self._line(f"{level}  {title:<{_TITLE_WIDTH}}  {finding.title}")
        if finding.remedy:
            self._line(f"{_INDENT}-> {finding.remedy}")
        if finding.command:
            self._line(f"{_INDENT}   {finding.command}")

    def end(self) -> None:
        """Sum up."""
        counts = {level: self._counts[level] for level in _LEVELS if self._counts[level]}
        parts = (self._painted(level, f"{number} {level}") for level, number in counts.items())
        self._line(f"\n{', '.join(parts)}")

    def _painted(self, level: Level, text: str) -> str:
        return f"\033[{_COLOURS[level]}m{text}\033[0m" if self._colour else text

    def _line(self, text: str) -> None:
        self._out.write(f"{text}\n")
        self._out.flush()


class JsonReport:
    """One document at the end."""

    def __init__(self, out: TextIO, *, version: str) -> None:
        self._out = out
        self._version = version
        self._broker = ""
        self._found: list[tuple[str, Finding]] = []

    def begin(self, broker: str) -> None:
        """Keep the name."""
        self._broker = broker

    def add(self, title: str, finding: Finding) -> None:
        """Keep it."""
        self._found.append((title, finding))

    def end(self) -> None:
        """Write all."""
        findings = [finding for _, finding in self._found]
        counts = Counter(finding.level for finding in findings)
        document = {
            "version": self._version,
            "broker": self._broker,
            "exit_code": exit_code(findings),
            "summary": {level: counts[level] for level in _LEVELS},
            "checks": [_entry(title, finding) for title, finding in self._found],
        }
        self._out.write(f"{json.dumps(document, indent=2, ensure_ascii=False)}\n")
        self._out.flush()


def _entry(title: str, finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.key,
        "title": title,
        "status": finding.level,
        "message": finding.title,
        "remedy": finding.remedy or None,
        "command": finding.command or None,
    }
