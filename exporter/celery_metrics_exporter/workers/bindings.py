"""Which queues a message goes to, by exchange and routing key, from the bindings that workers answer.

Source of the facts: ``kombu/entity.py`` (``Queue``: one exchange and routing key, or ``bindings``), the AMQP model of
exchanges (direct: equal keys; topic: words, ``*`` for one, ``#`` for any number; fanout: every queue), which kombu's
virtual transports imitate, and ``kombu/transport/native_delayed_delivery.py``
(``bind_queue_to_native_delayed_delivery_exchange``: queues of all exchanges but direct ones, by their own keys).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from celery_metrics_exporter.facts import Binding
from celery_metrics_exporter.labels import queue_label

#: Topic patterns of one exchange that are tried; one with more is a mistake, and each publication would pay for it.
MAX_PATTERNS: Final = 500


class WorkerBindings:
    """An index of bindings; queues are given by their labels."""

    def __init__(self, bindings: Iterable[Binding] = ()) -> None:
        self._exact: dict[tuple[str, str], set[str]] = {}
        self._patterns: dict[str, dict[tuple[str, ...], set[str]]] = {}
        self._topic_keys: dict[str, set[str]] = {}  # of all topic exchanges together
        self._all: dict[str, set[str]] = {}
        self._exchanges: dict[str, set[str]] = {}  # by queue
        for binding in bindings:
            self._add(binding)

    def _add(self, binding: Binding) -> None:
        exchange, key, queue = binding.exchange, binding.key, queue_label(binding.queue)
        self._exchanges.setdefault(queue, set()).add(exchange)
        if binding.kind == "fanout":
            self._all.setdefault(exchange, set()).add(queue)
        elif binding.kind != "topic":
            self._exact.setdefault((exchange, key), set()).add(queue)
        elif "*" not in key and "#" not in key:
            self._exact.setdefault((exchange, key), set()).add(queue)
            self._topic_keys.setdefault(key, set()).add(queue)
        else:
            patterns = self._patterns.setdefault(exchange, {})
            words = tuple(key.split("."))
            if words in patterns or len(patterns) < MAX_PATTERNS:
                patterns.setdefault(words, set()).add(queue)

    def queues(self, exchange: str, key: str) -> set[str]:
        """The queues to which a message with this routing key goes from this exchange."""
        found = self._all.get(exchange, set()) | self._exact.get((exchange, key), set())
        for pattern, queues in self._patterns.get(exchange, {}).items():
            if _fits(pattern, key):
                found |= queues
        return found

    def are_known_without(self, queue: str, exchange: str) -> bool:
        """Whether the bindings of this queue are known, and none is to this exchange."""
        exchanges = self._exchanges.get(queue)
        return exchanges is not None and exchange not in exchanges

    def delayed_queues(self, key: str) -> set[str]:
        """The queues to which a delayed message goes whose routing key was this before its delay."""
        found = set(self._topic_keys.get(key, ()))
        for exchange in () if found else self._patterns:
            found |= self.queues(exchange, key)
        return found


def _fits(pattern: Sequence[str], key: str) -> bool:
    """Whether the words of a topic binding fit a routing key; in steps, so that no pattern takes long."""
    words = key.split(".")
    at = place = 0
    rest: tuple[int, int] | None = None  # the latest "#" in the pattern, and up to where it has taken words
    while at < len(words):
        expected = pattern[place] if place < len(pattern) else None
        if expected == "#":
            rest = place, at
            place += 1
        elif expected in ("*", words[at]):
            at += 1
            place += 1
        elif rest is not None:
            place, at = rest[0] + 1, rest[1] + 1
            rest = rest[0], at
        else:
            return False
    return all(word == "#" for word in pattern[place:])
