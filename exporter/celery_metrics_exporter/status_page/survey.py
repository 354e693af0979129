"""Takes the look at a running exporter that the status page shows.

Owns: where each value comes from. It reads the state that the metrics are made of, as scrapes do: without a lock, from
any thread, at the time of asking. Only what a rate needs is kept besides, a few readings of counters, taken in sweeps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Generic, TypeVar

from celery_metrics_exporter.clock import Clock
from celery_metrics_exporter.collectors import ExporterCollector, QueueCollector, TaskCollector
from celery_metrics_exporter.config.config import Config
from celery_metrics_exporter.events.stream_state import StreamState
from celery_metrics_exporter.queues.known import KnownQueues
from celery_metrics_exporter.status_page.gather_queues import see_queues
from celery_metrics_exporter.status_page.gather_tasks import NOTHING, count_outcomes, count_starts, see_tasks
from celery_metrics_exporter.status_page.gather_workers import see_workers
from celery_metrics_exporter.status_page.snapshot import BrokerView, Snapshot, Stream
from celery_metrics_exporter.tasks.inflight import Inflight
from celery_metrics_exporter.workers.roster import Roster

T = TypeVar("T")

#: Seconds between two readings of the event counters, and for how many of them they are kept.
STREAM_SECONDS: Final = (5.0, 300.0)
#: The same of the starts of tasks, for their rates ...
STARTS_SECONDS: Final = (30.0, 60.0)
#: ... and of their outcomes, for recent failures.
OUTCOMES_SECONDS: Final = (60.0, 600.0)
#: Of the lags of the last minutes, this share is within what is told.
LAG_SHARE: Final = 0.95
#: Of all events so far: their number, and their lags by bucket.
_StreamTotals = tuple[int, tuple[int, ...]]
#: The rate of events is that of this many readings.
_LATELY: Final = 2


class _Readings(Generic[T]):
    """Readings of counters in the past, from which rates are made. One thread sweeps, any may read."""

    def __init__(self, read: Callable[[], T], seconds: tuple[float, float], now: float, *, first: T) -> None:
        """Args:
        read: tells what stands there now.
        seconds: between two readings, and for which they are kept.
        now: monotonic.
        first: what stood there at the start.
        """
        self._read = read
        self._every, span = seconds
        self._kept: deque[tuple[float, T]] = deque([(now, first)], maxlen=round(span / self._every) + 1)

    def sweep(self, now: float) -> None:
        """Take the next one, if it is due."""
        if now - self._kept[-1][0] >= self._every:
            self._kept.append((now, self._read()))

    def kept(self) -> tuple[tuple[float, T], ...]:
        """All with their monotonic times, oldest first; at least one."""
        return tuple(self._kept)

    def since(self, now: float) -> tuple[float, T]:
        """The oldest: how many seconds ago it was taken, and what it was."""
        at, value = self._kept[0]
        return now - at, value


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The state that is looked at."""

    subscription: StreamState
    exporter: ExporterCollector
    tasks: TaskCollector
    queues: QueueCollector
    roster: Roster
    known: KnownQueues
    inflight: Inflight


class Survey:
    """Looks when asked. :meth:`sweep` is due every quarter of a second or so."""

    def __init__(
        self,
        sources: Sources,
        config: Config,
        clock: Clock,
        *,
        broker: str,
        reads_queues: bool,
        control_error: Callable[[], str | None],
        redact: Callable[[str], str],
        in_worker: bool = False,
    ) -> None:
        """Args:
        sources: what is looked at.
        config: how the exporter was started.
        clock: the time.
        broker: its name, without secrets.
        reads_queues: whether samples of it are taken.
        control_error: tells why workers cannot be asked.
        redact: takes the secrets out of error texts.
        in_worker: whether this is a worker that reports for itself.
        """
        self._of = sources
        self._clock = clock
        self._since = clock.wall()
        self._config = config
        self._broker_name = broker
        self._reads_queues = reads_queues
        self._control_error = control_error
        self._redact = redact
        self._in_worker = in_worker
        now, tasks = clock.monotonic(), sources.tasks
        self._stream: _Readings[_StreamTotals] = _Readings(
            self._stream_totals, STREAM_SECONDS, now, first=(0, ())
        )
        self._starts = _Readings(lambda: count_starts(tasks.counts()), STARTS_SECONDS, now, first=NOTHING)
        self._outcomes = _Readings(
            lambda: count_outcomes(tasks.counts()), OUTCOMES_SECONDS, now, first=NOTHING
        )

    def sweep(self) -> None:
        """Take the readings that are due."""
        now = self._clock.monotonic()
        for readings in (self._stream, self._starts, self._outcomes):
            readings.sweep(now)

    def look(self) -> Snapshot:
        """See everything as it is now. May be called from any thread."""
        now = self._clock.monotonic()
        return Snapshot(
            now=self._clock.wall(),
            since=self._since,
            config=self._config,
            broker_name=self._broker_name,
            reads_queues=self._reads_queues,
            in_worker=self._in_worker,
            subscription=self._of.subscription.read(),
            stream=self._see_stream(now),
            broker=self._broker(),
            queues=see_queues(self._of.queues, self._of.known, self._of.roster, named=self._config.queues),
            workers=see_workers(
                self._of.roster,
                asks=self._config.inspect_workers and self._config.remote_control and not self._in_worker,
            ),
            tasks=see_tasks(
                self._of.tasks, starts=self._starts.since(now), outcomes=self._outcomes.since(now)
            ),
        )

    def reading(self) -> tuple[bool, str]:
        """Whether queues are read, as far as they can be, and one line about it. May be called from any thread."""
        if not self._reads_queues:
            return (
                True,
                "without events, and this kind of broker cannot be read: there are no metrics of Celery",
            )
        broker = self._broker()
        if broker.up:
            return True, "reading queues, without events"
        why = broker.error or ("connecting" if broker.up is None else "no fresh sample")
        return False, f"not reading queues: {why}"

    def _broker(self) -> BrokerView:
        error, control_error = self._of.queues.error, self._control_error()
        sample = self._of.queues.fresh()
        facts = None if sample is None else sample.facts
        return BrokerView(
            up=self._of.queues.is_broker_up(),
            error=None if error is None else self._redact(error),
            round_trip=None if facts is None else facts.round_trip,
            unacked=None if facts is None else facts.unacked,
            delayed=None if facts is None else facts.delayed,
            control_error=None if control_error is None else self._redact(control_error),
        )

    def _stream_totals(self) -> _StreamTotals:
        return self._of.exporter.total(), self._of.exporter.lags.counts()

    def _see_stream(self, now: float) -> Stream:
        exporter = self._of.exporter
        total = exporter.total()
        kept = self._stream.kept()
        at, (before, _) = kept[-_LATELY:][0]
        _, (_, first_lags) = kept[0]
        seconds = now - at
        return Stream(
            total=total,
            heard=exporter.received(),
            last=exporter.last_event or None,
            rate=(total - before) / seconds if seconds >= 1 else None,
            rates=tuple(
                (later - earlier) / (ends - begins)
                for (begins, (earlier, _)), (ends, (later, _)) in pairwise(kept)
            ),
            lag=exporter.lags.bound_of(LAG_SHARE, since=first_lags),
            dropped=tuple((reason, number) for reason, number in exporter.drops().items() if number),
            retimed=exporter.retimed,
            evicted=self._of.inflight.evicted["capacity"],
            overflowed=tuple(exporter.overflows().items()),
        )
