"""One RabbitMQ for all processes of a test run: the first that asks has it started, it ends when nobody uses it.

A keeper, a process of its own, is the server's parent. Who uses the server holds a shared lock, which the kernel takes
from a process that ends in whatever way; the keeper waits for that lock alone, and then ends the server.
"""

import fcntl
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.integration.servers.rabbitmq import Ports, RabbitMQ
from tests.waiting import wait_for

_ROOT: Final = Path(__file__).resolve().parents[3]
_START_S: Final = 120.0


@contextmanager
def shared_rabbitmq(folder: Path) -> Iterator[RabbitMQ]:
    """Use the server of ``folder``, which is the same for all processes of a run."""
    folder.mkdir(exist_ok=True)
    with _locked(folder / "users", fcntl.LOCK_SH):
        with _locked(folder / "starting", fcntl.LOCK_EX):
            if not _ports(folder).exists():
                _start(folder)
        yield RabbitMQ(folder / "server", ports=Ports(*json.loads(_ports(folder).read_text())))


def _start(folder: Path) -> None:
    """Start a keeper; returns when the server is up."""
    log = (os.POSIX_SPAWN_OPEN, 1, str(folder / "keeper.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", __name__, str(folder), json.dumps(Ports.free())],
        os.environ | {"PYTHONPATH": str(_ROOT)},
        file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), log, (os.POSIX_SPAWN_DUP2, 1, 2)],
        setsid=True,
    )

    def up() -> bool:
        assert os.waitpid(pid, os.WNOHANG) == (0, 0), (folder / "keeper.log").read_text()
        return _ports(folder).exists()

    wait_for(up, timeout=_START_S, what="the run's RabbitMQ")


def _keep(folder: Path, ports: Ports) -> None:
    """Run the server as long as somebody uses it."""
    server = RabbitMQ(folder / "server", ports=ports)
    try:
        server.start()
        new = folder / "ports.new"
        new.write_text(json.dumps(ports))
        new.rename(_ports(folder))
        with _locked(folder / "users", fcntl.LOCK_EX):
            _ports(folder).unlink()
            server.kill()  # a farewell takes seconds
    finally:
        server.kill()


def _ports(folder: Path) -> Path:
    """The file that is there while the server is up."""
    return folder / "ports.json"


@contextmanager
def _locked(file: Path, kind: int) -> Iterator[None]:
    with file.open("a") as handle:
        fcntl.flock(handle, kind)
        yield


if __name__ == "__main__":
    _keep(Path(sys.argv[1]), Ports(*json.loads(sys.argv[2])))
