"""Environments of the peers, which need other versions of libraries than ours; each is made once and kept.

Every version is pinned, in ``benchmarks/requirements``: a peer is measured as it was when its numbers were first taken.
"""

import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

_REQUIREMENTS: Final = Path(__file__).parent / "requirements"


def peer_python(environments: Path, peer: str) -> Path:
    """Find the Python of a peer's environment; make the environment if there is none yet, or an outdated one.

    Args:
        environments: the folder of all of them.
        peer: name of its file in ``benchmarks/requirements``, without the suffix.
    """
    wanted = _REQUIREMENTS / f"{peer}.txt"
    home = environments / peer
    python, installed = home / "bin" / "python", home / "installed.txt"
    if not installed.exists() or installed.read_text() != wanted.read_text():
        print(f"installing the environment of {peer}", file=sys.stderr)
        venv.create(home, clear=True, with_pip=True)
        pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        if subprocess.run([*pip, "-r", str(wanted)], check=False).returncode:
            raise SystemExit(f"pip could not install benchmarks/requirements/{peer}.txt, see above")
        installed.write_text(wanted.read_text())
    return python


def versions(python: Path | str, *names: str) -> dict[str, str]:
    """Ask an environment for the versions of distributions; those that it does not have are left out."""
    script = (
        "import json; from importlib.metadata import distributions\n"
        "print(json.dumps({d.metadata['Name'].lower().replace('_', '-'): d.version for d in distributions()}))"
    )
    done = subprocess.run([python, "-c", script], check=True, capture_output=True, text=True)
    have: dict[str, str] = json.loads(done.stdout)
    return {name: have[name] for name in names if name in have}
