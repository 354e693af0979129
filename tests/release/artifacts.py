"""The files of a release, and how they are built from a clean checkout."""

import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from celery_metrics_exporter import __version__
from tests.checkout import ROOT, export
from tests.integration.servers.requirements import HELM

DISTRIBUTION: Final = "celery-metrics-exporter"
_STEM: Final = f"{DISTRIBUTION.replace('-', '_')}-{__version__}"
#: Where `scripts/make-venv release` puts twine and CycloneDX's generator.
_TOOLS: Final = ROOT / "build" / "release-tools" / "bin"


@dataclass(frozen=True, slots=True)
class Artifacts:
    """The files of a release, all in ``folder``."""

    folder: Path

    @property
    def sdist(self) -> Path:
        """The source distribution."""
        return self.folder / f"{_STEM}.tar.gz"

    @property
    def wheel(self) -> Path:
        """The wheel, which is for every platform."""
        return self.folder / f"{_STEM}-py3-none-any.whl"

    @property
    def sbom(self) -> Path:
        """The bill of materials of what pip installs with the wheel, as CycloneDX has it."""
        return self.folder / f"{_STEM}.cdx.json"

    @property
    def chart(self) -> Path:
        """The Helm chart."""
        return self.folder / f"celery-exporter-{__version__}.tgz"

    def all(self) -> list[Path]:
        """Every file that is published."""
        return [self.sdist, self.wheel, self.sbom, self.chart]


def tool(name: str, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run one of the tools that only a release needs."""
    return subprocess.run([_TOOLS / name, *arguments], capture_output=True, text=True, check=False)


def build(artifacts: Artifacts, scratch: Path) -> None:
    """Build everything; ``scratch`` is a folder for what is not published."""
    checkout = scratch / "checkout"
    export(checkout)
    artifacts.folder.mkdir(parents=True)
    build_package("sdist", checkout, artifacts.folder)
    # The wheel is that of the source distribution: pip makes the same of it wherever it finds no wheel.
    with tarfile.open(artifacts.sdist) as archive:
        archive.extractall(scratch, filter="data")
    build_package("wheel", scratch / _STEM, artifacts.folder)
    _run(HELM / "3" / "helm", "package", checkout / "helm/celery-exporter", "--destination", artifacts.folder)
    _write_sbom(artifacts, scratch)


def build_package(kind: str, source: Path, folder: Path) -> None:
    """Build the ``sdist`` or the ``wheel`` of a source tree into a folder."""
    _run(sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", folder, cwd=source)


def install(python: Path, artifact: Path, *options: str, prefix: tuple[Path, ...] = ()) -> None:
    """Install an artifact, by path, into the environment of ``python``, its dependencies from the package index."""
    _run(
        *prefix, python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *options, artifact
    )


def _write_sbom(artifacts: Artifacts, scratch: Path) -> None:
    """List an environment that has the wheel, its dependencies as tested, and no pip."""
    environment = scratch / "sbom"
    _run(sys.executable, "-m", "venv", "--without-pip", environment)
    into = (sys.executable, "-m", "pip", "--python", environment / "bin" / "python", "install", "--quiet")
    # By name, so that no path of this machine is noted as its origin.
    _run(*into, "--no-deps", "--no-index", "--find-links", artifacts.folder, f"{DISTRIBUTION}=={__version__}")
    _run(*into, "--constraint", ROOT / "constraints.txt", f"{DISTRIBUTION}=={__version__}")
    # The generator does not know where a dynamic version comes from.
    project = scratch / "pyproject.toml"
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project.write_text(
        re.sub(r"^dynamic = .*$", f'version = "{__version__}"', text, count=1, flags=re.MULTILINE)
    )
    _run(
        *(_TOOLS / "cyclonedx-py", "environment", "--pyproject", project, "--output-reproducible"),
        *("--output-format", "JSON", "--output-file", artifacts.sbom, environment / "bin" / "python"),
    )


def publish(artifacts: Artifacts, folder: Path) -> None:
    """Put the files, and no others, into a folder that is not there yet."""
    folder.mkdir()
    for path in artifacts.all():
        shutil.copy2(path, folder)


def _run(*command: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        told = (done.stdout + done.stderr)[-3000:]
        raise SystemExit(f"release-check: {' '.join(map(str, command))} failed\n{told}")
