"""Start, watch and end the demo's child processes, in a temporary folder that is removed at the end.

The children and their own children are one process group, so that one signal ends them all, and Ctrl-C in a terminal
reaches only the demo, which then ends them in order. Each child writes its output to a log file in the folder.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from celery_metrics_exporter.demo import sweeper

_SHOWN_LINES: Final = 12


class DemoError(Exception):
    """The demo cannot start or continue; the message is one line, which `details` may follow."""

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


@dataclass(frozen=True, slots=True)
class Child:
    """One child process: its title for messages, its process and its log file."""

    title: str
    process: subprocess.Popen[bytes]
    log: Path

    def last_lines(self) -> str:
        """The last lines that the child wrote, indented, each with a newline at its end."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "".join(f"    {line}\n" for line in lines[-_SHOWN_LINES:])


class Children:
    """A context that owns the folder and the processes; at its end both are gone."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="celery-exporter-demo-"))
        self._children: list[Child] = []
        # -I and -S: the sweeper needs only the standard library, and nothing in the environment must stop it.
        self._sweeper = subprocess.Popen(
            [sys.executable, "-I", "-S", sweeper.__file__, str(self.folder)],
            stdin=subprocess.PIPE,
            cwd="/",
            process_group=0,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError, PermissionError):  # everything has ended already
            os.killpg(self._sweeper.pid, signal.SIGKILL)
        for child in self._children:
            child.process.wait()
        self._sweeper.communicate()
        sweeper.remove(self.folder)

    def start(self, title: str, command: Sequence[str], environment: Mapping[str, str]) -> Child:
        """Start a child in the folder. Raises OSError if it cannot be run."""
        log = self.folder / f"{title.replace(' ', '-')}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**environment, "TMPDIR": str(self.folder)},  # where a killed worker leaves files
                process_group=self._sweeper.pid,
            )
        child = Child(title, process, log)
        self._children.append(child)
        return child

    def discard(self, child: Child) -> None:
        """Kill a child that has no children of its own."""
        child.process.kill()
        child.process.wait()
        self._children.remove(child)

    def raise_if_ended(self) -> None:
        """Raise DemoError if a child has ended, although nobody stopped it."""
        for child in self._children:
            code = child.process.poll()
            if code is not None:
                end = (
                    f"was killed by signal {-code}" if code < 0 else f"ended by itself with exit code {code}"
                )
                raise DemoError(f"the {child.title} {end}; its last lines:", child.last_lines())


def python_environment() -> dict[str, str]:
    """The environment for a Python child: it imports what this process imports, and has no CELERY_ variables.

    Celery prefers variables such as CELERY_BROKER_URL to the application's settings (celery, `celery/app/utils.py`,
    `Settings.broker_url`), so the user's variables must not reach the demo.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CELERY_")}
    environment["PYTHONPATH"] = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    environment["PYTHONUNBUFFERED"] = "1"
    return environment
