"""Faults of the way to a broker, whichever it is; each is a context manager."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.integration.faults.trial import Scene
from tests.integration.servers import HOST
from tests.waiting import wait_for

#: The name of a broker that has no fixed address.
MOVING: Final = "broker.test"
ELSEWHERE: Final = "127.0.0.2"
NOWHERE: Final = "127.0.0.3"

_FOUND_S: Final = 20.0
_PRIVATE: Final = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")


@contextmanager
def half_open_to_client(scene: Scene) -> Iterator[None]:
    """Nothing reaches the exporter any more over the connections that it has."""
    scene.stage.front.strand(to_client=True)
    yield


@contextmanager
def half_open_to_server(scene: Scene) -> Iterator[None]:
    """Nothing that the exporter sends reaches the broker any more over the connections that it has."""
    scene.stage.front.strand(to_server=True)
    yield


@contextmanager
def half_open(scene: Scene) -> Iterator[None]:
    """Nothing passes over the connections that there are, which stay open."""
    scene.stage.front.strand(to_client=True, to_server=True)
    yield


@contextmanager
def reset(scene: Scene) -> Iterator[None]:
    """The connection is reset in the middle of a message."""
    front = scene.stage.front
    front.reset_at(b"task.sent")
    wait_for(front.was_reset.is_set, timeout=_FOUND_S, what="a message in which to reset")
    yield


@contextmanager
def moved(scene: Scene) -> Iterator[None]:
    """The broker comes up at another address under its name, which leads nowhere meanwhile."""
    front, hosts = scene.stage.front, scene.stage.hosts
    front.refuse()
    name(hosts, NOWHERE)
    yield
    front.host = ELSEWHERE
    front.accept()
    name(hosts, ELSEWHERE)


def name(hosts: Path, address: str) -> None:
    """Let the file say that the broker is at this address."""
    hosts.parent.mkdir(parents=True, exist_ok=True)
    hosts.write_text(f"{HOST} localhost\n{address} {MOVING}\n")


def with_hosts(hosts: Path) -> tuple[str, ...]:
    """How the exporter is run with a file of hosts of its own, in a mount namespace of its own."""
    mount = 'mount --bind "$0" /etc/hosts && exec "$@"'
    return (*_PRIVATE, mount, str(hosts), sys.executable, "-m", "celery_metrics_exporter")


def may_have_hosts() -> bool:
    """Whether this machine lets us have such a namespace."""
    tried = subprocess.run(
        [*_PRIVATE, "mount --bind /etc/hosts /etc/hosts"], capture_output=True, check=False
    )
    return tried.returncode == 0
