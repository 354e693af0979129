"""Which queues are known, and which of them are shown.

A queue is known from the configuration, from the broker, from a task-sent or from a worker that consumes it. It stays
known for a while after the last of these, so that an empty and abandoned queue stays visible at 0: that is when people
look for it.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Iterable
from fnmatch import translate
from typing import Final

from celery_metrics_exporter.clock import Clock
from celery_metrics_exporter.labels import SeriesLimit, clean, is_shared_label, queue_label
from celery_metrics_exporter.logs import fields

log = logging.getLogger(__name__)

#: A candidate that the broker does not have in this many samples is not asked for again: some brokers log each attempt.
CANDIDATE_SAMPLES: Final = 3
#: A queue that was not mentioned for this long is not shown any more.
RETENTION_SECONDS: Final = 3600.0


class KnownQueues:
    """The labels of queues, bounded in number. Written under the dispatcher's lock, read by any thread.

    Most labels are the names of their queues. Queues of one process each share one (:func:`labels.queue_label`), under
    which they are known together; of those only configured ones are asked for. Other queues are asked for by name,
    also where the label is only a part of it, or has other characters.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        configured: Iterable[str],
        candidates: Iterable[str] = (),
        include: Iterable[str] = (),
        exclude: Iterable[str] = (),
        is_internal: Callable[[str], bool],
        limit: SeriesLimit,
        learns: bool = True,
    ) -> None:
        """Args:
        configured: always known, whatever the patterns say.
        candidates: asked for at first, but known only once the broker has them.
        include: shell patterns of the only names to show; empty: all.
        exclude: shell patterns of names not to show.
        is_internal: whether a name is one of Celery's own queues, which are never shown.
        limit: of queues; further ones are not shown.
        learns: whether events and workers will name more; without them, and with nothing configured, the candidates
            are asked for until the broker has them.
        """
        self._monotonic = clock.monotonic
        self._include = _compile(include)
        self._exclude = _compile(exclude)
        self._is_internal = is_internal
        self._limit = limit
        named = tuple(configured)
        self._known: dict[str, float] = dict.fromkeys(map(queue_label, named), math.inf)  # label -> expiry
        self._asked: dict[str, float] = dict.fromkeys(named, math.inf)  # name -> expiry
        self._candidates = tuple(name for name in candidates if self.accepts(name))
        self._samples = 0
        self._waits = not learns and not named
        self._missing: frozenset[str] = frozenset()

    def __contains__(self, name: str) -> bool:
        """Whether the queue is known."""
        return queue_label(name) in self._known

    def accepts(self, name: str) -> bool:
        """Whether a queue of this name may be shown: one that is not Celery's own, and fits the patterns."""
        label = queue_label(name)
        if self._known.get(label) == math.inf:
            return True
        return (
            name != ""
            and not self._is_internal(name)
            and (self._include is None or any(map(self._include.match, (name, label))))
            and (self._exclude is None or not any(map(self._exclude.match, (name, label))))
        )

    def note(self, names: Iterable[str]) -> None:
        """Note that these queues were mentioned just now."""
        until = self._monotonic() + RETENTION_SECONDS
        known, asked = self._known, self._asked
        for name in names:
            label = queue_label(name)
            if name in asked or self.accepts(name):
                if label not in known and not self._limit.admits("celery_queue", len(known)):
                    continue
                known[label] = max(known.get(label, until), until)
                if name in asked or (not is_shared_label(label) and len(asked) < self._limit.maximum):
                    asked[name] = max(asked.get(name, until), until)

    def found(self, names: Iterable[str], *, missing: Iterable[str] = ()) -> None:
        """Note that the broker, asked for the wanted queues, has these, and says of others that they are missing."""
        self.note(names)
        self._samples += 1
        if self._samples == CANDIDATE_SAMPLES:
            if not self._waits:
                self._candidates = ()
            elif not self._known:
                log.warning(
                    "no queue is known: name the queues by --queue, or their application by --app",
                    extra=fields(tried=", ".join(map(clean, self._candidates))),
                )
        self._tell_missing(frozenset(name for name in missing if name in self))

    def _tell_missing(self, missing: frozenset[str]) -> None:
        """Say once of each queue that the broker does not have it, and again when it was there in between."""
        for name in sorted(missing - self._missing):
            log.warning(
                "the broker has no such queue, its length is left out", extra=fields(queue=clean(name))
            )
        self._missing = missing

    def wanted(self) -> tuple[str, ...]:
        """The names to ask the broker for."""
        return tuple(dict.fromkeys((*self._asked, *self._candidates)))

    def names(self) -> tuple[str, ...]:
        """The labels of the known queues."""
        return tuple(self._known)

    def sweep(self) -> None:
        """Forget the queues that were not mentioned for a while."""
        now = self._monotonic()
        for known in (self._known, self._asked):
            for name in [name for name, until in known.items() if until < now]:
                del known[name]


def _compile(patterns: Iterable[str]) -> re.Pattern[str] | None:
    texts = [translate(pattern) for pattern in patterns]
    return re.compile("|".join(texts)) if texts else None
