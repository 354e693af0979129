"""The Pythons that pyproject.toml promises, and environments of them."""

import re
import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.checkout import ROOT

PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
    "project"
]
#: Such as 3.11.
VERSIONS: Final = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))


@dataclass(frozen=True, slots=True)
class Environment:
    """A fresh virtual environment in ``folder``, of a Python that scripts/make-python has found."""

    version: str
    folder: Path

    def make(self) -> None:
        """Create it, with the pip that its Python brings."""
        within = ROOT / "build" / "pythons" / self.version
        subprocess.run([within, f"python{self.version}", "-m", "venv", self.folder], check=True)

    def command(self, program: str, *arguments: str | Path) -> list[str | Path]:
        """How one of its programs is run."""
        return [ROOT / "build" / "pythons" / self.version, self.folder / "bin" / program, *arguments]

    def run(
        self, program: str, *arguments: str | Path, env: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run one of its programs to its end, away from the repository; ``env`` is for the program alone."""
        (within, *rest) = self.command(program, *arguments)
        given = [f"{name}={value}" for name, value in (env or {}).items()]
        return subprocess.run(
            [within, *(["/usr/bin/env", *given] if given else []), *rest],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
