"""The pipeline from bodies and facts to metric families, without a broker or a socket.

``app`` runs it; tests and benchmarks feed it directly.
"""

from __future__ import annotations

import math
import platform
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import CollectorRegistry, disable_created_metrics

from celery_metrics_exporter import __version__
from celery_metrics_exporter.clock import BatchClock, Clock
from celery_metrics_exporter.collectors import (
    ExporterCollector,
    Guard,
    QueueCollector,
    ServingCollector,
    TaskCollector,
    WorkerCollector,
)
from celery_metrics_exporter.collectors.task_counts import Buckets
from celery_metrics_exporter.collectors.worker import Requests
from celery_metrics_exporter.config.config import Config
from celery_metrics_exporter.events.dispatch import Dispatcher
from celery_metrics_exporter.events.handlers import HandlerTable
from celery_metrics_exporter.events.stream_state import StreamState
from celery_metrics_exporter.facts import BrokerFacts, HeldTask, TaskQuestion, WorkerFacts
from celery_metrics_exporter.labels import SeriesLimit
from celery_metrics_exporter.queues.flow import Movements
from celery_metrics_exporter.queues.internal import is_internal
from celery_metrics_exporter.queues.known import KnownQueues
from celery_metrics_exporter.status_page.survey import Sources
from celery_metrics_exporter.tasks.inflight import Inflight
from celery_metrics_exporter.workers.recovery import Recovery
from celery_metrics_exporter.workers.roster import Roster

#: Tasks of an answer that are taken under the lock at once: a millisecond or two, in which no event is handled.
_TASKS_AT_ONCE: Final = 200

#: So long after the start somebody may ask for native histograms for the first time, and all that was counted is exact.
NATIVE_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What is known before the first event, from the settings of the Celery application.

    Attributes:
        queues: the queues of the application of --app; they are shown like those of --queue.
        default_queue: shown if the broker has it, even if nothing else names it.
        tasks: the tasks of the application of --app, which are shown from the start; by name the queue of the route.
        absent: names of families that cannot be known, and are left out.
    """

    queues: tuple[str, ...] = ()
    default_queue: str = "celery"
    tasks: Mapping[str, str | None] = field(default_factory=dict)
    absent: Container[str] = ()


class _Questions:
    """The plan of questions about tasks, with the lock for event state."""

    def __init__(self, recovery: Recovery, writing: Callable[[], AbstractContextManager[None]]) -> None:
        self._recovery = recovery
        self._writing = writing

    def next_question(self) -> TaskQuestion | None:
        """The question to ask now, if one is due."""
        with self._writing():
            return self._recovery.next()

    def take_tasks(self, tasks: Sequence[HeldTask], /) -> None:
        """Take an answer to it."""
        for first in range(0, len(tasks), _TASKS_AT_ONCE):
            with self._writing():
                self._recovery.take(tasks[first : first + _TASKS_AT_ONCE])

    def take_json_only(self, *, told: bool) -> None:
        """Take whether the worker that was asked accepts messages in JSON alone."""
        with self._writing():
            self._recovery.take_json_only(told=told)

    def close_question(self, *, answered: bool | None) -> None:
        """The question is over; None if it could not be asked."""
        with self._writing():
            self._recovery.close(answered=answered)

    def pause(self) -> float:
        """Seconds until one is due, if nothing happens until then."""
        with self._writing():
            return self._recovery.pause()


class Pipeline:
    """Event state, collectors and dispatcher, put together.

    Attributes:
        questions: plans the questions to workers about their tasks. May be called from any thread.
        dispatcher: the sink for bodies; its ``sweep`` is due every quarter of a second.
        registry: has every family of the exporter.
        sources: the state behind the families, for the status page.
    """

    def __init__(
        self,
        config: Config,
        stream: StreamState,
        requests: Requests,
        clock: Clock,
        *,
        libraries: Mapping[str, str],
        declared: Declared,
        web_config_holds: Callable[[], bool] | None = None,
        connections_cut: Counter[str] | None = None,
    ) -> None:
        """Args:
        config: what users set.
        stream: the state of the event stream.
        requests: takes what is to be asked of workers.
        clock: the time.
        libraries: versions of celery and kombu, for ``celery_exporter_build_info``.
        declared: what is known before the first event.
        web_config_holds: whether the current content of --web.config.file is in force; None without a file.
        connections_cut: numbers of those that the port cut, by reason.
        """
        # A series with the time of creation for each counter would double the lines; Prometheus 2 does not read it.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's
        now = BatchClock(clock)
        versions = {"version": __version__, "python": platform.python_version(), **libraries}
        limit = SeriesLimit(config.max_series)
        self._roster = roster = Roster(
            stream,
            clock,
            now,
            timeout=config.worker_timeout,
            retention=config.worker_retention,
            limit=limit,
            listens=config.events,
        )
        inflight = Inflight(now, max_tasks=config.max_in_flight, may_consume=roster.may_consume)
        buckets = Buckets(
            tuple(config.runtime_buckets),  # ``install`` may be given a list
            tuple(config.wait_buckets),
            schema=config.native_histogram_schema if config.native_histograms else None,
            classic=config.classic_histograms,
            exemplars=config.exemplars,
        )
        exporter = ExporterCollector(
            stream, inflight, now, limit, versions=versions, buckets=buckets, listens=config.events
        )
        self._exporter = exporter
        self._known = known = KnownQueues(
            clock,
            configured=(*config.queues, *declared.queues),
            candidates=(declared.default_queue,),
            include=config.queue_include,
            exclude=config.queue_exclude,
            is_internal=is_internal,
            limit=limit,
            learns=config.events,
        )
        self._movements = movements = Movements(stream, limit)
        self._tasks = tasks = TaskCollector(
            inflight,
            roster,
            now,
            buckets=buckets,
            limit=limit,
            expected=declared.tasks,
            on_published=movements.published,
            listening_since=lambda: stream.listening_since,
        )
        recovery = Recovery(roster, tasks.recovery, now, listening_since=lambda: stream.listening_since)
        workers = WorkerCollector(roster, requests, shows_queue=known.accepts, on_idle=tasks.on_worker_idle)
        self._routed = 0
        self._queues = queue = QueueCollector(
            known,
            roster,
            movements,
            clock,
            sent_at=inflight.sent_at,
            interval=config.sample_interval,
            by_priority=config.queue_priorities,
        )
        handlers = HandlerTable()
        for collector in (exporter, workers, tasks):
            collector.subscribe(handlers)
        handlers.on_sweep(known.sweep)
        handlers.on_batch(recovery.on_events)
        self.dispatcher = Dispatcher(handlers, exporter, now)
        self._recovery = recovery
        self.questions = _Questions(recovery, self.dispatcher.writing)
        self.registry = CollectorRegistry(auto_describe=True)  # so that `name[]` finds all
        serving = ServingCollector(
            web_config_holds, Counter() if connections_cut is None else connections_cut
        )
        # Without events nothing is known of tasks and workers: a number of them would be invented.
        listening = (tasks, workers) if config.events else ()
        self._guard = Guard((*listening, queue, exporter, serving), clock, absent=declared.absent)
        self._guard.want_native = self._want_native
        self._has_native = self._counts_native = buckets.schema is not None
        # Without classic buckets there are no others.
        self._native_until = clock.monotonic() + NATIVE_SECONDS if config.classic_histograms else math.inf
        self._monotonic = clock.monotonic
        handlers.on_sweep(self._forget_native)
        self.registry.register(self._guard)
        self.sources = Sources(
            subscription=stream,
            exporter=exporter,
            tasks=tasks,
            queues=queue,
            roster=roster,
            known=known,
            inflight=inflight,
        )

    def _want_native(self) -> bool:
        """Count in native buckets from now on, if that has ended: then true. From any thread."""
        if self._native_until == math.inf:
            return False
        with self.dispatcher.writing():
            self._native_until = math.inf
            return self._recount(native=self._has_native)

    def _forget_native(self) -> None:
        """Count in classic buckets alone, which take less memory and time, where nobody wants others."""
        if self._counts_native and self._monotonic() > self._native_until:
            self._recount(native=False)

    def _recount(self, *, native: bool) -> bool:
        if self._counts_native == native:
            return False
        self._counts_native = native
        self._tasks.recount(native=native)
        self._exporter.recount(native=native)
        return True

    def accepts_queue(self, name: str) -> bool:
        """Whether a queue of this name may be shown."""
        return self._known.accepts(name)

    def apply_answers(self, facts: Iterable[WorkerFacts]) -> None:
        """Take the answers of workers. May be called from any thread."""
        with self.dispatcher.writing():
            for answer in facts:
                if self._roster.apply_inspection(answer):
                    self._recovery.note_answer(answer)
                self._known.note(answer.queues or ())

    def report_alone(self, before_scrape: Callable[[], None]) -> None:
        """Get events from one worker's own process: no task-sent comes, and nothing but what is asked for.

        ``before_scrape`` is called first in each scrape, to feed what there is. It does not raise.
        """
        self._tasks.expect_no_sent()
        self._guard.before = before_scrape

    def reconcile(self, worker: str, running: Iterable[str], before: float) -> None:
        """Take the ids of all tasks that ran on a worker ``before`` this time (epoch seconds). From any thread."""
        with self.dispatcher.writing():
            self._tasks.end_all_but(worker, running, before)

    def wanted(self) -> tuple[str, ...]:
        """The names of the queues to read. May be called from any thread."""
        with self.dispatcher.writing():
            self._known.note(self._movements.take_names())
            own = filter(self._known.accepts, self._roster.own_queues())
            return tuple(dict.fromkeys((*self._known.wanted(), *own)))

    def sampled(self, facts: BrokerFacts) -> None:
        """Take a sample of the broker. May be called from any thread."""
        found, missing = [name for name, queue in facts.queues.items() if queue.exists], facts.missing
        facts = facts.by_label()
        with self.dispatcher.writing():
            self._known.found(found, missing=missing)
            received = self._tasks.received_by_queue()
            # A queue from a route is a guess: good enough for a label, but not for the age of messages.
            guessed, self._routed = self._tasks.routed != self._routed, self._tasks.routed
            self._movements.sample(received, all_reported=self._roster.all_send_events() and not guessed)
            self._queues.on_sample(facts)

    def sampling_failed(self, error: str) -> None:
        """Note that the broker could not be read; ``error`` in one line. May be called from any thread."""
        self._queues.on_failure(error)
