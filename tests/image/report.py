"""What was measured of a built image, and what is in it, as a result that ``benchmarks.render`` shows in IMAGE.md."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmarks.results import Result
from tests.image.container import Image
from tests.image.dockerfile import base_image


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One build: times in seconds, sizes in bytes."""

    base_s: float
    build_s: float
    packed: int
    image: Image
    start_s: float
    health_s: float


def report(measured: Measured) -> Result:
    """All of it."""
    image = measured.image
    sizes = _sizes(image.root)
    code = (
        "import json; from importlib.metadata import distributions;"
        "print(json.dumps(dict(sorted((d.name, d.version) for d in distributions()))))"
    )
    debian = sorted(_package(path) for path in (image.root / "var/lib/dpkg/status.d").iterdir())
    return Result(
        facts={
            "base": f"stand-in for {base_image()}: Debian by debootstrap, with its own Python",
            "to make the base, s": measured.base_s,
            "to build, downloads included, s": measured.build_s,
            "size of the files, MB": _mb(sizes.total()),
            **{f"of these {name}, MB": _mb(sizes[name]) for name in ("Python", "distributions", "Debian")},
            "to download (gzip), MB": _mb(measured.packed),
            "to start Python and import all of the exporter, s": measured.start_s,
            "to run the health check, s": measured.health_s,
        },
        versions={
            "distributions": json.loads(image.run("python", "-c", code).stdout),
            "packages of Debian": dict(debian),
        },
        command="make image-check",
    )


def _sizes(root: Path) -> "Counter[str]":
    sizes: Counter[str] = Counter()
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            where = path.relative_to(root)
            rest = "Python" if "python3" in str(where) else "Debian"
            sizes["distributions" if where.parts[0] == "opt" else rest] += path.stat().st_size
    return sizes


def _package(status: Path) -> tuple[str, str]:
    fields = dict(
        line.split(": ", 1) for line in status.read_text(encoding="utf-8").splitlines() if ": " in line
    )
    return fields["Package"], fields["Version"]


def _mb(size: int) -> float:
    return size / 1_000_000
