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
    parser.add_argument(
        "checks", nargs="*", help="names of checks, such as package; dist stays as it is then"
    )
    options = parser.parse_args()
    output = ROOT / "dist"
    if not options.checks:
        shutil.rmtree(
            output, ignore_errors=True
        )  # what an earlier run has checked is not what is checked now
    scripts = ROOT / "scripts"
    subprocess.run([scripts / "install-helm"], check=True)
    subprocess.run([scripts / "make-venv", "release", "build/release-tools"], check=True)
    for version in VERSIONS:
        subprocess.run([scripts / "make-python", version], check=True)
    with tempfile.TemporaryDirectory(prefix="release-check-") as name:
        artifacts = Artifacts(Path(name, "release"))
        build(artifacts, Path(name))
        here = Path(__file__).parent
        checks = [here / f"check_{check}.py" for check in options.checks] or sorted(here.glob("check_*.py"))
        checked = subprocess.run(
            [sys.executable, "-m", "pytest", "--timeout", "900", *checks],
            cwd=ROOT,
            env={**os.environ, VARIABLE: str(artifacts.folder), "CI": "true"},
            check=False,
        ).returncode
        if checked == 0 and not options.checks:
            publish(artifacts, output)
            print(f"release-check: {output} has what was checked{_reserve()}", flush=True)  # noqa: T201 - its product
    return checked


def _reserve() -> str:
    changed = is_repository() and git("status", "--porcelain")
    return ", with changes that are not committed: it is no release" if changed else ""


if __name__ == "__main__":
    sys.exit(main())
