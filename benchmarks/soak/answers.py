"""Workers that answer questions of remote control on Redis, each with a connection of its own, as real ones do.

Owns: their connections and what they answer. Must not know: who asks.

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
MARK: Final = b"soak"
_CONNECTED_AT_ONCE: Final = 25


class _Line:
    """A worker's connection."""

    def __init__(self, address: tuple[str, int], channel: str) -> None:
        self.socket = socket.create_connection(address)
        self.reader = hiredis.Reader()
        self.socket.sendall(
            redis_command(b"CLIENT", b"SETNAME", MARK) + redis_command(b"SUBSCRIBE", channel.encode())
        )

    def questions(self) -> list[bytes]:
        """What was asked."""
        self.reader.feed(self.socket.recv(65_536))
        found = []
        while (reply := self.reader.gets()) is not False:
            if isinstance(reply, list) and reply[0] == b"message":
                found.append(reply[2])
        return found


class Answers:
    """The workers that live, and what they have been asked."""

    def __init__(self, address: tuple[str, int], database: str) -> None:
        self._address = address
        self._channel = f"/{database}.celery.pidbox"
        self._lines: dict[str, _Line] = {}
        self._selector = selectors.DefaultSelector()
        self._post = socket.create_connection(address)
        self._post.sendall(
            redis_command(b"CLIENT", b"SETNAME", MARK) + redis_command(b"CLIENT", b"REPLY", b"OFF")
        )
        self._given = 0

    def step(self, names: Iterable[str]) -> int:
        """Let exactly these workers live, and answer; returns how many answers were given so far."""
        living = set(names)
        for name in self._lines.keys() - living:
            line = self._lines.pop(name)
            self._selector.unregister(line.socket)
            line.socket.close()
        for name in sorted(living - self._lines.keys())[:_CONNECTED_AT_ONCE]:
            line = self._lines[name] = _Line(self._address, self._channel)
            self._selector.register(line.socket, selectors.EVENT_READ, (name, line))
        for key, _ in self._selector.select(0):
            worker, line = key.data
            for question in line.questions():
                self._answer(worker, question)
        return self._given

    def _answer(self, worker: str, question: bytes) -> None:
        message = json.loads(base64.b64decode(json.loads(question)["body"]))
        if message.get("reply_to"):
            body = msgspec.json.encode({worker: _answer_to(message["method"])})
            envelope = {
                "body": base64.b64encode(body).decode(),
                "content-encoding": "utf-8",
                "content-type": "application/json",
                "headers": {"ticket": message["ticket"], "clock": 1},
                "properties": {"body_encoding": "base64", "delivery_mode": 2, "priority": 0},
            }
            key = str(message["reply_to"]["routing_key"]).encode()
            self._post.sendall(redis_command(b"LPUSH", key, msgspec.json.encode(envelope)))
            self._given += 1


def _answer_to(method: str) -> Any:
    if method == "stats":
        return {
            "pool": {"max-concurrency": 4, "processes": [11, 12, 13, 14]},
            "prefetch_count": 16,
            "pid": 10,
        }
    if method == "active_queues":
        return [{"name": queue, "exchange": {"name": queue}} for queue in QUEUES[:3]]
    return {"ok": "task events enabled"}
