"""The queues that a Redis database itself names: kombu's tables of bindings, found little by little.

Owns: which tables are known, which to look at, the queues in them. Must not know: a connection, events, metrics.

Source of the facts: ``kombu/transport/redis.py`` (``Channel._queue_bind``: producers and workers write them when they
declare a queue, without any message; ``_delete`` takes them away; an empty set has no key). SCAN's cursor goes round
the whole database, in which a result backend may keep millions of keys.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from celery_metrics_exporter.queues.internal import is_internal

if TYPE_CHECKING:
    from celery_metrics_exporter.queues.readers.redis_layout import Layout

#: Tables known at most; more of them are no work of Celery's.
_MOST_TABLES: Final = 10_000
#: A table is left alone for one reading for each such number of its bindings, up to the second number of readings.
_REST: Final = (1_000, 60)


@dataclass(slots=True)
class _Table:
    members: Collection[bytes] = ()
    queues: tuple[str, ...] = ()
    next_reading: int = 0


class Bindings:
    """Queues by the tables that bind them."""

    def __init__(self, layout: Layout, event_exchange: str) -> None:
        """Args:
        layout: of the database.
        event_exchange: the table of this exchange is not looked at, nor are those of remote control.
        """
        self._layout = layout
        self._event_exchange = event_exchange
        self._tables: dict[bytes, _Table] = {}
        self._queues: dict[str, None] | None = {}
        #: Where SCAN goes on; 0 after it has been everywhere.
        self.cursor = 0

    @property
    def queues(self) -> Collection[str]:
        """All bound queues, in the order in which they were found; another object after each change."""
        if self._queues is None:
            self._queues = dict.fromkeys(name for table in self._tables.values() for name in table.queues)
        return self._queues

    def scanned(self, answer: Any) -> None:
        """Take an answer of SCAN; the tables that it brought are due at once."""
        cursor, keys = answer
        self.cursor = int(cursor)
        for key in keys:
            if len(self._tables) < _MOST_TABLES and key not in self._tables and self._is_told(key):
                self._tables[key] = _Table()

    def due(self, reading: int) -> list[bytes]:
        """The keys of the tables to look at in the reading with this number."""
        return [key for key, table in self._tables.items() if table.next_reading <= reading]

    def learn(self, key: bytes, members: Collection[bytes] | None, reading: int) -> None:
        """Take the members of a table that was due; without any it is forgotten."""
        table = self._tables[key]
        if not members:
            del self._tables[key]
            self._queues = None
            return
        size, longest = _REST
        table.next_reading = reading + 1 + min(len(members) // size, longest)
        if table.members != members:
            names = (self._layout.queue(member) for member in members)
            table.queues = tuple(sorted(name for name in names if name is not None and not is_internal(name)))
            table.members = members
            self._queues = None

    def _is_told(self, key: bytes) -> bool:
        exchange = self._layout.exchange(key)
        return exchange != self._event_exchange and not is_internal(exchange)
