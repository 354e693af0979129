"""From bodies to metric families, without a broker or a socket: what ``app`` runs, and what tests and benchmarks feed.

Owns: how collectors, correlation and dispatch are put together.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, disable_created_metrics

from exporter import __version__
from exporter.collectors import ExporterCollector, Guard, TaskCollector, WorkerCollector
from exporter.dispatch import Dispatcher
from exporter.inflight import Inflight
from exporter.workers import Roster

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from exporter.clock import Clock
    from exporter.config import Config
    from exporter.subscription import Subscription


class Pipeline:
    """Feed ``dispatcher``, read ``registry``.

    Attributes:
        dispatcher: the sink for bodies; its ``sweep`` is due every quarter of a second or so.
        registry: serves every family of the exporter.
    """

    def __init__(
        self, config: Config, subscription: Subscription, clock: Clock, *, libraries: Mapping[str, str]
    ) -> None:
        """``libraries``: versions of celery and kombu, for ``celery_exporter_build_info``."""
        # A series with its time of creation beside each counter: twice the lines, and nothing that Prometheus 2 reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's
        inflight = Inflight(clock, max_tasks=config.max_in_flight)
        versions = {"version": __version__, "python": platform.python_version(), **libraries}
        exporter = ExporterCollector(subscription, inflight, clock, versions=versions)
        roster = Roster(
            subscription,
            clock,
            timeout=config.worker_timeout,
            retention=config.worker_retention,
            max_workers=config.max_series,
            on_overflow=lambda: exporter.overflowed("celery_worker"),
        )
        self._workers = workers = WorkerCollector(roster)
        self._tasks = tasks = TaskCollector(
            inflight,
            clock,
            runtime_buckets=config.runtime_buckets,
            wait_buckets=config.wait_buckets,
            max_series=config.max_series,
            on_outcome=workers.on_outcome,
            on_overflow=exporter.overflowed,
        )
        self.dispatcher = Dispatcher(exporter, clock)
        for collector in (exporter, workers, tasks):
            collector.subscribe(self.dispatcher.on)
        for sweep in (workers.sweep, tasks.sweep):
            self.dispatcher.every_sweep(sweep)
        self.registry = CollectorRegistry()
        self.registry.register(Guard((tasks, workers, exporter), clock))
        self.on_events_off(lambda: None)

    def on_events_off(self, ask: Callable[[], None]) -> None:
        """Let ``ask`` be called when a worker is new or does not seem to send task events."""
        self._workers.notify(idle=self._tasks.on_worker_idle, events_off=ask)
