"""Which wheels pip chooses on which platform, asked of the package index; wheels.sha256 is the image's choice.

``python -m tests.release.wheels`` writes that file anew, after a change of constraints.txt.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.checkout import ROOT
from tests.image.distributions import ON_OLDER_PYTHON, needed, pinned
from tests.release.pythons import PROJECT, VERSIONS

LIST: Final = ROOT / "wheels.sha256"
#: Debian 12's C library. A wheel for a newer one is none for it; newer Debians choose what it chooses.
_GLIBC: Final = 36


class Platform(NamedTuple):
    """A platform: its name for people, and pip's names for what runs on it, the best first."""

    name: str
    tags: tuple[str, ...]


def _linux(machine: str) -> Platform:
    minors = range(_GLIBC, 16, -1)
    tags = (*(f"manylinux_2_{minor}_{machine}" for minor in minors), f"manylinux2014_{machine}")
    return Platform(f"Linux (glibc), {machine}", tags)


def _alpine(machine: str) -> Platform:
    return Platform(f"Linux (musl), {machine}", (f"musllinux_1_2_{machine}", f"musllinux_1_1_{machine}"))


def _macos(machine: str, versions: Iterable[str]) -> Platform:
    tags = [f"macosx_{version}_{one}" for version in versions for one in (machine, "universal2")]
    return Platform(f"macOS, {machine}", tuple(tags))


#: Those that the image is built for.
OF_IMAGE: Final = (_linux("x86_64"), _linux("aarch64"))
PLATFORMS: Final = (
    *OF_IMAGE,
    _macos("arm64", ("14_0", "13_0", "12_0", "11_0")),
    _macos("x86_64", ("14_0", "13_0", "12_0", "11_0", "10_15", "10_13", "10_12", "10_9")),
    *map(_alpine, ("x86_64", "aarch64")),
)


class Wheel(NamedTuple):
    """A file of the package index."""

    name: str
    sha256: str


class NoWheel(Exception):
    """pip finds no wheel of a distribution; the text is pip's."""


def chosen(requirements: Iterable[str], platform: Platform, python: str) -> list[Wheel]:
    """The wheels that pip installs of these distributions, without what they need, on another platform.

    Raises:
        NoWheel: of one of them there is none.
    """
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--dry-run"),
            *(
                "--report",
                "-",
                "--ignore-installed",
                "--no-deps",
                "--only-binary",
                ":all:",
                "--target",
                "/nowhere",
            ),
            *(f"--platform={tag}" for tag in platform.tags),
            f"--python-version={python}",
            *requirements,
        ],
        env=os.environ | {"PIP_FIND_LINKS": ""},  # the index alone, whatever lies on this machine
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise NoWheel(f"{platform.name}, Python {python}: {done.stderr}")
    return [_wheel(item["download_info"]) for item in json.loads(done.stdout)["install"]]


def _wheel(download: dict[str, dict[str, dict[str, str]]] | dict[str, str]) -> Wheel:
    name = Path(str(download["url"])).name
    info = download["archive_info"]
    assert isinstance(info, dict)
    return Wheel(name, info["hashes"]["sha256"])


def of_extra(extra: str) -> set[str]:
    """The distributions that an extra of ours adds, by canonical name."""
    asked = [Requirement(line) for line in PROJECT["optional-dependencies"][extra]]
    return set(needed(asked))


def of_image() -> set[str]:
    """All that a build of the image may install: at run time, with an extra of users, and to build our wheel."""
    return {
        *needed(),
        *ON_OLDER_PYTHON,
        *(name for extra in ("demo", "sqs") for name in of_extra(extra)),
        *needed([Requirement("hatchling")]),
    }


def pins(names: Iterable[str]) -> list[str]:
    """Each with the version of constraints.txt."""
    versions = pinned()
    return sorted(f"{name}=={versions[canonicalize_name(name)]}" for name in names)


def listed() -> Iterator[Wheel]:
    """What wheels.sha256 says."""
    for line in LIST.read_text(encoding="ascii").splitlines():
        sha256, name = line.split()
        yield Wheel(name, sha256)


def main() -> None:
    """Write wheels.sha256, as `sha256sum` would."""
    asked = [(platform, python) for platform in OF_IMAGE for python in VERSIONS]
    requirements = pins(of_image())
    with ThreadPoolExecutor(2) as pool:
        answers = pool.map(lambda one: chosen(requirements, *one), asked)
        wheels = sorted({wheel for answer in answers for wheel in answer}, key=lambda one: one.name.lower())
    LIST.write_text("".join(f"{one.sha256}  {one.name}\n" for one in wheels), encoding="ascii")


if __name__ == "__main__":
    main()
