"""``python -m benchmarks.load.generator``: publishes prepared events to Redis at a rate.

It replies with the number of events in its block; then each request (see :mod:`benchmarks.child`) is a rate in events a
second and the seconds to publish for. Rate 0 is as fast as it can.
"""

import argparse
import math
import socket
import time
from bisect import bisect_right
from typing import Final
from urllib.parse import urlsplit

from benchmarks.child import reply, requests
from benchmarks.load.block import Block, digits, make_block
from benchmarks.stream import KINDS, NOMINAL_RATE, Workload
from benchmarks.wire import redis_command

#: Messages at most in one system call.
_CHUNK: Final = 200
_PAUSE_SECONDS: Final = 0.001


class Generator:
    """Publishes a block in laps over one connection, on which the server does not reply."""

    def __init__(self, url: str, block: Block) -> None:
        address = urlsplit(url)
        self._socket = socket.create_connection((address.hostname or "", address.port or 0))
        self._socket.sendall(redis_command(b"CLIENT", b"REPLY", b"OFF"))
        self._block = block
        self._lap = 0
        self._next = 0  # message of the block

    def publish(self, rate: float, seconds: float) -> dict[str, float]:
        """Publish for so long; returns the events, the seconds, and how many of them it was late at the worst."""
        block, sent, late = self._block, 0, 0.0
        began = time.monotonic()
        while (elapsed := time.monotonic() - began) < seconds:
            due = elapsed * rate if rate else math.inf
            if rate:
                late = max(late, (due - sent) / rate)
            before = block.events[self._next - 1] if self._next else 0
            end = bisect_right(block.events, before + due - sent, self._next, len(block.events))
            end = min(end, self._next + _CHUNK)
            if end == self._next:
                time.sleep(_PAUSE_SECONDS)
                continue
            self._send(end)
            sent += block.events[end - 1] - before
            if end == len(block.events):
                self._lap, self._next = self._lap + 1, 0
            else:
                self._next = end
        return {"events": sent, "seconds": time.monotonic() - began, "late": late}

    def _send(self, end: int) -> None:
        """Send the messages from the next one to this one, with the ids of this lap."""
        block, first = self._block, self._next
        data, token = block.data, digits(self._lap)
        known = block.ids_until[first - 1] if first else 0
        for place in block.ids[known : block.ids_until[end - 1]]:
            data[place : place + 4] = token
        with memoryview(data) as view:
            self._socket.sendall(view[block.ends[first - 1] if first else 0 : block.ends[end - 1]])


def main() -> None:
    """Publish on request, until the input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--tasks", type=int, required=True)
    parser.add_argument("--list-size", type=int, required=True)
    parser.add_argument("--kinds", type=int, default=KINDS)
    arguments = parser.parse_args()
    workload = Workload(
        tasks=arguments.tasks, list_size=arguments.list_size, rate=NOMINAL_RATE, kinds=arguments.kinds
    )
    block = make_block(workload, time.time())
    generator = Generator(arguments.url, block)
    reply(block.events[-1])
    for rate, seconds in requests():
        reply(generator.publish(float(rate), float(seconds)))


if __name__ == "__main__":
    main()
