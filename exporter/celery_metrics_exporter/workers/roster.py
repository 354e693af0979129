"""The workers that we have heard of: who is up, gone or lost, and what they consume together.

Owns: the table of workers, bounded in number, and liveness by our own clock. Must not know: metrics, tasks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from celery_metrics_exporter.labels import OTHER, clean
from celery_metrics_exporter.workers.capacity import Consumption, consumption
from celery_metrics_exporter.workers.worker import Presence, Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery_metrics_exporter.clock import BatchClock, Clock
    from celery_metrics_exporter.events.stream_state import StreamState
    from celery_metrics_exporter.facts import WorkerFacts

#: A worker that said goodbye is shown for this long.
OFFLINE_RETENTION_SECONDS: Final = 120.0


class _Workers(dict[str, Worker]):
    """By their names as labels have them; others are looked for by ``find``."""

    def __init__(self, find: Callable[[str], Worker]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, name: str) -> Worker:
        return self._find(name)


class Roster:
    """The workers that we have heard of, bounded in number."""

    def __init__(
        self,
        subscription: StreamState,
        clock: Clock,
        now: BatchClock,
        *,
        timeout: float,
        retention: float,
        max_workers: int,
        on_overflow: Callable[[], None],
    ) -> None:
        """Args:
        subscription: tells silence from deafness.
        clock: the time of a scrape.
        now: times of receipt.
        timeout: seconds of silence after which a worker is lost.
        retention: seconds for which a lost worker is shown.
        max_workers: further ones share one record under the name ``other``.
        on_overflow: told when one does.
        """
        self._subscription = subscription
        self._monotonic = clock.monotonic
        self._now = now
        self._timeout = timeout
        self._retention = retention
        self._max_workers = max_workers
        self._on_overflow = on_overflow
        self._workers = _Workers(self._find)
        #: The record of a worker, by its nodename.
        self.of: Callable[[str], Worker] = self._workers.__getitem__

    def __contains__(self, name: str) -> bool:
        """Whether a worker of this nodename is known."""
        return name in self._workers

    def _find(self, name: str) -> Worker:
        label = clean(name)
        worker = self._workers.get(label)
        if worker is None and len(self._workers) >= self._max_workers:
            label = OTHER
            self._on_overflow()
            worker = self._workers.get(label)
        if worker is None:
            worker = self._workers[label] = Worker(label, self._now.monotonic, self._now.wall)
        return worker

    def hear(self, name: str) -> Worker:
        """The record of a worker of which an event came just now."""
        worker = self._workers[name]
        worker.heard = self._now.monotonic
        worker.last_seen = self._now.wall
        if worker.presence is Presence.LOST:
            worker.presence = Presence.UP
        return worker

    def count_outcome(self, name: str, outcome: str) -> None:
        """A task ended on a worker: succeeded, failed or retried."""
        self._workers[name].outcomes[outcome] += 1

    def inform(self, facts: WorkerFacts) -> None:
        """Take what a worker answered, which is a sign of life too."""
        worker = self.hear(facts.worker)
        worker.capacity.tell(facts, worker.heard)
        if facts.events_enabled is not None:
            worker.events_enabled = facts.events_enabled
            worker.unheard_work = False
        if facts.events_were_on is False:
            worker.switched_on = True

    def only_queue(self, name: str | None) -> str | None:
        """The queue that this worker consumes, if it consumes just one."""
        worker = self._workers.get(name or "")
        queues = None if worker is None else worker.capacity.queues
        return queues[0] if queues and len(queues) == 1 else None

    def may_consume(self, name: str | None, queue: str) -> bool:
        """Whether this worker may have a task from this queue: it consumes it, or has not told what it does."""
        worker = self._workers.get(name or "")
        queues = None if worker is None else worker.capacity.queues
        return queues is None or queue in queues

    def consumption(self) -> dict[str, Consumption]:
        """Who consumes which queue, of the workers that are up."""
        return consumption(worker.capacity for worker in self._alive())

    def all_told_queues(self) -> bool:
        """Whether every worker that is up has told what it consumes: a queue without workers has none then."""
        return all(worker.capacity.queues is not None for worker in self._alive())

    def all_send_events(self) -> bool:
        """Whether no worker that is up keeps its tasks to itself, as far as that is known."""
        return all(worker.events_enabled is not False for worker in self._alive())

    def _alive(self) -> list[Worker]:
        return [worker for worker in tuple(self._workers.values()) if self.is_alive(worker)]

    def is_alive(self, worker: Worker) -> bool:
        """Whether it is up and was heard of in time, as far as we were listening."""
        return worker.presence is Presence.UP and self._subscription.silence(worker.heard) <= self._timeout

    def shown(self) -> list[Worker]:
        """All but those that said goodbye a while ago; they are remembered longer, for their last tasks may yet end."""
        past = self._monotonic() - OFFLINE_RETENTION_SECONDS
        workers = tuple(self._workers.values())
        return [
            worker for worker in workers if worker.presence is not Presence.OFFLINE or worker.since >= past
        ]

    def lose(self) -> tuple[list[str], list[str]]:
        """Find workers that fell silent, and forget those that are long gone.

        Returns:
            The names of those found lost just now, and of those forgotten just now.
        """
        now = self._now.monotonic
        lost, forgotten = [], []
        for name, worker in tuple(self._workers.items()):
            worker.capacity.expire(now)
            if worker.presence is Presence.UP:
                if not self.is_alive(worker):
                    worker.presence = Presence.LOST
                    worker.since = now
                    lost.append(name)
            elif now - worker.since > self._retention:
                del self._workers[name]
                forgotten.append(name)
        return lost, forgotten
