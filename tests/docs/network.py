"""A private network with nothing but a loopback interface, in which commands are run with the ports that docs name."""

import subprocess
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.integration.servers.process import ServerProcess

_PRIVATE = ("unshare", "--user", "--map-root-user", "--net")
_LOOPBACK_UP = "ip link set lo up && echo up && exec sleep infinity"
_FORWARD = Path(__file__).with_name("forward.py")
_START_S = 20.0


class PrivateNetwork:
    """A network namespace that lives as long as this context manager; servers outside are let in port by port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._holder = ServerProcess([*_PRIVATE, "sh", "-c", _LOOPBACK_UP], log=folder / "network.log")
        self._stack = ExitStack()

    def command(self, *argv: str) -> list[str]:
        """This command, within the network."""
        return ["nsenter", "--preserve-credentials", "--user", "--net", f"--target={self._holder.pid}", *argv]

    def let_in(self, port: int, outside: int) -> None:
        """Let ``127.0.0.1:port`` within lead to ``127.0.0.1:outside``."""
        way = str(self._folder / f"{port}.sock")
        for number, argv in enumerate(
            (
                [sys.executable, str(_FORWARD), way, f"127.0.0.1:{outside}"],
                self.command(sys.executable, str(_FORWARD), f"127.0.0.1:{port}", way),
            )
        ):
            forward = ServerProcess(argv, log=self._folder / f"{port}-{number}.log")
            self._stack.callback(forward.kill)
            forward.start()
            forward.wait_until(partial(_is_ready, forward), timeout=_START_S, what="a forwarder")

    def get(self, url: str) -> str:
        """The page at an address within, or the empty text while there is none."""
        script = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())"
        done = subprocess.run(
            self.command(sys.executable, "-c", script, url),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout if done.returncode == 0 else ""

    def __enter__(self) -> Self:
        """Make it."""
        self._holder.start()
        self._stack.callback(self._holder.kill)
        self._holder.wait_until(
            lambda: "up" in self._holder.output, timeout=_START_S, what="a private network"
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove it with what runs in it."""
        self._stack.close()


def _is_ready(forward: ServerProcess) -> bool:
    return "ready" in forward.output


def may_have_network() -> bool:
    """Whether this machine lets us have such a network."""
    done = subprocess.run([*_PRIVATE, "ip", "link", "set", "lo", "up"], capture_output=True, check=False)
    return done.returncode == 0
