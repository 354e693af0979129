"""What the exporter needs at run time: pyproject.toml's dependencies, and theirs, as installed here."""

import re
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.image.dockerfile import ROOT

#: Needed by Pythons that are older than the one that runs this: redis-py asks for it below 3.11.3 (Debian 12's).
ON_OLDER_PYTHON = {"async-timeout"}


def direct() -> list[Requirement]:
    """What pyproject.toml asks for, extras for users left out."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [Requirement(line) for line in project["dependencies"]]


def needed(asked: Iterable[Requirement] | None = None) -> dict[str, set[str]]:
    """All that is needed: canonical name -> the names of those that ask for it; an empty one is the exporter.

    Args:
        asked: what to begin with, instead of what pyproject.toml asks for.
    """
    askers: dict[str, set[str]] = {}
    todo = [("", requirement) for requirement in (direct() if asked is None else asked)]
    seen: set[tuple[str, str]] = set()
    while todo:
        asker, requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        askers.setdefault(name, set()).add(asker)
        for extra in ("", *requirement.extras):
            if (name, extra) not in seen:
                seen.add((name, extra))
                todo += [(name, one) for one in _asked_for(name, extra)]
    return askers


def _asked_for(name: str, extra: str) -> Iterator[Requirement]:
    for line in distribution(name).requires or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement


def pinned() -> dict[str, str]:
    """Canonical name -> version, from constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def listed() -> dict[str, list[str]]:
    """The rows of docs/supply-chain.md's table of distributions: canonical name -> the other cells."""
    text = (ROOT / "docs" / "supply-chain.md").read_text(encoding="utf-8")
    table = text.partition("| distribution |")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return {canonicalize_name(row[0].split()[0]): row[1:] for row in rows}


def licence_families(name: str) -> set[str]:
    """The kinds of licence (MIT, BSD, Apache, PSF) that the installed distribution's own metadata names."""
    metadata = distribution(name).metadata
    said = [one for field in ("License", "License-Expression") for one in metadata.get_all(field) or []]
    said += [one for one in metadata.get_all("Classifier") or [] if one.startswith("License ::")]
    return set(re.findall(r"\b(MIT|BSD|Apache|PSF)\b", " ".join(said)))
