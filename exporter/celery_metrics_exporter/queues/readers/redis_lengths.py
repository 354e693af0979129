"""Query the lengths of a set of queues: one LLEN for each list of each queue, encoded once for the whole set."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from celery_metrics_exporter.facts import QueueFacts
from celery_metrics_exporter.queues.readers.redis_heads import ListHeads
from celery_metrics_exporter.queues.readers.redis_layout import Layout
from celery_metrics_exporter.queues.readers.redis_session import packed

#: The length of each list of a queue, in the order of the layout's steps; or an error, where the server refuses it.
Lengths = dict[str, "Sequence[Any]"]


class LengthQuery:
    """The commands for the lengths of some queues, and what their answers mean.

    Attributes:
        commands: encoded, ready to be sent.
        count: number of commands.
    """

    def __init__(self, queues: Iterable[str], layout: Layout) -> None:
        self._steps = layout.steps
        self._lists = {name: layout.lists(name) for name in queues}
        keys = [key for lists in self._lists.values() for key in lists]
        self.commands = packed(("LLEN", key) for key in keys)
        self.count = len(keys)

    def lengths(self, answers: Sequence[Any]) -> Lengths:
        """The answers by queue."""
        size = len(self._steps)
        return {name: answers[index * size : (index + 1) * size] for index, name in enumerate(self._lists)}

    def filled(self, lengths: Lengths) -> Iterator[bytes]:
        """The keys of the lists that are not empty."""
        for name, numbers in lengths.items():
            yield from (key for key, number in zip(self._lists[name], numbers, strict=True) if number)

    def facts(
        self, lengths: Lengths, bound: Collection[str], heads: ListHeads | None
    ) -> Mapping[str, QueueFacts]:
        """The facts of each queue; without ``heads`` nothing is known of its next messages."""
        return {
            name: QueueFacts(
                exists=name in bound or any(numbers),
                ready=sum(numbers),
                heads=None if heads is None else heads.of(self._lists[name]),
                by_priority=dict(zip(self._steps, numbers, strict=True)),
            )
            for name, numbers in lengths.items()
        }
