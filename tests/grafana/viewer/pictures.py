"""Draws all dashboards in all scenarios, into build/dashboard-pictures/MAJOR. Run by ``make dashboard-pictures``.

Grafana's component library draws them, not a Grafana server. Those that the README shows go to docs/images too,
when they are drawn with the version that it names. Needs Debian's ``chromium``, ``prometheus`` and ``pngquant``.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.browser.chromium import Chromium
from tests.grafana.board import boards
from tests.grafana.viewer.drawing import Viewer
from tests.grafana.viewer.recording import Recording
from tests.grafana.viewer.scenarios import SCENARIOS
from tests.integration.servers.requirements import VIEWER, why_missing

_ROOT: Final = Path(__file__).resolve().parents[3]
PICTURES: Final = _ROOT / "build" / "dashboard-pictures"
IMAGES: Final = _ROOT / "docs" / "images"
RULES: Final = sorted((_ROOT / "grafana" / "alerts").glob("*.yaml"))
#: Pages with pictures are loaded often.
MAX_BYTES: Final = 300_000
#: (scenario, dashboard) of the pictures in docs/images.
SHOWN: Final = {
    ("health", "overview"),
    ("outage", "overview"),
    ("outage", "queues"),
    ("outage", "task"),
}
_SHOWN_MAJOR: Final = "13"


def main() -> int:
    """Take them, drawn with the major version of Grafana that is named; the exit code is 1 if that cannot be."""
    major = sys.argv[1]
    page = VIEWER / major / "page"
    reasons = [why_missing("prometheus"), why_missing("chromium")]
    if not page.exists():
        reasons.append(f"{page} is missing: run scripts/install-viewer {major}")
    if shutil.which("pngquant") is None:
        reasons.append("pngquant is missing: apt-get install pngquant")
    if any(reasons):
        sys.stderr.write("".join(f"dashboard-pictures: {reason}\n" for reason in reasons if reason))
        return 1
    folder = PICTURES / major
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as name:
        _take(Path(name), Viewer(page), folder)
    if major != _SHOWN_MAJOR:
        return 0
    IMAGES.mkdir(exist_ok=True)
    return max(_publish(folder, *shown) for shown in sorted(SHOWN))


def _take(work: Path, viewer: Viewer, folder: Path) -> None:
    with viewer, Chromium(work / "chromium") as browser:
        for scenario in SCENARIOS.values():
            recording = Recording(work / scenario.name, scenario, RULES)
            recording.write()
            with recording.prometheus() as prometheus:
                for board in boards():
                    with viewer.draw(browser, board, prometheus, scenario) as drawing:
                        file = folder / f"{scenario.name}-{board.name}.png"
                        file.write_bytes(drawing.png())
                    sys.stdout.write(f"{file}\n")


def _publish(folder: Path, scenario: str, board: str) -> int:
    """Put a small version of a picture into docs/images; 1 if it is not small enough."""
    file = IMAGES / f"dashboard-{board}-{scenario}.png"
    subprocess.run(
        [
            "pngquant",
            "--strip",
            "--speed",
            "1",
            "--force",
            "--output",
            file,
            folder / f"{scenario}-{board}.png",
        ],
        check=True,
    )
    size = file.stat().st_size
    sys.stdout.write(f"{file}: {size:,} bytes\n")
    return int(size > MAX_BYTES)


if __name__ == "__main__":
    sys.exit(main())
