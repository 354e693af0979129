"""What a check found: one of four states, a line, and what to do about it.

Owns: the shape of findings, and the exit code that follows from them. Must not know: what is checked, how it is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Status(StrEnum):
    """The state of one link of the chain."""

    OK = "ok"
    WARNING = "warning"  # metrics come, but not all of them, or they may mislead
    FAILED = "failed"  # metrics do not come
    SKIPPED = "skipped"  # not checked; the message says why


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one check came to.

    Attributes:
        status: the state.
        message: one line, in which secrets may stand still.
        remedy: what to change, without secrets; empty where nothing is to be done.
        command: a line to type, word for word, that does it; may be empty.
        blocked: it could not be checked because something before it failed.
    """

    status: Status
    message: str
    remedy: str = ""
    command: str = ""
    blocked: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict with the check that it belongs to; texts are free of secrets and control characters."""

    check: str
    title: str
    status: Status
    message: str
    remedy: str = ""
    command: str = ""


def ok(message: str) -> Verdict:
    """All is well."""
    return Verdict(Status.OK, message)


def warning(message: str, remedy: str, command: str = "") -> Verdict:
    """Something is missing or may mislead."""
    return Verdict(Status.WARNING, message, remedy, command)


def failed(message: str, remedy: str, command: str = "") -> Verdict:
    """This link of the chain is broken."""
    return Verdict(Status.FAILED, message, remedy, command)


def skipped(message: str, remedy: str = "", command: str = "") -> Verdict:
    """It was not checked."""
    return Verdict(Status.SKIPPED, message, remedy, command)


def joined(verdicts: Iterable[Verdict | None]) -> Verdict | None:
    """Several troubles that one check has found, as one; None without any. The first command stands for all."""
    troubles = [verdict for verdict in verdicts if verdict is not None]
    if not troubles:
        return None
    return Verdict(
        Status.FAILED if any(each.status is Status.FAILED for each in troubles) else Status.WARNING,
        "; besides, ".join(each.message for each in troubles),
        "; besides, ".join(each.remedy for each in troubles if each.remedy),
        next((each.command for each in troubles if each.command), ""),
    )


def exit_code(findings: Iterable[Finding]) -> int:
    """1 when anything failed, else 0."""
    return int(any(finding.status is Status.FAILED for finding in findings))
