"""``python -m benchmarks.soak.publisher``: the process that publishes the events of a cluster.

Each request (``publish``, ``pause``, ``report``, ``end``; see :mod:`benchmarks.child`) is replied to with how much was
published up to then. Each slice of time is prepared while the one before is being sent, and sent when it is over.
"""

from __future__ import annotations

import argparse
import select
import socket
import sys
import time
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

import hiredis

from benchmarks.child import reply
from benchmarks.soak.pods import Cluster
from benchmarks.soak.remote_control import CONNECTION_NAME, RemoteControl
from benchmarks.wire import AmqpWire, redis_command, redis_publication

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.stream import Message

_SLICE_SECONDS: Final = 0.05


class Publisher(Protocol):
    """A connection to a broker."""

    def publish(self, messages: Sequence[tuple[Message, int]]) -> int:
        """Publish messages that hold so many events each; returns the events for which there was a subscriber."""

    def serve(self, names: Iterable[str]) -> int:
        """Let these workers reply to remote control commands; returns the number of replies so far."""


class RedisPublisher:
    """Redis replies to each message with the number of subscribers that got it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "", parts.port or 0)
        self._database = parts.path.strip("/") or "0"
        self._socket = socket.create_connection(self._address)
        self._reader = hiredis.Reader()
        self._read_replies(redis_command(b"CLIENT", b"SETNAME", CONNECTION_NAME), 1)
        self._remote_control = RemoteControl(self._address, self._database)

    def publish(self, messages: Sequence[tuple[Message, int]]) -> int:
        """See :class:`Publisher`."""
        data = b"".join(redis_publication(message, self._database) for message, _ in messages)
        replies = self._read_replies(data, len(messages))
        return sum(events for (_, events), takers in zip(messages, replies, strict=True) if takers)

    def serve(self, names: Iterable[str]) -> int:
        """See :class:`Publisher`."""
        return self._remote_control.serve(names)

    def _read_replies(self, data: bytes, number: int) -> list[object]:
        self._socket.sendall(data)
        replies: list[object] = []
        while len(replies) < number:
            self._reader.feed(self._socket.recv(65_536))
            while (reply := self._reader.gets()) is not False:
                replies.append(reply)
        return replies


class AmqpPublisher:
    """RabbitMQ does not say who got a message, so publishing must pause while there is no subscriber."""

    def __init__(self, url: str) -> None:
        self._wire = AmqpWire(url, ())

    def publish(self, messages: Sequence[tuple[Message, int]]) -> int:
        """See :class:`Publisher`."""
        self._wire.send(b"".join(self._wire.encode(message) for message, _ in messages))
        return sum(events for _, events in messages)

    def serve(self, names: Iterable[str]) -> int:  # noqa: ARG002 - they never reply
        """See :class:`Publisher`."""
        return 0


def main() -> None:
    """Publish until the request to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--pods", type=int, required=True)
    parser.add_argument("--life", type=float, required=True)
    arguments = parser.parse_args()
    amqp = urlsplit(arguments.url).scheme.startswith("amqp")
    publisher: Publisher = AmqpPublisher(arguments.url) if amqp else RedisPublisher(arguments.url)
    cluster = Cluster(rate=arguments.rate, pods=arguments.pods, life=arguments.life)
    counts = {"sent": 0, "delivered": 0, "replies": 0, "names": 0, "late": 0.0}
    began, at, going = time.monotonic(), 0.0, False
    while True:
        request = _next_request(0.0 if going else None)
        if request == "publish" and not going:
            began, going = time.monotonic() - at, True
            cluster.start = time.time() - at
        elif request == "pause":
            going = False
        if request:
            reply(counts)
        if request == "end":
            return
        if going:
            at += _SLICE_SECONDS
            messages = list(cluster.until(at))
            pause = began + at - time.monotonic()
            counts["late"] = max(0.0, -pause)
            time.sleep(max(0.0, pause))
            counts["delivered"] += publisher.publish(messages)
            counts["sent"] += sum(events for _, events in messages)
            counts["replies"] = publisher.serve(cluster.pods)
            counts["names"] = cluster.names


def _next_request(timeout: float | None) -> str:
    """The next request; empty if there is none in time."""
    if not select.select([sys.stdin], [], [], timeout)[0]:
        return ""
    return sys.stdin.readline().strip() or "end"


if __name__ == "__main__":
    main()
