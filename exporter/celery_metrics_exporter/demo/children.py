"""Start, watch and end the demo's child processes, in a temporary folder that is removed at the end.

Each child leads its own session, so that Ctrl-C in a terminal reaches only the demo, which then ends the children in
order. Each child writes its output to a log file in the folder.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from celery_metrics_exporter.demo import sweeper

_POLL_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Child:
    """One child process: its title for messages, its process and its log file."""

    title: str
    process: subprocess.Popen[bytes]
    log: Path

    def end(self) -> str:
        """How the process ended, in words; it must have ended."""
        code = self.process.returncode
        return f"was killed by signal {-code}" if code < 0 else f"ended by itself with exit code {code}"

    def last_lines(self, count: int = 12) -> str:
        """The last lines that the child wrote, indented, each with a newline at its end."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "".join(f"    {line}\n" for line in lines[-count:])


class Children:
    """A context that owns the folder and the processes; at its end both are gone."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="celery-exporter-demo-"))
        self._children: list[Child] = []
        read_end, write_end = os.pipe()
        with os.fdopen(read_end, "rb") as list_of_children:
            # -I and -S: the sweeper needs only the standard library, and nothing in the environment must stop it.
            self._sweeper = subprocess.Popen(
                [sys.executable, "-I", "-S", sweeper.__file__, str(self.folder)],
                stdin=list_of_children,
                cwd="/",
                start_new_session=True,
            )
        self._to_sweeper = os.fdopen(write_end, "wb", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop(self._children, grace=0.0)
        self._to_sweeper.close()
        self._sweeper.wait()
        shutil.rmtree(self.folder, ignore_errors=True)  # in case the sweeper was killed

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
                start_new_session=True,
            )
        child = Child(title, process, log)
        self._children.append(child)
        self._tell_sweeper(f"+{process.pid}")
        return child

    def ended(self) -> Child | None:
        """A child that ended although nobody stopped it, if there is one."""
        return next((child for child in self._children if child.process.poll() is not None), None)

    def ask_to_end(self, children: Sequence[Child]) -> None:
        """Send SIGTERM without waiting: the pool of a worker continues the tasks that run."""
        for child in children:
            child.process.terminate()

    def stop(
        self, children: Sequence[Child], *, grace: float, hurry: Callable[[], bool] = lambda: False
    ) -> None:
        """Wait for these children to end, for `grace` seconds or until `hurry()`, then kill the rest.

        Their own children are killed too. With a grace, they must have been asked to end before.
        """
        deadline = time.monotonic() + grace
        waiting = list(children)
        while waiting and time.monotonic() < deadline and not hurry():
            time.sleep(_POLL_SECONDS)
            waiting = [child for child in waiting if child.process.poll() is None]
        for child in list(children):
            # The group, so that the children of a worker that was killed or crashed are killed too.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.process.pid, signal.SIGKILL)
            child.process.wait()
            self._children.remove(child)
            self._tell_sweeper(f"-{child.process.pid}")

    def _tell_sweeper(self, line: str) -> None:
        with suppress(BrokenPipeError):  # the sweeper was killed
            self._to_sweeper.write(f"{line}\n".encode())


def python_environment() -> dict[str, str]:
    """The environment for a Python child: it imports what this process imports, and has no CELERY_ variables.

    Celery prefers variables such as CELERY_BROKER_URL to the application's settings (celery, `celery/app/utils.py`,
    `Settings.broker_url`), so the user's variables must not reach the demo.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CELERY_")}
    environment["PYTHONPATH"] = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    environment["PYTHONUNBUFFERED"] = "1"
    return environment
