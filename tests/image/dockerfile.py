"""The Dockerfile as data: its instructions, and what the checks of the source and of the built image both name."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "Dockerfile"


class Instruction(NamedTuple):
    """One instruction, such as ``COPY``, and what follows it, on one line."""

    name: str
    text: str


def stages() -> list[list[Instruction]]:
    """The Dockerfile's build stages; before them, what stands above the first FROM."""
    text = "\n".join(
        line for line in DOCKERFILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")
    )
    found: list[list[Instruction]] = [[]]
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if not line.strip():
            continue
        name, _, rest = line.partition(" ")
        if name == "FROM":
            found.append([])
        found[-1].append(Instruction(name, rest))
    return found


def base_image() -> str:
    """The image that the first stage is built on unless told otherwise."""
    (default,) = [one.text for one in stages()[0] if one.text.startswith("PYTHON_IMAGE=")]
    return default.partition("=")[2]
