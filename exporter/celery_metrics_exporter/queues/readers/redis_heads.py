"""The ids of the next messages: the head of each Redis list, which has waited longest.

Source of the facts: ``kombu/transport/redis.py`` (``Channel._put`` pushes left, ``_brpop_start`` takes from the right)
and ``celery/app/amqp.py`` (``as_task_v2``: the id of a task is a header of its message). Redis can only return a whole
message, however big it is. So big heads are read less often, and count as unchanged in between.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import msgspec

from celery_metrics_exporter.ids import id_text

#: A head of n times 64 KiB is read again after n more readings, at most after the second number of readings.
_PAUSE: Final = (65_536, 60)
#: Characters. An application may choose its own ids, but no longer ones.
_LONGEST_ID: Final = 1024


@dataclass(slots=True)
class _Head:
    id: str
    next_reading: int


class ListHeads:
    """The ids of the heads of lists that are not empty, and when to read each head again."""

    def __init__(self) -> None:
        self._heads: dict[bytes, _Head] = {}

    def due(self, reading: int) -> list[bytes]:
        """The keys of the known lists whose head is to be read in the reading with this number."""
        return [key for key, head in self._heads.items() if head.next_reading <= reading]

    def update(self, key: bytes, payload: bytes | None, reading: int) -> None:
        """Store the head of a list; None for a list that is empty."""
        if payload is None:
            self._heads.pop(key, None)
            return
        size, longest = _PAUSE
        pause = min(len(payload) // size, longest)
        self._heads[key] = _Head(message_id(payload), reading + 1 + pause)

    def keep(self, filled: Iterable[bytes]) -> list[bytes]:
        """Forget all lists but these, which are not empty; returns those of them whose head is not known."""
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
        """The ids of the known heads of these lists."""
        return tuple(self._heads[key].id for key in lists if key in self._heads)


class _Headers(msgspec.Struct, frozen=True, gc=False):
    id: str | int | float | dict[str, Any] | None = None


class _Message(msgspec.Struct, frozen=True, gc=False):
    headers: _Headers | None = None


_decode = msgspec.json.Decoder(_Message).decode


def message_id(payload: bytes) -> str:
    """The id of the task in a message; a digest of the message if its headers carry no id."""
    try:
        headers = _decode(payload).headers
    except (msgspec.MsgspecError, ValueError, RecursionError):
        headers = None
    text = None if headers is None else id_text(headers.id)
    if text and len(text) <= _LONGEST_ID:
        return text
    return blake2b(payload, digest_size=16).hexdigest()
