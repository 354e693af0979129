"""What a benchmark found, as a file of JSON: facts and tables, with when, where and how they were measured."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final, Self

import msgspec

#: A line break within a row of a table, so that a row can stand in one line.
_WITHIN_ROW: Final = re.compile(rb"\n {5,}|\n {4}(?=[\]}])")


class Spread(msgspec.Struct, frozen=True):
    """One number of many: their median, and the smallest and the largest of them."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Sum up values, of which there must be some."""
        return cls(median(values), min(values), max(values))


#: None stands for a number that could not be measured.
Value = Spread | int | float | str | None


class Table(msgspec.Struct, frozen=True):
    """Rows of values.

    Attributes:
        columns: the format of the numbers in each column (see :func:`format`) by its title; empty for text.
        rows: a value for each column; the first names the row.
    """

    columns: Mapping[str, str]
    rows: Sequence[Sequence[Value]]


def _today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"


def _machine() -> str:
    cpus = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next(
        (line.partition(":")[2].strip() for line in cpus if line.startswith("model name")), platform.machine()
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}"


def _python() -> str:
    return f"{platform.python_implementation()} {platform.python_version()}"


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """All of one benchmark.

    Attributes:
        facts: single values by what they say, headline figures among them.
        tables: the others.
        versions: of libraries, by what ran on them.
        command: that measures it again.
        seconds: that this took; 0 where nobody looked.
        date, machine, python: when and where.
    """

    facts: Mapping[str, int | float | str | None]
    tables: Sequence[Table] = ()
    versions: Mapping[str, Mapping[str, str]] = {}
    command: str = ""
    seconds: float = 0.0
    date: str = msgspec.field(default_factory=_today)
    machine: str = msgspec.field(default_factory=_machine)
    python: str = msgspec.field(default_factory=_python)


def write(folder: Path, name: str, result: Result) -> None:
    """Write a result in the place of an older one."""
    text = msgspec.json.format(msgspec.json.encode(result), indent=1)
    text = _WITHIN_ROW.sub(b" ", text) + b"\n"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_bytes(text)


def read(folder: Path) -> dict[str, Result]:
    """Read all results, by name."""
    return {
        file.stem: msgspec.json.decode(file.read_bytes(), type=Result)
        for file in sorted(folder.glob("*.json"))
    }
