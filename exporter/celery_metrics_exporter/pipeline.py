"""From bodies and facts to metric families, without a broker or a socket: what ``app`` runs, and what tests and
benchmarks feed.

Owns: how collectors, correlation and dispatch are put together.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, disable_created_metrics

from celery_metrics_exporter import __version__
from celery_metrics_exporter.clock import Moment
from celery_metrics_exporter.collectors import (
    ExporterCollector,
    Guard,
    QueueCollector,
    ServingCollector,
    TaskCollector,
    WorkerCollector,
)
from celery_metrics_exporter.collectors.task_ledger import Buckets
from celery_metrics_exporter.events.dispatch import Dispatcher
from celery_metrics_exporter.events.handlers import HandlerTable
from celery_metrics_exporter.queues.flow import Movements
from celery_metrics_exporter.queues.internal import is_internal
from celery_metrics_exporter.queues.known import KnownQueues
from celery_metrics_exporter.status_page.survey import Sources
from celery_metrics_exporter.tasks.inflight import Inflight
from celery_metrics_exporter.workers.roster import Roster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from celery_metrics_exporter.clock import Clock
    from celery_metrics_exporter.collectors.worker import Requests
    from celery_metrics_exporter.config.config import Config
    from celery_metrics_exporter.events.stream_state import Subscription
    from celery_metrics_exporter.facts import BrokerFacts, WorkerFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What an application tells of itself before any event comes.

    Attributes:
        queues: those of the application of --app, as good as --queue.
        default_queue: looked for on the broker at first, though nobody may have named it.
        tasks: those of the application of --app, shown from the start, each with the queue of its route.
    """

    queues: tuple[str, ...] = ()
    default_queue: str = "celery"
    tasks: Mapping[str, str | None] = field(default_factory=dict)


class Pipeline:
    """Feed ``dispatcher``, give facts, read ``registry``.

    Attributes:
        dispatcher: the sink for bodies; its ``sweep`` is due every quarter of a second or so.
        registry: serves every family of the exporter.
        sources: the state behind the families, for the status page.
    """

    def __init__(
        self,
        config: Config,
        subscription: Subscription,
        requests: Requests,
        clock: Clock,
        *,
        libraries: Mapping[str, str],
        declared: Declared,
        web_config_holds: Callable[[], bool] | None = None,
    ) -> None:
        """Args:
        config: what users set.
        subscription: state of the receiver.
        requests: told what is to be asked of workers.
        clock: the time.
        libraries: versions of celery and kombu, for ``celery_exporter_build_info``.
        declared: what the application tells.
        web_config_holds: whether the file of --web.config.file as it stands is in force; None without one.
        """
        # A series with its time of creation beside each counter: twice the lines, and nothing that Prometheus 2 reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's
        now = Moment(clock)
        inflight = Inflight(now, max_tasks=config.max_in_flight)
        versions = {"version": __version__, "python": platform.python_version(), **libraries}
        exporter = ExporterCollector(subscription, inflight, now, versions=versions)
        self._roster = roster = Roster(
            subscription,
            clock,
            now,
            timeout=config.worker_timeout,
            retention=config.worker_retention,
            max_workers=config.max_series,
            on_overflow=lambda: exporter.overflowed("celery_worker"),
        )
        self._known = known = KnownQueues(
            clock,
            configured=(*config.queues, *declared.queues),
            candidates=(declared.default_queue,),
            include=config.queue_include,
            exclude=config.queue_exclude,
            is_internal=is_internal,
            max_queues=config.max_series,
            on_overflow=lambda: exporter.overflowed("celery_queue"),
        )
        self._movements = movements = Movements(subscription, max_queues=config.max_series)
        self._tasks = tasks = TaskCollector(
            inflight,
            roster,
            now,
            buckets=Buckets(config.runtime_buckets, config.wait_buckets),
            max_series=config.max_series,
            expected=declared.tasks,
            on_published=movements.published,
            on_overflow=exporter.overflowed,
        )
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
        self.dispatcher = Dispatcher(handlers, exporter, now)
        self.registry = CollectorRegistry()
        serving = ServingCollector(web_config_holds)
        self.registry.register(Guard((tasks, workers, queue, exporter, serving), clock))
        self.sources = Sources(
            subscription=subscription,
            exporter=exporter,
            tasks=tasks,
            queues=queue,
            roster=roster,
            known=known,
            inflight=inflight,
        )

    def accepts_queue(self, name: str) -> bool:
        """Whether a queue of this name may be shown."""
        return self._known.accepts(name)

    def informed(self, facts: Iterable[WorkerFacts]) -> None:
        """Take the answers of workers. May be called from any thread."""
        with self.dispatcher.writing():
            for answer in facts:
                self._roster.inform(answer)
                self._known.note(answer.queues or ())

    def wanted(self) -> tuple[str, ...]:
        """The names of the queues to look at. May be called from any thread."""
        with self.dispatcher.writing():
            self._known.note(self._movements.queues())
            return self._known.wanted()

    def sampled(self, facts: BrokerFacts) -> None:
        """Take a sample of the broker. May be called from any thread."""
        with self.dispatcher.writing():
            self._known.found(name for name, queue in facts.queues.items() if queue.exists)
            received = self._tasks.received_by_queue()
            # A queue that a route gave is a guess: good enough for a label, not for first in, first out.
            guessed, self._routed = self._tasks.routed != self._routed, self._tasks.routed
            self._movements.sample(received, heard_all=self._roster.all_send_events() and not guessed)
            self._queues.on_sample(facts)

    def sampling_failed(self, error: str) -> None:
        """The broker could not be read; ``error`` in one line. May be called from any thread."""
        self._queues.on_failure(error)
