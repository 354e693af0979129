"""The demo's child processes: how they are started, watched and ended, and the temporary folder they write to.

Knows nothing of what they run. Each child leads its own session, so that Ctrl-C in a terminal reaches the demo alone
and the demo ends them in order; each writes its output to a log file in the folder.
"""

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
from typing import Self

from celery_metrics_exporter.demo import sweeper

_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Child:
    """One running child: what the console calls it, its process and its log file."""

    title: str
    process: subprocess.Popen[bytes]
    log: Path

    def end(self) -> str:
        """Say how it ended; it must have."""
        code = self.process.returncode
        return f"was killed by signal {-code}" if code < 0 else f"ended by itself with exit code {code}"

    def last_lines(self, count: int = 12) -> str:
        """Return the last lines that the child wrote, indented, each ending in a newline."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "".join(f"    {line}\n" for line in lines[-count:])


class Children:
    """A context that owns the folder and the processes; when it ends, neither exists any more."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="celery-exporter-demo-"))
        self._children: list[Child] = []
        read_end, write_end = os.pipe()
        with os.fdopen(read_end, "rb") as list_of_children:
            # -I and -S: the sweeper needs the standard library only, and nothing of the environment may stop it.
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
        shutil.rmtree(self.folder, ignore_errors=True)  # in case somebody killed the sweeper

    def start(self, title: str, command: Sequence[str], environment: Mapping[str, str]) -> Child:
        """Start a child in the folder. Raises OSError when it cannot be run."""
        log = self.folder / f"{title.replace(' ', '-')}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**environment, "TMPDIR": str(self.folder)},  # a worker that is killed leaves files there
                start_new_session=True,
            )
        child = Child(title, process, log)
        self._children.append(child)
        self._tell_sweeper(f"+{process.pid}")
        return child

    def ended(self) -> Child | None:
        """Return a child that ended although nobody stopped it, if there is one."""
        return next((child for child in self._children if child.process.poll() is not None), None)

    def ask_to_end(self, children: Sequence[Child]) -> None:
        """Send SIGTERM and do not wait: with a worker, its pool goes on with the tasks that run."""
        for child in children:
            child.process.terminate()

    def stop(
        self, children: Sequence[Child], *, grace: float, hurry: Callable[[], bool] = lambda: False
    ) -> None:
        """End these children with all their own; kill those that outlive `grace` seconds, or at once on `hurry`.

        They must have been asked to end, unless there is no grace.
        """
        deadline = time.monotonic() + grace
        waiting = list(children)
        while waiting and time.monotonic() < deadline and not hurry():
            time.sleep(_POLL_S)
            waiting = [child for child in waiting if child.process.poll() is None]
        for child in list(children):
            # The group, so that the children of a worker that was killed or crashed go too.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.process.pid, signal.SIGKILL)
            child.process.wait()
            self._children.remove(child)
            self._tell_sweeper(f"-{child.process.pid}")

    def _tell_sweeper(self, line: str) -> None:
        with suppress(BrokenPipeError):  # when somebody killed it
            self._to_sweeper.write(f"{line}\n".encode())


def python_environment() -> dict[str, str]:
    """Return the environment in which a Python child imports what this process imports, and Celery obeys us alone.

    Celery prefers CELERY_BROKER_URL and its likes to what the application says (celery, `celery/app/utils.py`,
    `Settings.broker_url`), so none of the user's may come through.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CELERY_")}
    environment["PYTHONPATH"] = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    environment["PYTHONUNBUFFERED"] = "1"
    return environment
