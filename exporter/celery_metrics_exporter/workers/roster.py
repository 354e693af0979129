"""The table of known workers, bounded in number: who is up, offline or lost, and what they consume together.

Liveness goes by our own clock, never by timestamps of workers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import chain, islice
from typing import Final

from celery_metrics_exporter.clock import BatchClock, Clock
from celery_metrics_exporter.events.stream_state import StreamState
from celery_metrics_exporter.facts import WorkerFacts
from celery_metrics_exporter.labels import OTHER, SeriesLimit, clean
from celery_metrics_exporter.logs import ThrottledLog
from celery_metrics_exporter.workers.bindings import WorkerBindings
from celery_metrics_exporter.workers.capacity import Consumption, consumption
from celery_metrics_exporter.workers.worker import Presence, Worker

log = logging.getLogger(__name__)

_CONSUMED: Final = "celery_worker_queue_info"
#: Queues that workers consume are known beyond those that are shown, so that what is derived from them stays true.
KNOWN_FOR_EACH_SHOWN: Final = 10
_SHARED: Final = "several workers share one name: give each its own (-n NAME@%h), for their metrics mix"
#: A worker that sent worker-offline is shown for this long.
OFFLINE_RETENTION_SECONDS: Final = 120.0

#: Bindings of all workers together, of which most are alike.
MAX_BINDINGS: Final = 100_000


class _Workers(dict[str, Worker]):
    """Workers by their names as labels have them; ``find`` is called for any other name."""

    def __init__(self, find: Callable[[str], Worker]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, name: str) -> Worker:
        return self._find(name)


class Roster:
    """The known workers, bounded in number."""

    def __init__(
        self,
        stream: StreamState,
        clock: Clock,
        now: BatchClock,
        *,
        timeout: float,
        retention: float,
        limit: SeriesLimit,
        listens: bool = True,
    ) -> None:
        """Args:
        stream: tells for how long events could have come.
        clock: the time of a scrape.
        now: times of receipt.
        timeout: seconds of silence after which a worker is lost.
        retention: seconds for which a lost worker is shown.
        limit: of workers; further ones share one record under the name ``other``. Also of the queues that all
            workers together consume; further ones are left out.
        listens: whether workers can become known at all.
        """
        self._listens = listens
        self._stream = stream
        self._monotonic = clock.monotonic
        self._now = now
        self._timeout = timeout
        self._retention = retention
        self._limit = limit
        self._queues = self._shown = 0  # of all workers together
        self._log = ThrottledLog(log, lambda: now.monotonic)
        self._workers = _Workers(self._find)
        self._bindings: WorkerBindings | None = WorkerBindings()
        self._standby_of = 0  # number of the subscription on whose standby workers were forgotten
        #: The record of a worker, by its nodename.
        self.of: Callable[[str], Worker] = self._workers.__getitem__

    def __contains__(self, name: str) -> bool:
        """Whether a worker of this nodename is known."""
        return name in self._workers

    def _find(self, name: str) -> Worker:
        label = clean(name)
        worker = self._workers.get(label)
        if worker is None and not self._limit.admits("celery_worker", len(self._workers)):
            label = OTHER
            worker = self._workers.get(label)
        if worker is None:
            worker = self._workers[label] = Worker(
                label, self._now.monotonic, self._now.wall, self._stream.silence
            )
        return worker

    def touch(self, name: str) -> Worker:
        """Note a sign of life of a worker, and return its record."""
        worker = self._workers[name]
        worker.heard = self._now.monotonic
        worker.last_seen = self._now.wall
        if worker.presence is Presence.LOST:
            worker.presence = Presence.UP
        return worker

    def count_outcome(self, name: str, outcome: str) -> None:
        """Count the outcome of a task (succeeded, failed, retried) on a worker."""
        self._workers[name].outcomes[outcome] += 1

    def apply_inspection(self, facts: WorkerFacts) -> bool:
        """Take what a worker answered, which is a sign of life too; not on standby, where another exporter shows it."""
        if self._stream.read().standby:
            return False
        worker = self.touch(facts.worker)
        if facts.answered_twice:
            worker.share_name(worker.heard)
        capacity, maximum = worker.capacity, self._limit.maximum
        bindings = capacity.bindings
        others = self._queues - len(capacity.queues or ()), self._shown - capacity.shown
        surplus = capacity.apply(
            facts,
            worker.heard,
            room=max(0, KNOWN_FOR_EACH_SHOWN * maximum - others[0]),
            series=max(0, maximum - others[1]),
            shared=worker.shares_its_name,
        )
        if capacity.bindings != bindings:
            self._bindings = None
        self._queues, self._shown = others[0] + len(capacity.queues or ()), others[1] + capacity.shown
        for _ in range(surplus):
            self._limit.admits(_CONSUMED, self._limit.maximum)
        if facts.events_enabled is not None:
            worker.note_events(enabled=facts.events_enabled)
        if facts.events_were_on is False:
            worker.switched_on = True
        return True

    def only_queue(self, name: str | None) -> str | None:
        """The queue that this worker consumes, if it is known to consume exactly one."""
        worker = self._workers.get(name or "")
        return None if worker is None else worker.capacity.only_queue(shared=worker.shares_its_name)

    def may_consume(self, name: str | None, queue: str) -> bool:
        """Whether this worker may have a task from this queue: false if it is known not to consume it."""
        worker = self._workers.get(name or "")
        queues = None if worker is None else worker.capacity.certain_queues(shared=worker.shares_its_name)
        return queues is None or queue in queues

    @property
    def bindings(self) -> WorkerBindings:
        """The bindings of the queues that workers consume."""
        if self._bindings is None:
            told = (worker.capacity.bindings for worker in self._workers.values())
            self._bindings = WorkerBindings(islice(chain.from_iterable(told), MAX_BINDINGS))
        return self._bindings

    def may_hold(self, name: str, received: float) -> bool:
        """Whether this worker is up, and what it received at this time (by its clock) may still wait in it.

        A worker drops what it has not started when it loses its connection (``celery/worker/consumer/consumer.py``,
        ``Consumer.on_close``); then it sends worker-online, as a new process does.
        """
        worker = self._workers.get(name)
        if worker is None or not self.is_alive(worker):
            return False
        return worker.online_at <= received or worker.shares_its_name

    def consumption(self) -> dict[str, Consumption]:
        """By queue, the workers that are up and consume it."""
        return consumption(worker.capacity for worker in self._alive())

    def own_queues(self) -> list[str]:
        """The names of the queues that workers have for themselves, as many as the limit has room for."""
        own = chain.from_iterable(worker.capacity.own_queues for worker in self._alive())
        return list(islice(own, self._limit.maximum))

    def all_told_queues(self) -> bool:
        """Whether every worker that is up has told what it consumes, so that a queue of none has no workers."""
        return self._listens and all(
            worker.capacity.told_by_all(shared=worker.shares_its_name) for worker in self._alive()
        )

    def all_send_events(self) -> bool:
        """Whether no worker that is up is known to send no task events."""
        return all(worker.events_enabled is not False for worker in self._alive())

    def takes_question(self) -> bool:
        """Whether some worker that is up is to be asked for task events now; true once, until the next time."""
        now = self._now.monotonic
        due = [worker for worker in self._workers.values() if worker.ask_at <= now and self.is_alive(worker)]
        for worker in due:
            worker.asked(now)
        return bool(due)

    def _alive(self) -> list[Worker]:
        return [worker for worker in tuple(self._workers.values()) if self.is_alive(worker)]

    def is_alive(self, worker: Worker) -> bool:
        """Whether it is up and gave a sign of life in time; time without a subscription does not count."""
        return worker.presence is Presence.UP and self._stream.silence(worker.heard) <= self._timeout

    def shown(self) -> list[Worker]:
        """All but those that went offline a while ago, which are remembered longer: their last tasks may yet end."""
        past = self._monotonic() - OFFLINE_RETENTION_SECONDS
        workers = tuple(self._workers.values())
        return [
            worker for worker in workers if worker.presence is not Presence.OFFLINE or worker.since >= past
        ]

    def expire(self) -> tuple[list[str], list[str]]:
        """Mark workers that fell silent as lost, and forget those that have been gone for long.

        A standby forgets them all when it becomes one: what it knew would stay as it was, beside the truth of another.

        Returns:
            The names of those found lost just now, and of those forgotten just now.
        """
        now = self._now.monotonic
        lost: list[str] = []
        forgotten: list[str] = []
        self._queues = self._shown = 0
        state = self._stream.read()
        if state.standby and state.connections != self._standby_of:
            self._standby_of = state.connections
            forgotten = list(self._workers)
            self._workers.clear()
            self._bindings = None
            return lost, forgotten
        for name, worker in tuple(self._workers.items()):
            worker.capacity.expire(now)
            self._queues += len(worker.capacity.queues or ())
            self._shown += worker.capacity.shown
            if worker.shares_its_name and not worker.told_shared:
                worker.told_shared = True
                self._log.log(logging.WARNING, _SHARED, worker=name)
            if worker.presence is Presence.UP:
                if not self.is_alive(worker):
                    worker.presence = Presence.LOST
                    worker.since = now
                    lost.append(name)
            elif now - worker.since > self._retention:
                del self._workers[name]
                forgotten.append(name)
        return lost, forgotten
