"""The command as Celery loads it: what it imports, and what it says when the exporter cannot be imported."""

import json
import subprocess
import sys

import click
import pytest

from celery_metrics_exporter import cli
from celery_metrics_exporter.cli.celery_command import exporter


def test_loading_it_imports_next_to_nothing() -> None:
    """The standard library and click, which celery needs itself, and of ours nothing but the way to this module."""
    code = (
        "import click, json, sys\nbefore = set(sys.modules)\n"
        "import celery_metrics_exporter.cli.celery_command\n"
        "new = (name for name in set(sys.modules) - before if name.partition('.')[0] not in sys.stdlib_module_names)\n"
        "print(json.dumps(sorted(new)))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(ended.stdout) == [
        "celery_metrics_exporter",
        "celery_metrics_exporter.cli",
        "celery_metrics_exporter.cli.celery_command",
    ]


def test_exporter_that_cannot_be_imported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line and exit code 1, when the command is called."""
    monkeypatch.setitem(sys.modules, "celery_metrics_exporter.cli.celery_plugin", None)
    monkeypatch.delattr(cli, "celery_plugin", raising=False)
    with pytest.raises(click.exceptions.Exit) as ended:
        exporter.make_context("exporter", [])
    assert ended.value.exit_code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("celery exporter: error: the exporter cannot be imported: ")
    assert "celery_plugin" in line
