"""Which queues RabbitMQ forbids us to declare passively, and when to try these again.

Source of the facts: rabbitmq-server, pull requests 16085 and 16272, and tries with 3.10.8, 4.0.5 and 4.3.6. Up to 4.2.5
a passive declare needs no permission. 4.2.6 and 4.3.0 want configure, later versions any one of configure, write and
read on the queue's name. Without it they refuse (403), whether or not the queue is there. Each refusal closes a
channel, and is an error in the broker's log.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Final

from celery_metrics_exporter.logs import fields

log = logging.getLogger(__name__)

#: Readings until some forbidden queues are declared again: a minute at the default interval.
PAUSE: Final = 12
#: How many of them, at most.
RETRIES: Final = 10

_SHOWN: Final = 10


def is_forbidden(refusal: str) -> bool:
    """Whether these words of the broker (403) say that we lack a permission."""
    return refusal.startswith("ACCESS_REFUSED")


class ForbiddenQueues:
    """The queues that were refused for want of a permission."""

    def __init__(self, pause: int = PAUSE) -> None:
        """``pause``: readings until some of them are declared again."""
        self._pause = pause
        self._reading = 0
        self._names: dict[str, None] = {}  # whose turn comes first stands first
        self._retry_at = 0
        self._told: frozenset[str] = frozenset()
        self._tell_at = 0

    def __contains__(self, name: str) -> bool:
        """Whether this queue is one of them."""
        return name in self._names

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._names)

    def begin(self, names: Collection[str]) -> set[str]:
        """Begin a reading of these queues, and forget all others; returns those that are not to be declared in it."""
        self._reading += 1
        wanted = set(names)
        self._names = dict.fromkeys(name for name in self._names if name in wanted)
        if self._reading < self._retry_at:
            return set(self._names)
        self._retry_at = self._reading + self._pause
        return set(list(self._names)[RETRIES:])

    def learn(self, found: Collection[str], refused: Mapping[str, str]) -> None:
        """Take the answers of this reading. Once a queue is not refused any more, all others are tried again too."""
        forbidden = {name for name, words in refused.items() if is_forbidden(words)}
        if self._names.keys() & {*found, *refused} - forbidden:
            self._names.clear()
            if self._told:
                log.info("RabbitMQ allows passive declares again")
                self._told = frozenset()
        if not self._names:
            self._retry_at = self._reading + self._pause
        for name in forbidden:
            self._names.pop(name, None)
            self._names[name] = None

    def forget(self) -> None:
        """Try them all again in the next reading, over a new connection."""
        self._names.clear()

    def tell(self, forbidden: Collection[str]) -> None:
        """Log which queues cannot be read, once, and more of them a minute later at the soonest."""
        if self._reading < self._tell_at or self._told.issuperset(forbidden):
            return
        self._told, self._tell_at = frozenset(forbidden), self._reading + PAUSE
        log.warning(
            "cannot read queue lengths: RabbitMQ refuses passive declares of %s (403); grant read on them or give "
            "--management-url",
            "1 queue" if len(forbidden) == 1 else f"{len(forbidden):,} queues",
            extra=fields(queues=", ".join(sorted(forbidden)[:_SHOWN])),
        )
