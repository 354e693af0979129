"""Takes the pictures of the README: the status page of a shop, in docs/images. Run by ``make screenshots``.

The shop is that of the demo, whose workload is random, so that each run gives other numbers; beside it stand messages
that nobody consumes. Needs Debian's ``chromium`` and ``pngquant``. Where its ``fonts-inter`` is installed, it stands in
for the system's font, which on a bare server is none that anybody reads.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from celery import Celery

from tests.browser.chromium import Chromium
from tests.browser.tab import Tab
from tests.integration.servers import ExporterProcess, ServerProcess, Valkey
from tests.integration.servers.exporter import clean_environment
from tests.integration.servers.requirements import why_missing
from tests.waiting import wait_for

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
#: A README is loaded often.
MAX_BYTES = 150_000
_LIVE_S = 240.0
#: Messages in a queue without workers.
_UNCONSUMED = 37

_SHOTS: dict[str, dict[str, Any]] = {
    "status-page-light.png": {"width": 1200},
    "status-page-dark.png": {"width": 1200, "dark": True},
    "status-page-phone.png": {"width": 360, "height": 900, "scale": 2.0, "mobile": True},
}

_FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <include ignore_missing="yes">/etc/fonts/fonts.conf</include>
  <match target="pattern">
    <test name="family" qual="any"><string>sans-serif</string></test>
    <edit name="family" mode="prepend" binding="strong"><string>Inter</string></edit>
  </match>
</fontconfig>
"""


def main() -> int:
    """Take them; the exit code is 1 if that cannot be, or if one is too large."""
    reasons = [why_missing("valkey"), why_missing("chromium")]
    if shutil.which("pngquant") is None:
        reasons.append("pngquant is missing: apt-get install pngquant")
    if any(reasons):
        sys.stderr.write("".join(f"screenshots: {reason}\n" for reason in reasons if reason))
        return 1
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        fonts = folder / "fonts.conf"
        fonts.write_text(_FONTS)
        valkey = stack.enter_context(Valkey(folder / "valkey"))
        exporter = stack.enter_context(ExporterProcess(folder / "exporter", ["--broker-url", valkey.url]))
        for words in (["worker", "shop"], ["worker", "media"], ["client"]):
            _start(stack, folder, valkey.url, words)
        with Celery(broker=valkey.url, set_as_current=False) as app:
            for order in range(_UNCONSUMED):
                app.send_task("billing.print_invoice", (order,), queue="invoices")
        env = {**os.environ, "FONTCONFIG_FILE": str(fonts)}
        browser = stack.enter_context(Chromium(folder / "chromium", env=env))
        return _shoot(browser, exporter.url.removesuffix("/metrics") + "/")


def _start(stack: ExitStack, folder: Path, broker_url: str, words: list[str]) -> None:
    """Start one of the demo's actors, to be stopped with the rest."""
    module, *arguments = words
    process = ServerProcess(
        [sys.executable, "-m", f"celery_metrics_exporter.demo.{module}", *arguments],
        log=folder / f"{'-'.join(words)}.log",
        env=clean_environment({"CELERY_BROKER_URL": broker_url}),
    )
    process.start()
    stack.callback(process.stop)


def _shoot(browser: Chromium, url: str) -> int:
    IMAGES.mkdir(parents=True, exist_ok=True)
    with Tab(browser) as tab:
        tab.open(url)
        wait_for(lambda: _is_lively(tab), timeout=_LIVE_S, what="a page with something on it")
    largest = 0
    for name, settings in _SHOTS.items():
        with Tab(browser, **settings) as tab:
            tab.open(url)
            image = tab.screenshot(settings["height"] if settings.get("mobile") else None)
        file = IMAGES / name
        subprocess.run(
            ["pngquant", "--strip", "--speed", "1", "--output", file, "--force", "-"], input=image, check=True
        )
        largest = max(largest, file.stat().st_size)
        sys.stdout.write(f"{file}: {file.stat().st_size:,} bytes\n")
    return 1 if largest > MAX_BYTES else 0


def _is_lively(tab: Tab) -> bool:
    """Whether most tasks of the shop have been seen, its failures, and minutes of its events."""
    points = tab.run("(document.querySelector('polyline')?.getAttribute('points') || '').split(' ').length")
    tasks = len(tab.texts("section[aria-labelledby=busiest] tbody tr"))
    failing = len(tab.texts("section[aria-labelledby=failing] tbody tr"))
    return points >= 16 and tasks >= 9 and failing >= 4


if __name__ == "__main__":
    sys.exit(main())
