"""A process in an image's root file system, as Kubernetes would run it: the image's user, nothing writable, process 1.

The network is the machine's own, so that servers on 127.0.0.1 can be reached. There is no /tmp to write to and no
/dev/shm, unless asked for; Docker and Kubernetes always give the latter.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.integration.servers import ServerProcess
from tests.waiting import wait_for

_STOP_S = 10.0

# In a mount namespace of its own: what is mounted here, nobody else sees, and it goes with the process.
_ENTER = """
set -eu
root=$1 user=$2 writable=$3
shift 3
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero random urandom; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/shm"
for folder in $writable; do
    mount -t tmpfs -o mode=1777 tmpfs "$root/$folder"
done
mount -o remount,ro "$root/dev"
mount -o remount,bind,ro "$root"
exec setpriv --no-new-privs {chroot} --userspec="$user" --groups="${{user#*:}}" "$root" "$@"
"""


@dataclass(frozen=True, slots=True)
class Image:
    """An image taken apart: its root file system, and its settings in the words of Docker's format."""

    root: Path
    settings: dict[str, Any]

    def argv(self, *command: str, first: bool = True, writable: tuple[str, ...] = ()) -> list[str]:
        """How ``command`` is run in it: ``first`` as process 1, and with the folders ``writable`` in memory."""
        enter = _ENTER.format(chroot=shutil.which("chroot"))
        own_processes = ("--pid", "--fork", "--kill-child") if first else ()
        return [
            *("/usr/bin/unshare", "--mount", *own_processes),
            *("/bin/sh", "-c", enter, "enter", str(self.root), self.settings["User"], " ".join(writable)),
            *command,
        ]

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """The image's environment and ``extra``, nothing of ours."""
        return dict(line.split("=", 1) for line in self.settings["Env"]) | dict(extra or {})

    def run(self, *command: str, env: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
        return subprocess.run(
            self.argv(*command),
            env=self.environment(env),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


class Container:
    """A command that runs as process 1 until it is stopped; a context manager that asserts exit code 0.

    ``command`` is the whole command, the entry point included; what it writes goes to ``log``.
    """

    def __init__(self, image: Image, *command: str, log: Path, env: Mapping[str, str]) -> None:
        self.process = ServerProcess(image.argv(*command), log=log, env=image.environment(env))

    @property
    def pid(self) -> int:
        """The id, seen from outside, of the process that is 1 inside."""
        outer = self.process.pid
        (inner,) = Path(f"/proc/{outer}/task/{outer}/children").read_text(encoding="ascii").split()
        return int(inner)

    def stop(self) -> int | None:
        """Send SIGTERM to process 1 and return how it ended."""
        os.kill(self.pid, signal.SIGTERM)
        wait_for(lambda: not self.process.running, timeout=_STOP_S, what="the end of process 1")
        return self.process.returncode

    def __enter__(self) -> Self:
        """Start."""
        self.process.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop unless the test did; how it ended counts only when nothing failed before."""
        try:
            if error is None and self.process.running:
                self.stop()
        finally:
            self.process.kill()
        if error is None:
            assert self.process.returncode == 0, self.process.describe()
