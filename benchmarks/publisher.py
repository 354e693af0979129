"""``python -m benchmarks.publisher``: the process that publishes the stream.

It makes every message, replies with their number and the events in them, waits for a request, publishes, and replies
with the seconds that this took, see :mod:`benchmarks.child`.

Its pace is one of two. Without ``--rate`` the consumer always has something to read and never has much: the publisher
waits while more than :data:`BACKLOG_BYTES` lie in the sockets of the broker. So no consumer waits, and none is so far
behind that a broker would throw its events away. With ``--rate`` each message is sent at its own moment, as in real
life, and a consumer that is quick enough is woken up for each.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from benchmarks.child import reply
from benchmarks.stream import NOMINAL_RATE, Workload, make_stream
from benchmarks.wire import AmqpWire, RedisWire, Wire

#: Some 800 messages of three events: a third of a second's work for the slowest consumer, ten looks for the fastest.
BACKLOG_BYTES: Final = 1024 * 1024
#: The timestamps of the stream begin this long after the start: as long as publisher and consumer need to be ready.
_PREPARE_SECONDS: Final = 4.0
_PAUSE_SECONDS: Final = 0.002


def publish_on_time(wire: Wire, due: Sequence[float]) -> None:
    """Send each message when it is due (seconds from now, in order)."""
    start = time.monotonic()
    number = 0
    while number < len(due):
        elapsed = time.monotonic() - start
        end = number
        while end < len(due) and due[end] <= elapsed:
            end += 1
        if end == number:
            time.sleep(due[number] - elapsed)
        else:
            wire.send(b"".join(wire.messages[number:end]))
            number = end


def publish_backlog(wire: Wire, port: int) -> None:
    """Send all messages to the broker on ``port``, as fast as what it has sent on is read.

    A look at the sockets takes milliseconds, so between two of them as much is sent as there is room for.
    """
    messages, number = wire.messages, 0
    while number < len(messages):
        room = BACKLOG_BYTES - queued_bytes(port)
        if room <= 0:
            time.sleep(_PAUSE_SECONDS)
            continue
        chunk = []
        while room > 0 and number < len(messages):
            chunk.append(messages[number])
            room -= len(messages[number])
            number += 1
        wire.send(b"".join(chunk))


def queued_bytes(port: int) -> int:
    """Bytes sent and not read yet in this machine's connections of a server's port."""
    total = 0
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        # proc(5): sl, local_address, rem_address, st, tx_queue:rx_queue, all in hexadecimal.
        _, local, remote, _, queues, *_ = line.split()
        if port in (int(local.rpartition(":")[2], 16), int(remote.rpartition(":")[2], 16)):
            total += sum(int(queue, 16) for queue in queues.split(":"))
    return total


def main() -> None:
    """Make the stream, announce it, publish it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--tasks", type=int, required=True)
    parser.add_argument("--list-size", type=int, required=True)
    parser.add_argument("--unsent", action="store_true", help="nobody sends task-sent events")
    parser.add_argument("--rate", type=float, help="events a second")
    arguments = parser.parse_args()
    rate = arguments.rate or NOMINAL_RATE
    workload = Workload(
        tasks=arguments.tasks, list_size=arguments.list_size, rate=rate, sent=not arguments.unsent
    )
    stream = make_stream(workload, time.time() + _PREPARE_SECONDS)
    make_wire = AmqpWire if arguments.url.startswith("amqp") else RedisWire
    wire: Wire = make_wire(arguments.url, stream.messages)
    reply({"events": stream.events, "messages": len(stream.messages)})
    sys.stdin.readline()
    start = time.monotonic()
    if arguments.rate:
        publish_on_time(wire, [message.at for message in stream.messages])
    else:
        publish_backlog(wire, urlsplit(arguments.url).port or 0)
    reply(time.monotonic() - start)
    sys.stdin.readline()  # a broker drops what a connection still holds when that is closed


if __name__ == "__main__":
    main()
