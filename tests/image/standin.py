"""A stand-in for the Dockerfile's base, for machines that reach no registry of images: Debian with its own Python.

Owns what makes Debian's root file system look like the official image of Python: `python` and `pip` in /usr/local/bin,
ensurepip with its bundled wheels, no note that the environment is managed by somebody else.
"""

import shutil
import subprocess
from pathlib import Path

from tests.image.dockerfile import base_image

_BUNDLE = Path("etc/ssl/certs/ca-certificates.crt")
_PACKAGES = "ca-certificates,netbase,python3,python3-venv,tzdata"

_LAY_OUT = """
set -eu
rm -f /usr/lib/python3*/EXTERNALLY-MANAGED
for name in python python3 python3.11; do ln -s /usr/bin/python3.11 /usr/local/bin/$name; done
wheels=/usr/share/python-wheels
PYTHONPATH=$(echo $wheels/pip-*.whl) PIP_ROOT_USER_ACTION=ignore \\
    python3 -m pip install --quiet --no-index --find-links $wheels pip setuptools
mkdir -p /usr/lib/python3.11/ensurepip/_bundled
mv $wheels/*.whl /usr/lib/python3.11/ensurepip/_bundled/
rm -rf $wheels /var/cache/apt/archives/*.deb /var/lib/apt/lists/*
"""


def make_root(folder: Path) -> None:
    """Fill ``folder`` with the stand-in's root file system, from the mirror that apt uses here; needs root."""
    suite = base_image().rpartition("-")[2]
    subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", suite, folder, _mirror(suite)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    # The settings of pip here, which would come along, mean nothing there.
    path = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    subprocess.run([shutil.which("chroot") or "chroot", folder, "sh", "-c", _LAY_OUT], check=True, env=path)
    # Who is trusted here is trusted there: the package index may be reached through a proxy of the house.
    shutil.copy(Path("/") / _BUNDLE, folder / _BUNDLE)


def _mirror(suite: str) -> str:
    told = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(SITE)", "Identifier: Packages"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    sites = [line.split()[2] for line in told.splitlines() if line.split()[:2] == [suite, "main"]]
    if not sites:
        raise SystemExit(f"image-check: apt has no list of {suite}; run apt-get update on Debian {suite}")
    return sites[0]


def pip_settings() -> str:
    """The settings of this machine's pip that say where its index is, as a file for pip in the build."""
    told = subprocess.run(["pip", "config", "list"], check=True, capture_output=True, text=True).stdout
    wanted = ("cert", "extra-index-url", "index-url", "trusted-host")
    settings = {}  # an environment variable's comes last, and counts
    for line in told.splitlines():
        name, _, value = line.partition("=")
        if name.rpartition(".")[2] in wanted:
            settings[name.rpartition(".")[2]] = value.strip("'")
    return "\n".join(["[global]", *(f"{name} = {value}" for name, value in settings.items()), ""])
