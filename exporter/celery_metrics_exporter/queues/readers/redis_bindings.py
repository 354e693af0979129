"""Find queues in a Redis database by kombu's binding tables, a few in each reading.

Source of the facts: ``kombu/transport/redis.py`` (``Channel._queue_bind``: producers and workers write a table when
they declare a queue, before any message; ``_delete`` removes it; an empty set has no key). SCAN's cursor visits the
whole database, where a result backend may keep millions of keys.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from celery_metrics_exporter.queues.internal import is_internal
from celery_metrics_exporter.queues.readers.redis_layout import Layout

#: Most tables that are known; no Celery application has more.
_MOST_TABLES: Final = 10_000
#: A table with n thousand bindings is read again after n more readings, at most after the second number of readings.
_PAUSE: Final = (1_000, 60)


@dataclass(slots=True)
class _Table:
    members: Collection[bytes] = ()
    queues: tuple[str, ...] = ()
    next_reading: int = 0


class Bindings:
    """The known binding tables and their queues."""

    def __init__(self, layout: Layout, event_exchange: str) -> None:
        """``event_exchange``: its table is not read; neither are those of remote control."""
        self._layout = layout
        self._event_exchange = event_exchange
        self._tables: dict[bytes, _Table] = {}
        #: Where the next SCAN continues; 0 when the whole database was visited.
        self.cursor = 0

    @property
    def queues(self) -> Collection[str]:
        """All bound queues, in the order in which they were found."""
        return dict.fromkeys(name for table in self._tables.values() for name in table.queues)

    def add_scanned(self, answer: Any) -> None:
        """Add the tables in an answer to SCAN; they are due at once."""
        cursor, keys = answer
        self.cursor = int(cursor)
        for key in keys:
            if len(self._tables) < _MOST_TABLES and key not in self._tables and self._binds_task_queues(key):
                self._tables[key] = _Table()

    def due(self, reading: int) -> list[bytes]:
        """The keys of the tables to read in the reading with this number."""
        return [key for key, table in self._tables.items() if table.next_reading <= reading]

    def update(self, key: bytes, members: Collection[bytes] | None, reading: int) -> None:
        """Store the members of a table that was read; removes a table without members."""
        table = self._tables[key]
        if not members:
            del self._tables[key]
            return
        size, longest = _PAUSE
        table.next_reading = reading + 1 + min(len(members) // size, longest)
        if table.members != members:
            names = (self._layout.queue(member) for member in members)
            table.queues = tuple(sorted(name for name in names if name is not None and not is_internal(name)))
            table.members = members

    def _binds_task_queues(self, key: bytes) -> bool:
        exchange = self._layout.exchange(key)
        return exchange != self._event_exchange and not is_internal(exchange)
