"""Environments of the peers, which need other versions of libraries than ours; each is made once and kept."""

import importlib.metadata
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

#: danihodovic/celery-exporter as its makers publish it.
DANIHODOVIC: Final = "prometheus-exporter-celery==0.11.2"
#: They run on the Celery that ours runs on, whatever is the latest. kombu's Redis transport imports packaging without
#: depending on it (``kombu/transport/redis.py``).
_SHARED: Final = ("celery", "kombu", "amqp", "packaging")


def peer_python(folder: Path, requirement: str) -> Path:
    """Find the Python of the environment in which ``requirement`` is installed; make it if there is none yet.

    Args:
        folder: where environments are kept.
        requirement: one pinned distribution, ``name==version``.
    """
    pins = [requirement, *(f"{name}=={importlib.metadata.version(name)}" for name in _SHARED)]
    home = folder / requirement.replace("==", "-")
    python, installed = home / "bin" / "python", home / "installed.txt"
    if not installed.exists() or installed.read_text(encoding="utf-8").split() != pins:
        print(f"installing {' '.join(pins)}", file=sys.stderr)
        venv.create(home, clear=True, with_pip=True)
        pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", *pins]
        subprocess.run(pip, check=True)
        installed.write_text("\n".join(pins), encoding="utf-8")
    return python


def versions(python: Path | str, *names: str) -> dict[str, str]:
    """Ask an environment for the versions of distributions; those that it does not have are left out."""
    script = (
        "import importlib.metadata as m, sys\n"
        "have = {d.metadata['Name'].lower(): d.version for d in m.distributions()}\n"
        "print(*(have.get(name, '-') for name in sys.argv[1:]))"
    )
    done = subprocess.run([python, "-c", script, *names], check=True, capture_output=True, text=True)
    answers = zip(names, done.stdout.split(), strict=True)
    return {name: version for name, version in answers if version != "-"}
