"""One operating system process with its whole group: started, paused, stopped by id, its output kept in a file.

Knows nothing of what runs in it; the servers beside this module do.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from tests.preloaded import Preloaded, is_preloaded
from tests.waiting import wait_for

T = TypeVar("T")

_TAIL_LINES = 40
_KILL_S = 10.0


class ServerProcess:
    """A program that runs in a process group of its own until it is stopped.

    Its standard output and error are appended to ``log``, over all starts. ``env`` is the whole environment.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.argv = [str(argument) for argument in argv]
        self.log = log
        self._env = env
        self._cwd = cwd
        self._process: subprocess.Popen[bytes] | Preloaded | None = None

    @property
    def pid(self) -> int:
        """The id of the running (or last) process."""
        assert self._process is not None, f"{self.argv[0]} was never started"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process lives; a paused one does."""
        return self._process is not None and self._process.poll() is None

    @property
    def returncode(self) -> int | None:
        """How the last process ended: its exit code, or minus the signal; None while it runs."""
        return None if self._process is None else self._process.poll()

    @property
    def output(self) -> str:
        """Everything that the process wrote so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def describe(self) -> str:
        """Tell how the process fares, with the end of its output: for failure messages."""
        state = "running" if self.running else f"ended with {self.returncode}"
        tail = "\n".join(self.output.splitlines()[-_TAIL_LINES:])
        return f"{self.argv[0]} ({state}); the end of {self.log}:\n{tail}"

    def start(self) -> None:
        """Start the program; it must not be running."""
        assert not self.running, f"{self.argv[0]} is running already"
        env = dict(os.environ if self._env is None else self._env)
        with self.log.open("ab") as log:
            if is_preloaded(self.argv, env):
                self._process = Preloaded(
                    self.argv, env=env, cwd=self._cwd, stdout=log.fileno(), stderr=log.fileno()
                )
                return
            self._process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=self._cwd,
                start_new_session=True,
            )

    def wait_until(self, ready: Callable[[], T], *, timeout: float, what: str) -> T:
        """Wait for ``ready`` to return something true; fail at once, with the log, when the process ends."""

        def ended_or_ready() -> tuple[T] | None:
            assert self.running, f"it ended before there was {what}: {self.describe()}"
            value = ready()
            return (value,) if value else None

        found = wait_for(ended_or_ready, timeout=timeout, what=lambda: f"{what}: {self.describe()}")
        assert found is not None
        return found[0]

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process itself, not to its group."""
        os.kill(self.pid, number)

    def pause(self) -> None:
        """Freeze the whole group (SIGSTOP): connections stay open, nothing answers."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused group go on (SIGCONT)."""
        os.killpg(self.pid, signal.SIGCONT)

    def stop(self, *, timeout: float = 15.0, number: signal.Signals = signal.SIGTERM) -> int | None:
        """Ask the process to end, kill its group after ``timeout`` seconds, and return the exit code.

        None when it was never started. Nothing of the group is left behind.
        """
        if self._process is None:
            return None
        if self._process.poll() is None:
            self.resume()
            self.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout)
        return self.kill()

    def kill(self) -> int | None:
        """End the whole group at once (SIGKILL) and return the exit code."""
        if self._process is None:
            return None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        code = self._process.wait(_KILL_S)
        wait_for(self._group_is_gone, timeout=_KILL_S, what=f"the end of process group {self.pid}")
        return code

    def _group_is_gone(self) -> bool:
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return True
        # Children that ended but wait for their adoptive parent to reap them still count as a group.
        return all(_is_zombie(pid) for pid in group_members(self.pid))


def group_members(group: int) -> list[int]:
    """List the ids of the processes in a process group, from /proc."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # proc(5): "pid (comm) state ppid pgrp ..."; comm may hold spaces and parentheses.
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[2]) == group:
                members.append(int(stat.parent.name))
    return members


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True
