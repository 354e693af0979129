"""``make image-check``: build the image, check what is in it and that it runs; --output takes what was measured.

Needs root on Debian: buildah and debootstrap are installed when they are missing. All that is made lies in one
temporary folder, which is removed.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.results import write
from celery_metrics_exporter import __version__
from tests.checkout import export, git, is_repository
from tests.image.buildah import Store
from tests.image.conftest import VARIABLE
from tests.image.container import Image
from tests.image.dockerfile import ROOT, base_image
from tests.image.report import Measured, report
from tests.image.standin import make_root, pip_settings

_NAME = "celery-exporter:check"
_CHECKS = ("check_image.py", "check_running.py")
_STARTS = 5


def main() -> int:
    """Run as told on the command line; 0 when everything was as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.image", description=__doc__)
    parser.add_argument("--output", type=Path, help="write what was measured as JSON to this folder")
    options = parser.parse_args()
    _install()
    with tempfile.TemporaryDirectory(prefix="image-check-", dir="/var/tmp") as name:
        folder = Path(name)
        store = Store(folder)
        base_s = _timed("base", lambda: _make_base(store))
        context = folder / "context"
        export(context)
        secret = folder / "pip.conf"
        secret.write_text(pip_settings(), encoding="utf-8")
        build_s = _timed("build", lambda: store.build(context, _NAME, secret, _labels()))
        image = Image(store.root(_NAME), store.settings(_NAME))
        (folder / "image.json").write_text(
            json.dumps({"root": str(image.root), "settings": image.settings}), encoding="utf-8"
        )
        checked = subprocess.run(
            [sys.executable, "-m", "pytest", *(ROOT / "tests" / "image" / file for file in _CHECKS)],
            cwd=ROOT,
            env={**os.environ, VARIABLE: name, "CI": "true"},
            check=False,
        ).returncode
        if checked == 0 and options.output:
            write(options.output, "image", report(_measure(store, image, base_s=base_s, build_s=build_s)))
    return checked


def _install() -> None:
    missing = [name for name in ("buildah", "debootstrap") if not shutil.which(name)]
    if not missing:
        return
    if os.getuid() != 0 or not shutil.which("apt-get"):
        raise SystemExit(f"image-check: install {' and '.join(missing)}, and run it as root on Debian")
    subprocess.run(["apt-get", "-qq", "update"], check=True)
    subprocess.run(
        ["apt-get", "-qqy", "install", "--no-install-recommends", *missing],
        check=True,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
    )


def _timed(what: str, work: Callable[[], None]) -> float:
    print(f"image-check: {what}", flush=True)  # noqa: T201 - a minute passes
    began = time.monotonic()
    work()
    return time.monotonic() - began


def _make_base(store: Store) -> None:
    root = store.folder / "base"
    make_root(root)
    store.import_root(root, base_image())
    shutil.rmtree(root)


def _labels() -> dict[str, str]:
    labels = {"VERSION": __version__}
    if is_repository():
        # As `make image` does.
        labels["REVISION"] = git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*").strip()
        labels["CREATED"] = git("log", "-1", "--format=%cI").strip()
    return labels


def _measure(store: Store, image: Image, *, base_s: float, build_s: float) -> Measured:
    def seconds(*command: str) -> float:
        def once() -> float:
            began = time.monotonic()
            image.run(*command)
            return time.monotonic() - began

        once()  # the first reads from the disk
        return statistics.median(once() for _ in range(_STARTS))

    return Measured(
        base_s=base_s,
        build_s=build_s,
        packed=store.packed_bytes(_NAME),
        image=image,
        start_s=seconds("python", "-c", "import celery_metrics_exporter.app"),
        health_s=seconds(*image.settings["Healthcheck"]["Test"][1:]),
    )


if __name__ == "__main__":
    sys.exit(main())
