"""Workers that reply to remote control commands on Redis, each with a connection of its own, as real ones do.

Source of the facts: ``kombu/pidbox.py`` (``Node``, ``Mailbox._publish_reply``), ``kombu/transport/redis.py``
(``Channel._subscribe``, ``Channel._put``), ``celery/worker/control.py``.
"""

from __future__ import annotations

import base64
import json
import selectors
import socket
from typing import TYPE_CHECKING, Any, Final

import hiredis
import msgspec

from benchmarks.soak.pods import QUEUES
from benchmarks.wire import redis_command

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The name of every connection that is not the exporter's.
CONNECTION_NAME: Final = b"soak"
_CONNECTED_AT_ONCE: Final = 25


class _WorkerConnection:
    """A worker's subscription to commands."""

    def __init__(self, address: tuple[str, int], channel: str) -> None:
        self.socket = socket.create_connection(address)
        self.reader = hiredis.Reader()
        self.socket.sendall(
            redis_command(b"CLIENT", b"SETNAME", CONNECTION_NAME)
            + redis_command(b"SUBSCRIBE", channel.encode())
        )

    def read_commands(self) -> list[bytes]:
        """Read the commands that have come."""
        self.reader.feed(self.socket.recv(65_536))
        found = []
        while (message := self.reader.gets()) is not False:
            if isinstance(message, list) and message[0] == b"message":
                found.append(message[2])
        return found


class RemoteControl:
    """The workers that live, and how many replies they have sent."""

    def __init__(self, address: tuple[str, int], database: str) -> None:
        self._address = address
        self._channel = f"/{database}.celery.pidbox"
        self._workers: dict[str, _WorkerConnection] = {}
        self._selector = selectors.DefaultSelector()
        self._replies = socket.create_connection(address)
        self._replies.sendall(
            redis_command(b"CLIENT", b"SETNAME", CONNECTION_NAME) + redis_command(b"CLIENT", b"REPLY", b"OFF")
        )
        self._sent = 0

    def serve(self, names: Iterable[str]) -> int:
        """Let exactly these workers live, and reply to commands; returns the number of replies so far."""
        living = set(names)
        for name in self._workers.keys() - living:
            worker = self._workers.pop(name)
            self._selector.unregister(worker.socket)
            worker.socket.close()
        for name in sorted(living - self._workers.keys())[:_CONNECTED_AT_ONCE]:
            worker = self._workers[name] = _WorkerConnection(self._address, self._channel)
            self._selector.register(worker.socket, selectors.EVENT_READ, (name, worker))
        for key, _ in self._selector.select(0):
            name, worker = key.data
            for command in worker.read_commands():
                self._reply(name, command)
        return self._sent

    def _reply(self, worker: str, command: bytes) -> None:
        message = json.loads(base64.b64decode(json.loads(command)["body"]))
        if message.get("reply_to"):
            body = msgspec.json.encode({worker: _reply_to(message["method"])})
            envelope = {
                "body": base64.b64encode(body).decode(),
                "content-encoding": "utf-8",
                "content-type": "application/json",
                "headers": {"ticket": message["ticket"], "clock": 1},
                "properties": {"body_encoding": "base64", "delivery_mode": 2, "priority": 0},
            }
            key = str(message["reply_to"]["routing_key"]).encode()
            self._replies.sendall(redis_command(b"LPUSH", key, msgspec.json.encode(envelope)))
            self._sent += 1


def _reply_to(method: str) -> Any:
    if method == "stats":
        return {
            "pool": {"max-concurrency": 4, "processes": [11, 12, 13, 14]},
            "prefetch_count": 16,
            "pid": 10,
        }
    if method == "active_queues":
        return [{"name": queue, "exchange": {"name": queue}} for queue in QUEUES[:3]]
    return {"ok": "task events enabled"}
