"""The keys under which kombu keeps queues, bindings and unacknowledged messages in a Redis database.

Source of the facts: ``kombu/transport/redis.py`` (``Channel._q_for_pri``: a list for each priority; ``_queue_bind``:
a set for each exchange; ``QoS``: a hash and a sorted set of what consumers hold; ``GlobalKeyPrefixMixin``).
"""

from __future__ import annotations

import re
from typing import Any


class Layout:
    """Names of keys.

    Attributes:
        prefix: stands before every key.
        steps: the priorities that have their own list, in the order in which workers take from them.
        table: key of an exchange's binding table, with ``%s`` for the exchange.
        unacked: key of the hash of messages that workers hold; None where kombu keeps none.
        unacked_index: key of the sorted set of these messages, by time of delivery.
    """

    def __init__(self, channel: Any) -> None:
        """``channel``: a ``kombu.transport.redis.Channel``, whose public attributes are read."""
        kept = channel.ack_emulation
        self.prefix: str = channel.global_keyprefix
        self.steps = tuple(dict.fromkeys(int(step) for step in channel.priority_steps))
        self.table: str = channel.keyprefix_queue
        self.unacked = _encoded(self.prefix + channel.unacked_key) if kept else None
        self.unacked_index = _encoded(self.prefix + channel.unacked_index_key) if kept else None
        self._separator: str = (
            channel.sep
        )  # between a queue's name and its priority, and the parts of a binding

    def lists(self, queue: str) -> tuple[bytes, ...]:
        """The keys of a queue's lists, in the order of ``steps``; an empty list has no key in the database."""
        name = self.prefix + queue
        return tuple(_encoded(f"{name}{self._separator}{step}" if step else name) for step in self.steps)

    @property
    def tables(self) -> bytes:
        """The pattern of the keys of all binding tables, for SCAN."""
        return _encoded(re.sub(r"([*?\[\]\\])", r"\\\1", self.prefix) + self.table % "*")

    def exchange(self, table: bytes) -> str:
        """The name of the exchange with this binding table."""
        return table.decode(errors="replace").removeprefix(self.prefix + self.table % "")

    def queue(self, binding: bytes) -> str | None:
        """The queue in a member of a binding table; None if it is no binding of kombu."""
        match binding.split(_encoded(self._separator)):
            case [_routing_key, _pattern, queue]:
                try:
                    return queue.decode() or None
                except UnicodeDecodeError:
                    return None
            case _:
                return None


def _encoded(key: str) -> bytes:
    # Names of queues come from events too, and JSON can hold lone surrogates; no key in Redis matches those.
    return key.encode(errors="surrogatepass")
