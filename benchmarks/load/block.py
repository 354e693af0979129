"""Prepared publications for Redis that can be sent over and over, each time about other tasks.

To make so many messages anew costs more than to receive them. So a block of them is prepared once, and before it is
sent again three digits of every id are written over: one write of four bytes each, for base64 turns three bytes into
four characters wherever their place is a multiple of three. Spaces before an id in its JSON bring it to such a place.
Times and heartbeats' counts would go stale: times stay as they were prepared, which costs the exporter nothing, and
heartbeats are left out, of which there are a few in a second.
"""

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from benchmarks.stream import Workload, make_stream
from benchmarks.wire import redis_publication

#: Three hexadecimal digits.
LAPS: Final = 16**3
_ID: Final = re.compile(r'(?<=id": )"(?=[0-9a-f]{8}-)')
_HEARTBEAT: Final = "worker.heartbeat"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Messages, joined.

    Attributes:
        data: all of them.
        ends: where each ends in ``data``.
        events: number of events up to the end of each message.
        ids: where the digits stand that tell one lap's ids from another's, in order.
        ids_until: how many of ``ids`` lie before the end of each message.
    """

    data: bytearray
    ends: Sequence[int]
    events: Sequence[int]
    ids: Sequence[int]
    ids_until: Sequence[int]


def make_block(workload: Workload, start: float, database: str = "0") -> Block:
    """Prepare the messages of a workload, without heartbeats, whose first moment is ``start`` (epoch seconds)."""
    data, ends, counts, ids, ids_until = bytearray(), list[int](), list[int](), list[int](), list[int]()
    events = 0
    for message in make_stream(workload, start).messages:
        if message.routing_key == _HEARTBEAT:
            continue
        body, places = aligned(message.body)
        publication = redis_publication(replace(message, body=body), database)
        first = len(data) + publication.index(b64encode(body.encode()))
        ids += [first + place // 3 * 4 for place in places]
        data += publication
        events += body.count('"timestamp": ')
        ends.append(len(data))
        counts.append(events)
        ids_until.append(len(ids))
    return Block(data=data, ends=ends, events=counts, ids=ids, ids_until=ids_until)


def aligned(body: str) -> tuple[str, list[int]]:
    """Put spaces before ids so that each begins at a multiple of three; returns the body and these places."""
    pieces, places, taken, length = [], [], 0, 0
    for match in _ID.finditer(body):
        piece = body[taken : match.start()]
        spaces = -(length + len(piece) + 1) % 3
        pieces += [piece, " " * spaces, '"']
        length += len(piece) + spaces + 1
        places.append(length)
        taken = match.end()
    return "".join([*pieces, body[taken:]]), places


def digits(lap: int) -> bytes:
    """What is written over the places of ids in a lap."""
    return b64encode(b"%03x" % (lap % LAPS))
