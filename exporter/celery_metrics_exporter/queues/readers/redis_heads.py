"""Which message is next in each list: the one that has waited longest.

Owns: the ids of heads, which head to look at and when. Must not know: a connection, events, metrics.

Source of the facts: ``kombu/transport/redis.py`` (``Channel._put`` pushes left, ``_brpop_start`` takes from the right)
and ``celery/app/amqp.py`` (``as_task_v2``: the id of a task is a header of its message). A Redis list gives a message
as a whole or not at all, however big it is: big heads are looked at less often, and until then count as unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

#: A list is left alone for one reading for each such number of bytes of its head, up to the second number of readings.
_REST: Final = (65_536, 60)
#: Characters; an application may choose ids of its own, but none of such a length.
_LONGEST_ID: Final = 1024


@dataclass(slots=True)
class _Head:
    id: str
    next_reading: int


class Heads:
    """The heads of lists that are not empty."""

    def __init__(self) -> None:
        self._heads: dict[bytes, _Head] = {}

    def due(self, reading: int) -> list[bytes]:
        """The keys of known lists whose head is to be looked at in the reading with this number."""
        return [key for key, head in self._heads.items() if head.next_reading <= reading]

    def learn(self, key: bytes, payload: bytes | None, reading: int) -> None:
        """Take the head of a list; None of one that is empty."""
        if payload is None:
            self._heads.pop(key, None)
            return
        size, longest = _REST
        rest = min(len(payload) // size, longest)
        self._heads[key] = _Head(message_id(payload), reading + 1 + rest)

    def keep(self, filled: Iterable[bytes]) -> list[bytes]:
        """Forget all lists but these, which are not empty; returns those whose head is not known."""
        heads, missing = {}, []
        for key in filled:
            head = self._heads.get(key)
            if head is None:
                missing.append(key)
            else:
                heads[key] = head
        self._heads = heads
        return missing

    def of(self, lists: Iterable[bytes]) -> tuple[str, ...]:
        """The ids of the heads of those of these lists that have one."""
        return tuple(self._heads[key].id for key in lists if key in self._heads)


class _Headers(msgspec.Struct, frozen=True, gc=False):
    id: str | None = None


class _Message(msgspec.Struct, frozen=True, gc=False):
    headers: _Headers | None = None


_decode = msgspec.json.Decoder(_Message).decode


def message_id(payload: bytes) -> str:
    """The id of the task in a message; a digest of a message that carries none in its headers."""
    try:
        headers = _decode(payload).headers
    except (msgspec.MsgspecError, ValueError, RecursionError):
        headers = None
    if headers is not None and headers.id and len(headers.id) <= _LONGEST_ID:
        return headers.id
    return blake2b(payload, digest_size=16).hexdigest()
