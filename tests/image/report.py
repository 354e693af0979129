"""benchmarks/IMAGE.md: what was measured of a built image, and what is in it, in Markdown."""

import json
from collections import Counter
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from tests.image.container import Image
from tests.image.dockerfile import ROOT, base_image

PAGE = ROOT / "benchmarks" / "IMAGE.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One build: times in seconds, sizes in bytes."""

    date: date
    machine: str
    base_s: float
    build_s: float
    packed: int
    image: Image
    start_s: float
    health_s: float


def report(measured: Measured) -> str:
    """The whole page."""
    image = measured.image
    sizes = _sizes(image.root)
    code = (
        "import json; from importlib.metadata import distributions;"
        "print(json.dumps(sorted(f'{d.name} {d.version}' for d in distributions())))"
    )
    installed: list[str] = json.loads(image.run("python", "-c", code).stdout)
    debian = sorted(_package(path) for path in (image.root / "var/lib/dpkg/status.d").iterdir())
    lines = [
        "# The image",
        "",
        "Written by `make image-check`, which has built the Dockerfile with buildah and run what came out: exporter,",
        "demo workers and client, as user 10001 in a root file system mounted read-only, with a real Valkey and a",
        "real RabbitMQ.",
        "",
        "| | |",
        "|---|---|",
        f"| date | {measured.date} |",
        f"| base | stand-in for {base_image()}: Debian by debootstrap, with its own Python |",
        f"| on | {measured.machine} |",
        f"| to make the base | {measured.base_s:.0f} s |",
        f"| to build | {measured.build_s:.0f} s, downloads included |",
        f"| size of the files | {_mb(sizes.total())} |",
        *(f"| of these {name} | {_mb(sizes[name])} |" for name in ("Python", "distributions", "Debian")),
        f"| to download (gzip) | {_mb(measured.packed)} |",
        f"| to start Python and import all of the exporter | {measured.start_s:.2f} s |",
        f"| to run the health check | {measured.health_s:.2f} s |",
        "",
        "| distributions | packages of Debian |",
        "|---|---|",
        f"| {'<br>'.join(installed)} | {'<br>'.join(debian)} |",
    ]
    return "\n".join(lines) + "\n"


def _sizes(root: Path) -> "Counter[str]":
    sizes: Counter[str] = Counter()
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            where = path.relative_to(root)
            rest = "Python" if "python3" in str(where) else "Debian"
            sizes["distributions" if where.parts[0] == "opt" else rest] += path.stat().st_size
    return sizes


def _package(status: Path) -> str:
    fields = dict(
        line.split(": ", 1) for line in status.read_text(encoding="utf-8").splitlines() if ": " in line
    )
    return f"{fields['Package']} {fields['Version']}"


def _mb(size: int) -> str:
    return f"{size / 1_000_000:.1f} MB"
