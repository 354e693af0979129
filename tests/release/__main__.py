"""``make release-check``: build what a release publishes, check it, install it in each Python; leaves it in dist/.

Needs a package index; a Python that is not installed is taken from a Debian root, which needs root on Debian.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.checkout import ROOT, git, is_repository
from tests.release.artifacts import Artifacts, build, publish
from tests.release.conftest import VARIABLE
from tests.release.pythons import VERSIONS


def main() -> int:
    """Run as told on the command line; 0 when everything was as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.release", description=__doc__)
    known = {
        path.stem.removeprefix("check_"): path for path in sorted(Path(__file__).parent.glob("check_*.py"))
    }
    parser.add_argument("checks", nargs="*", help=f"of {', '.join(known)}; dist stays as it is then")
    options = parser.parse_args()
    if unknown := set(options.checks) - known.keys():
        parser.error(f"no check {', '.join(unknown)}: write one of {', '.join(known)}")
    checks = options.checks or list(known)
    output = ROOT / "dist"
    if not options.checks:
        # What an earlier run has checked is not what is checked now.
        shutil.rmtree(output, ignore_errors=True)
    _script("install-helm")
    _script("make-venv", "release", "build/release-tools")
    for version in VERSIONS if "installed" in checks else ():
        _script("make-python", version)
    with tempfile.TemporaryDirectory(prefix="release-check-") as name:
        artifacts = Artifacts(Path(name, "release"))
        build(artifacts, Path(name))
        checked = subprocess.run(
            [sys.executable, "-m", "pytest", "--timeout", "900", *(known[check] for check in checks)],
            cwd=ROOT,
            env={**os.environ, VARIABLE: str(artifacts.folder), "CI": "true"},
            check=False,
        ).returncode
        if checked == 0 and not options.checks:
            publish(artifacts, output)
            print(f"release-check: {output} has what was checked{_reserve()}", flush=True)  # noqa: T201 - its product
    return checked


def _script(name: str, *arguments: str) -> None:
    """Run a script, which says itself in one line why it failed."""
    if subprocess.run([ROOT / "scripts" / name, *arguments], check=False).returncode != 0:
        sys.exit(1)


def _reserve() -> str:
    changed = is_repository() and git("status", "--porcelain")
    return ", with changes that are not committed: it is no release" if changed else ""


if __name__ == "__main__":
    sys.exit(main())
