"""The process that publishes what a cluster tells: ``python -m benchmarks.soak.publisher``.

It is driven over its standard streams: each line of orders (``go``, ``hold``, ``tell``, ``end``) is answered by a line
of JSON that says how much was published up to then. Each slice of time is made while the one before is on its way,
and sent when it is over.
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

from benchmarks.dialogue import answer
from benchmarks.soak.answers import MARK, Answers
from benchmarks.soak.pods import Cluster
from benchmarks.wire import AmqpWire, redis_command, redis_publication

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.stream import Message

_SLICE_SECONDS: Final = 0.05


class Outlet(Protocol):
    """A connection to a broker."""

    def publish(self, messages: Sequence[tuple[Message, int]]) -> int:
        """Publish messages that hold so many events each; returns the events for which there was a subscriber."""

    def live(self, names: Iterable[str]) -> int:
        """Let these workers answer questions; returns how many they have answered."""


class RedisOutlet:
    """Redis tells for each message how many got it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "", parts.port or 0)
        self._database = parts.path.strip("/") or "0"
        self._socket = socket.create_connection(self._address)
        self._reader = hiredis.Reader()
        self._replies(redis_command(b"CLIENT", b"SETNAME", MARK), 1)
        self._answers = Answers(self._address, self._database)

    def publish(self, messages: Sequence[tuple[Message, int]]) -> int:
        """See :class:`Outlet`."""
        data = b"".join(redis_publication(message, self._database) for message, _ in messages)
        replies = self._replies(data, len(messages))
        return sum(events for (_, events), takers in zip(messages, replies, strict=True) if takers)

    def live(self, names: Iterable[str]) -> int:
        """See :class:`Outlet`."""
        return self._answers.step(names)

    def _replies(self, data: bytes, number: int) -> list[object]:
        self._socket.sendall(data)
        replies: list[object] = []
        while len(replies) < number:
            self._reader.feed(self._socket.recv(65_536))
            while (reply := self._reader.gets()) is not False:
                replies.append(reply)
        return replies


class AmqpOutlet:
    """RabbitMQ tells nothing, so that somebody must hold us while there is no subscriber."""

    def __init__(self, url: str) -> None:
        self._wire = AmqpWire(url, ())

    def publish(self, messages: Sequence[tuple[Message, int]]) -> int:
        """See :class:`Outlet`."""
        self._wire.send(b"".join(self._wire.encode(message) for message, _ in messages))
        return sum(events for _, events in messages)

    def live(self, names: Iterable[str]) -> int:  # noqa: ARG002 - they stay silent
        """See :class:`Outlet`."""
        return 0


def main() -> None:
    """Publish until told to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--pods", type=int, required=True)
    parser.add_argument("--life", type=float, required=True)
    arguments = parser.parse_args()
    amqp = urlsplit(arguments.url).scheme.startswith("amqp")
    outlet: Outlet = AmqpOutlet(arguments.url) if amqp else RedisOutlet(arguments.url)
    cluster = Cluster(rate=arguments.rate, pods=arguments.pods, life=arguments.life)
    counts = {"sent": 0, "delivered": 0, "answers": 0, "names": 0, "late": 0.0}
    began, at, going = time.monotonic(), 0.0, False
    while True:
        order = _order(0.0 if going else None)
        if order == "go" and not going:
            began, going = time.monotonic() - at, True
            cluster.start = time.time() - at
        elif order == "hold":
            going = False
        if order:
            answer(counts)
        if order == "end":
            return
        if going:
            at += _SLICE_SECONDS
            messages = list(cluster.until(at))
            pause = began + at - time.monotonic()
            counts["late"] = max(0.0, -pause)
            time.sleep(max(0.0, pause))
            counts["delivered"] += outlet.publish(messages)
            counts["sent"] += sum(events for _, events in messages)
            counts["answers"] = outlet.live(cluster.pods)
            counts["names"] = cluster.names


def _order(timeout: float | None) -> str:
    """The next order; empty if there is none in time."""
    if not select.select([sys.stdin], [], [], timeout)[0]:
        return ""
    return sys.stdin.readline().strip() or "end"


if __name__ == "__main__":
    main()
