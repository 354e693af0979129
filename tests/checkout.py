"""A clean checkout of the repository: what git knows or would take, and nothing that was built here."""

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]


def files() -> list[str]:
    """The files of the repository with the changes that are not committed; what git ignores is left out.

    In a source distribution, which is no repository, these are all files that .gitignore does not name, without the
    metadata that its build has added.
    """
    asked = ("ls-files", "--cached", "--others", "--exclude-standard", "-z")
    if is_repository():
        told = git(*asked)
    else:
        with tempfile.TemporaryDirectory() as empty:
            git("init", "--quiet", "--bare", empty)
            told = git(f"--git-dir={empty}", f"--work-tree={ROOT}", *asked, "--exclude=/PKG-INFO")
    return sorted(name for name in told.split("\0") if name and (ROOT / name).exists())


def is_repository() -> bool:
    """Whether git keeps this folder; that it keeps one around it does not count."""
    return (ROOT / ".git").exists()


def git(*arguments: str) -> str:
    """What git says here."""
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def export(folder: Path) -> None:
    """Copy them to a folder; links stay links."""
    for name in files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
