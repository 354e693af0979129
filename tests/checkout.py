"""A clean checkout of the repository: what git knows or would take, and nothing that was built here."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]


def files() -> list[str]:
    """The files of the repository with the changes that are not committed; what git ignores is left out."""
    told = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return sorted(name for name in told.split("\0") if name and (ROOT / name).exists())


def export(folder: Path) -> None:
    """Copy them to a folder; links stay links."""
    for name in files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
