"""How findings are written: lines for people, or one JSON document for machines; both say the same.

Owns: form and colours. Must not know: checks.

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
from typing import TYPE_CHECKING, Final, Protocol, TextIO

from celery_metrics_exporter.doctor.findings import Finding, Status, exit_code

if TYPE_CHECKING:
    from collections.abc import Sequence

_COLOURS: Final = {Status.OK: "32", Status.WARNING: "33", Status.FAILED: "31", Status.SKIPPED: "2"}
_STATUS_WIDTH: Final = max(map(len, Status))
_TITLE_WIDTH: Final = 19
_INDENT: Final = " " * (_STATUS_WIDTH + 2)


class Report(Protocol):
    """Takes findings in their order."""

    def begin(self, broker: str) -> None:
        """Name the broker, by its URL without a password."""

    def add(self, finding: Finding) -> None:
        """Take the next one."""

    def end(self, findings: Sequence[Finding]) -> None:
        """All have been taken."""


class TextReport:
    """A line for each finding, as soon as it is there; remedies below it."""

    def __init__(self, out: TextIO, *, colour: bool) -> None:
        self._out = out
        self._colour = colour

    def begin(self, broker: str) -> None:
        """Say what is looked at."""
        self._line(f"broker {broker}\n")

    def add(self, finding: Finding) -> None:
        """Write it."""
        status = self._painted(finding.status, f"{finding.status:<{_STATUS_WIDTH}}")
        self._line(f"{status}  {finding.title:<{_TITLE_WIDTH}}  {finding.message}")
        if finding.remedy:
            self._line(f"{_INDENT}-> {finding.remedy}")
        if finding.command:
            self._line(f"{_INDENT}   {finding.command}")

    def end(self, findings: Sequence[Finding]) -> None:
        """Sum up."""
        counts = Counter(finding.status for finding in findings)
        parts = (self._painted(status, f"{counts[status]} {status}") for status in Status if counts[status])
        self._line(f"\n{', '.join(parts)}")

    def _painted(self, status: Status, text: str) -> str:
        return f"\033[{_COLOURS[status]}m{text}\033[0m" if self._colour else text

    def _line(self, text: str) -> None:
        self._out.write(f"{text}\n")
        self._out.flush()


class JsonReport:
    """One document at the end."""

    def __init__(self, out: TextIO, *, version: str) -> None:
        self._out = out
        self._version = version
        self._broker = ""

    def begin(self, broker: str) -> None:
        """Keep the name."""
        self._broker = broker

    def add(self, finding: Finding) -> None:
        """Wait for the others."""

    def end(self, findings: Sequence[Finding]) -> None:
        """Write all."""
        counts = Counter(finding.status for finding in findings)
        document = {
            "version": self._version,
            "broker": self._broker,
            "exit_code": exit_code(findings),
            "summary": {status: counts[status] for status in Status},
            "checks": [
                {
                    "id": finding.check,
                    "title": finding.title,
                    "status": finding.status,
                    "message": finding.message,
                    "remedy": finding.remedy or None,
                    "command": finding.command or None,
                }
                for finding in findings
            ],
        }
        self._out.write(f"{json.dumps(document, indent=2, ensure_ascii=False)}\n")
        self._out.flush()
