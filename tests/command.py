"""The command `celery-exporter` as a process: run to its end, or started and watched through its log lines."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests import preloaded
from tests.waiting import wait_for

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, "-m", "celery_metrics_exporter"]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The machine's environment without Celery's variables, and with these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CELERY_")}
    return {**kept, **(extra or {})}


def run(*args: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return preloaded.run([*COMMAND, *args], cwd=ROOT, env=environment(env), timeout=60)


class Running:
    """A running command and what it has written to standard error."""

    def __init__(self, log: Path, args: tuple[str, ...], env: Mapping[str, str]) -> None:
        self._log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen([*COMMAND, *args], cwd=ROOT, env=environment(env), stderr=stderr)

    @property
    def stderr(self) -> str:
        """All of it up to now."""
        return self._log.read_text(encoding="utf-8")

    def line_with(self, text: str) -> str:
        """Wait for a line that contains the text."""
        return wait_for(
            lambda: next((line for line in self.stderr.splitlines() if text in line), ""),
            timeout=30,
            what=lambda: f"a line with {text!r} in {self.stderr!r}",
        )

    def end(self, number: signal.Signals) -> int:
        """Send a signal and wait for the exit code."""
        self.process.send_signal(number)
        return self.process.wait(10)
