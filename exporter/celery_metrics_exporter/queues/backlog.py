"""Finds out since when the message at the head of a queue waits, from samples of the broker and from events.

Messages carry no time of publication that a broker would show (``celery/app/amqp.py``, ``as_task_v2`` sets none).
Where the broker shows the message at the head (:class:`HeadTimes`), its id is joined with the task-sent of that id;
without one the message counts from the sample that first showed it. Where it does not (:class:`Backlog`), arrivals and
departures are counted: first in, first out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

#: Batches that are kept of one queue; with more of them the two newest are merged.
MAX_BATCHES: Final = 200


class HeadTimes:
    """The messages at the head of one queue, one for each priority, known by their ids."""

    __slots__ = ("_since",)

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def sample(
        self, heads: Iterable[str], sent_at: Callable[[str], float | None], now: float
    ) -> float | None:
        """Take a sample.

        Args:
            heads: ids of the messages at the head.
            sent_at: timestamp of the task-sent of an id, None if there was none.
            now: epoch seconds.

        Returns:
            Epoch seconds since which the oldest of them is known, None if there is none.
        """
        self._since = {head: min(now, sent_at(head) or self._since.get(head) or now) for head in heads}
        return min(self._since.values(), default=None)


@dataclass(frozen=True, slots=True)
class Movement:
    """What events tell of one queue since the sample before.

    Attributes:
        received: messages that workers have fetched; None if events of some may have been missed.
        first_sent: timestamp of the first task-sent, None if there was none.
    """

    received: int | None
    first_sent: float | None


class Backlog:
    """The messages of one queue, as batches that arrived between two samples."""

    __slots__ = ("_batches", "_total")

    def __init__(self) -> None:
        self._batches: deque[list[float]] = deque()  # [epoch seconds, number], oldest first
        self._total = 0

    def sample(self, ready: int, movement: Movement, now: float) -> float | None:
        """Take a sample.

        Args:
            ready: messages in the queue.
            movement: since the sample before.
            now: epoch seconds.

        Returns:
            Epoch seconds since which the message at the head is known; None if there is none or it cannot be known.
        """
        if movement.received is None:
            self._batches.clear()
            self._total = 0
        if movement.first_sent is not None and self._batches:  # task-sent may trail the message itself
            self._batches[-1][0] = min(self._batches[-1][0], movement.first_sent)
        left = movement.received or 0
        arrived = ready - self._total + left
        if arrived < 0:  # fewer than expected: purged, expired, or fetched without an event
            left -= arrived
            arrived = 0
        since = min(now, movement.first_sent or now)
        gone = left - self._total  # of those that arrived: the head came after them
        self._leave(left)
        if gone > 0:
            since += (now - since) * gone / arrived
            arrived = ready
        if arrived:
            if len(self._batches) < MAX_BATCHES:
                self._batches.append([since, 0])
            self._batches[-1][1] += arrived
        self._total = ready
        return self._batches[0][0] if self._batches and movement.received is not None else None

    def _leave(self, number: float) -> None:
        batches = self._batches
        while number > 0 and batches:
            if batches[0][1] > number:
                batches[0][1] -= number
                return
            number -= batches.popleft()[1]
