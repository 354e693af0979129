"""How findings are written, and what is shown while one waits."""

import io
import json
import os
import pty
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import TextIO

import pytest

from celery_metrics_exporter import __version__
from celery_metrics_exporter.doctor import progress
from celery_metrics_exporter.doctor.progress import doing
from celery_metrics_exporter.doctor.report import document_of, exit_code, lines_of, summary_of
from celery_metrics_exporter.doctor.results import (
    failed,
    in_one_line,
    ok,
    skipped,
    together,
    warning,
)
from celery_metrics_exporter.status_page.findings import Finding, Level
from celery_metrics_exporter.status_page.snapshot_tables import Top
from tests.waiting import wait_for

FINDINGS = {
    "connection": replace(ok("it answers"), key="tcp"),
    "TLS": replace(warning("not checked", "check it"), key="tls"),
    "login": replace(failed("refused", "let us in", "ACL SETUSER celery-exporter on"), key="login"),
    "workers": replace(skipped("needs: login"), key="workers"),
}


def text_of(*, colour: bool) -> str:
    """The report in lines."""
    lines = [lines_of(title, finding, colour=colour) for title, finding in FINDINGS.items()]
    return "\n".join([*lines, summary_of(FINDINGS.values(), colour=colour)])


def test_text() -> None:
    """A line for each finding, its remedy and its command below it, and the sums."""
    assert text_of(colour=False) == (
        "ok       connection           it answers\n"
        "warning  TLS                  not checked\n"
        "         -> check it\n"
        "failed   login                refused\n"
        "         -> let us in\n"
        "            ACL SETUSER celery-exporter on\n"
        "skipped  workers              needs: login\n"
        "1 ok, 1 warning, 1 failed, 1 skipped"
    )


def test_colours() -> None:
    """Each state has a colour, and without colours the text is the same."""
    coloured = text_of(colour=True)
    for code, status in ((32, "ok"), (33, "warning"), (31, "failed"), (2, "skipped")):
        assert f"\033[{code}m{status:<7}\033[0m  " in coloured
    plain = coloured
    for code in (32, 33, 31, 2, 0):
        plain = plain.replace(f"\033[{code}m", "")
    assert plain == text_of(colour=False)


def test_json() -> None:
    """The document says what the lines say, under names that stay."""
    document = json.loads(document_of("redis://host", FINDINGS))
    assert {name: document[name] for name in ("version", "broker", "exit_code", "summary")} == {
        "version": __version__,
        "broker": "redis://host",
        "exit_code": 1,
        "summary": {"ok": 1, "warning": 1, "failed": 1, "skipped": 1},
    }
    assert document["checks"][2] == {
        "id": "login",
        "title": "login",
        "status": "failed",
        "message": "refused",
        "remedy": "let us in",
        "command": "ACL SETUSER celery-exporter on",
    }
    assert document["checks"][0]["remedy"] is None


def test_exit_codes() -> None:
    """A warning does not fail, and what was skipped does not."""
    assert exit_code(FINDINGS.values()) == 1
    assert exit_code([finding for finding in FINDINGS.values() if finding.level is not Level.FAILED]) == 0


def test_several_findings_of_one_check() -> None:
    """They are one, as bad as the worst of them, which comes first; notes are told too."""
    note = Finding(Level.NOTE, "n", "c", "do c.")
    both = together((warning("a", "do a"), note, failed("b", "do b", "run b")), ok("well"))
    assert (both.level, both.title, both.remedy, both.command) == (
        Level.FAILED,
        "b; besides: a; besides: c",
        "do b. Besides: do a. Besides: do c.",
        "run b",
    )


def test_notes_are_no_trouble() -> None:
    """A check with nothing but notes comes to what it comes to without them."""
    note = Finding(Level.NOTE, "n", "c", "do c.")
    well = together((note,), ok("well"))
    assert (well.level, well.title, well.remedy) == (Level.OK, "well; besides: c", "do c.")
    assert together((), skipped("why")) == skipped("why")


def test_a_finding_in_one_line() -> None:
    """The names that it concerns, as many as are known of how many there are, and the words of a library."""
    finding = Finding(Level.WARNING, "k", "Off", "do", names=Top(("a", "b"), 1_007), quote="NOPERM")
    assert in_one_line(finding) == "Off: a, b and 1,005 more (NOPERM)"
    assert in_one_line(ok("well")) == "well"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[TextIO, int]]:
    """The end of a terminal that a program writes to, and the one from which its screen is read."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 0.05)
    master, slave = pty.openpty()
    os.set_blocking(master, False)
    with closing(os.fdopen(slave, "w")) as out:
        yield out, master
    os.close(master)


def read(master: int) -> str:
    """What the program wrote since the last look."""
    try:
        return os.read(master, 65536).decode()
    except BlockingIOError:
        return ""


def test_progress_on_a_terminal(terminal: tuple[TextIO, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes its time is shown, and erased at the end."""
    out, master = terminal
    shown = ""

    def see() -> bool:
        nonlocal shown
        shown += read(master)
        return "... listening" in shown

    monkeypatch.setattr(sys, "stderr", out)
    with doing("listening", seconds=9):
        wait_for(see, timeout=5, what="a word about the wait")
    shown += read(master)
    assert "of 9 s)" in shown
    assert shown.endswith("\r\033[K")


def test_progress_of_what_is_quick(terminal: tuple[TextIO, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is over at once is not worth a word."""
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 60.0)
    out, master = terminal
    monkeypatch.setattr(sys, "stderr", out)
    with doing("nothing"):
        pass
    assert not read(master)


def test_progress_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe and a dumb terminal see nothing."""
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 0.0)
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    with doing("listening"):
        time.sleep(0)
    assert not out.getvalue()
