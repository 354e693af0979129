"""From bodies and facts to metric families, without a broker or a socket: what ``app`` runs, and what tests and
benchmarks feed.

Owns: how collectors, correlation and dispatch are put together.
"""

from __future__ import annotations

import platform
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

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
from celery_metrics_exporter.collectors.task_counts import Buckets
from celery_metrics_exporter.events.delivery_monitor import Delivery
from celery_metrics_exporter.events.dispatch import Dispatcher
from celery_metrics_exporter.labels import SeriesLimit
from celery_metrics_exporter.queues.flow import Movements
from celery_metrics_exporter.queues.internal import is_internal
from celery_metrics_exporter.queues.known import KnownQueues
from celery_metrics_exporter.status_page.snapshot import Setup
from celery_metrics_exporter.status_page.survey import Sources, Survey
from celery_metrics_exporter.tasks.inflight import Inflight
from celery_metrics_exporter.workers.roster import Roster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from celery_metrics_exporter.clock import Clock
    from celery_metrics_exporter.config.config import Config
    from celery_metrics_exporter.events.stream_state import Subscription
    from celery_metrics_exporter.facts import BrokerFacts, WorkerFacts


class Control(Protocol):
    """Asks workers, soon."""

    def request_events(self) -> None:
        """A worker is new or does not seem to send task events."""

    def request_inspection(self) -> None:
        """A worker is new."""


class Pipeline:
    """Feed ``dispatcher``, give facts, read ``registry``.

    Attributes:
        dispatcher: the sink for bodies; its ``sweep`` is due every quarter of a second or so.
        delivery: watches whether anything comes.
        registry: serves every family of the exporter.
        survey: looks at everything, for the status page.
    """

    def __init__(
        self,
        config: Config,
        subscription: Subscription,
        clock: Clock,
        *,
        libraries: Mapping[str, str],
        queues: Iterable[str] = (),
        default_queue: str = "celery",
        expected: Mapping[str, str | None] = MappingProxyType({}),
        web_config_holds: Callable[[], bool | None] = lambda: None,
    ) -> None:
        """Args:
        config: what users set.
        subscription: state of the receiver.
        clock: the time.
        libraries: versions of celery and kombu, for ``celery_exporter_build_info``.
        queues: those that the application of --app declares, as good as --queue.
        default_queue: looked for on the broker at first, though nobody may have named it.
        expected: the tasks of the application of --app, shown from the start, each with the queue of its route.
        web_config_holds: whether the file of --web.config.file as it stands is in force; None without one.
        """
        # A series with its time of creation beside each counter: twice the lines, and nothing that Prometheus 2 reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's
        now = Moment(clock)
        inflight = Inflight(now, max_tasks=config.max_in_flight)
        versions = {"version": __version__, "python": platform.python_version(), **libraries}
        limit = SeriesLimit(config.max_series)
        exporter = ExporterCollector(subscription, inflight, now, limit, versions=versions)
        self._roster = roster = Roster(
            subscription,
            clock,
            now,
            timeout=config.worker_timeout,
            retention=config.worker_retention,
            limit=limit,
        )
        self._known = known = KnownQueues(
            clock,
            configured=(*config.queues, *queues),
            candidates=(default_queue,),
            include=config.queue_include,
            exclude=config.queue_exclude,
            is_internal=is_internal,
            limit=limit,
        )
        self._movements = movements = Movements(subscription, limit)
        self._workers = workers = WorkerCollector(roster, shows_queue=known.accepts)
        self._tasks = tasks = TaskCollector(
            inflight,
            now,
            buckets=Buckets(config.runtime_buckets, config.wait_buckets),
            limit=limit,
            consumers=roster,
            expected=expected,
            on_published=movements.published,
            on_outcome=workers.on_outcome,
        )
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
        self.dispatcher = Dispatcher(exporter, now)
        for collector in (exporter, workers, tasks):
            collector.subscribe(self.dispatcher.on)
        for watcher in (exporter.on_events, workers.on_events):
            self.dispatcher.watch(watcher)
        self.delivery = Delivery(subscription, clock, heard=exporter.heard)
        self.survey = Survey(
            Sources(
                subscription=subscription,
                exporter=exporter,
                tasks=tasks,
                queues=queue,
                roster=roster,
                known=known,
                inflight=inflight,
            ),
            clock,
            Setup(
                version=__version__,
                broker="",
                remote_control=config.remote_control,
                enable_events=config.enable_events,
                inspect_workers=config.inspect_workers,
                routing_key=config.event_queue.routing_key,
                sample_interval=config.sample_interval,
                worker_timeout=config.worker_timeout,
            ),
        )
        for sweep in (self.delivery.sweep, workers.sweep, tasks.sweep, known.sweep, self.survey.sweep):
            self.dispatcher.every_sweep(sweep)
        self.registry = CollectorRegistry()
        serving = ServingCollector(web_config_holds)
        self.registry.register(Guard((tasks, workers, queue, exporter, serving), clock))
        workers.notify(idle=tasks.on_worker_idle)

    def control(self, control: Control) -> None:
        """Let this one be told when something is to be asked of workers."""
        self._workers.notify(
            idle=self._tasks.on_worker_idle,
            events_off=control.request_events,
            appeared=control.request_inspection,
        )

    def accepts_queue(self, name: str) -> bool:
        """Whether a queue of this name may be shown."""
        return self._known.accepts(name)

    def informed(self, facts: Iterable[WorkerFacts]) -> None:
        """Take the answers of workers. May be called from any thread."""
        with self.dispatcher.writing():
            for answer in facts:
                self._roster.apply_inspection(answer)
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
        self.survey.queues_failed(None)

    def sampling_failed(self, error: str) -> None:
        """The broker could not be read; ``error`` in one line. May be called from any thread."""
        self._queues.on_failure()
        self.survey.queues_failed(error)
