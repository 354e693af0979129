"""Results in files, one for each part, so that a page can be made of parts that were measured at different times.

Owns: the files. Must not know: what a result is.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.machine import Machine
from benchmarks.parts import PARTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A result, with when, where, how and in how many seconds it was made."""

    date: str
    seconds: float
    command: str
    machine: Machine
    result: Any


def keep(folder: Path, part: str, kept: Kept) -> None:
    """Write a result in the place of an older one."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{part}.json").write_bytes(msgspec.json.format(msgspec.json.encode(kept), indent=1))


def read(folder: Path, parts: Iterable[str] = PARTS) -> Mapping[str, Kept]:
    """Read those of these parts that have a result, in their order."""
    return {part: _read(file, part) for part in parts if (file := folder / f"{part}.json").exists()}


def _read(file: Path, part: str) -> Kept:
    kept = msgspec.json.decode(file.read_bytes(), type=Kept)
    return Kept(
        date=kept.date,
        seconds=kept.seconds,
        command=kept.command,
        machine=kept.machine,
        result=msgspec.convert(kept.result, PARTS[part].kind),
    )
