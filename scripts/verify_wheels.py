#!/usr/bin/env python3
"""Ends with an error unless each wheel of a folder is one of those that were tested: its name and hash stand in a list.

usage: verify_wheels.py LIST FOLDER (in the build stage of the Dockerfile; the list is wheels.sha256)
"""

import hashlib
import sys
from pathlib import Path


def main(listed: Path, folder: Path) -> None:
    """Compare all; each that differs is named."""
    lines = listed.read_text(encoding="ascii").splitlines()
    known = {name: sha256 for sha256, name in map(str.split, lines)}
    wheels = sorted(folder.iterdir())
    wrong = [path.name for path in wheels if known.get(path.name) != _hash(path)]
    if wrong or not wheels:
        raise SystemExit(
            f"verify_wheels: {', '.join(wrong) or 'no wheel'} in {folder}; it is not what {listed.name} lists."
            " If your package index builds its own wheels, build with --build-arg VERIFY=no"
        )


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
