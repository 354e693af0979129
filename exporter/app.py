"""The only wiring: a configuration becomes a running exporter.

Owns: registry, collectors, threads, signals, shutdown. Knows everything, decides nothing.
"""

from __future__ import annotations

import logging
import platform
import signal
import threading
from typing import TYPE_CHECKING, Any, Final

import celery
import kombu
import prometheus_client
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from exporter import __version__
from exporter.clock import Clock
from exporter.collectors import ExporterCollector, Guard, TaskCollector, WorkerCollector
from exporter.config import secrets
from exporter.dispatch import Dispatcher
from exporter.inflight import Inflight
from exporter.logs import Redaction, fields
from exporter.receivers.celery_app import celery_app
from exporter.receivers.kombu import KombuReceiver
from exporter.status import ExporterStatus
from exporter.subscription import Subscription
from exporter.web import WebServer

if TYPE_CHECKING:
    from exporter.config import Config

log = logging.getLogger(__name__)

#: Seconds between two sweeps: attribution, expiry and the loss of workers are at most this late.
SWEEP_SECONDS: Final = 0.25
#: Seconds that a stop waits for the receiver to leave the broker in good order.
RECEIVER_STOP_SECONDS: Final = 2.5


class Exporter:
    """One exporter: made from a configuration, started, stopped. Not to be started twice."""

    def __init__(self, config: Config) -> None:
        """Wire everything; connects to nothing. Raises ConfigError where the configuration cannot work."""
        clock = Clock()
        # Series of creation times would double the text format and mean nothing to Prometheus 2.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's
        self.registry = CollectorRegistry()
        self._subscription = Subscription(clock, redact=Redaction(secrets(config)))
        inflight = Inflight(clock, max_tasks=config.max_in_flight)
        exporter = ExporterCollector(self._subscription, inflight, clock, versions=_versions())
        workers = WorkerCollector(
            self._subscription,
            clock,
            timeout=config.worker_timeout,
            retention=config.worker_retention,
            max_workers=config.max_series,
            on_overflow=exporter.overflowed,
        )
        tasks = TaskCollector(
            inflight,
            clock,
            runtime_buckets=config.runtime_buckets,
            wait_buckets=config.wait_buckets,
            max_series=config.max_series,
            on_outcome=workers.on_outcome,
            on_overflow=exporter.overflowed,
        )
        self._dispatcher = Dispatcher(exporter, clock)
        for collector in (exporter, workers, tasks):
            collector.subscribe(self._dispatcher.on)
        for sweep in (workers.sweep, tasks.sweep):
            self._dispatcher.every_sweep(sweep)
        self._receiver = KombuReceiver(
            celery_app(config),
            self._dispatcher,
            self._subscription,
            routing_key=config.event_queue.routing_key,
            enable_events=config.enable_events,
        )
        workers.notify(idle=tasks.on_worker_idle, events_off=self._receiver.request_events)
        self.registry.register(Guard((tasks, workers, exporter), clock))
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._receiving = threading.Thread(target=self._receiver.run, name="receiver", daemon=True)
        self._sweeping = threading.Thread(target=self._sweep, name="sweeper", daemon=True)
        self._stopping = threading.Event()
        status = ExporterStatus(self._subscription, (self._receiving, self._sweeping))
        self._web = WebServer(config.listen, self.registry, status, telemetry_path=config.telemetry_path)
        self._telemetry_path = config.telemetry_path

    @property
    def urls(self) -> tuple[str, ...]:
        """Where it serves, e.g. ``("http://localhost:9808",)``; once started."""
        return self._web.urls

    def start(self) -> None:
        """Serve and receive. Raises ListenError if an address cannot be had; nothing runs then."""
        self._web.start()
        for url in self.urls:
            log.info("listening", extra=fields(url=url + self._telemetry_path))
        self._sweeping.start()
        self._receiving.start()

    def stop(self) -> None:
        """Leave the broker, then close the sockets: the last scrape sees the last event. Takes less than 5 s."""
        self._receiver.stop()
        self._receiving.join(RECEIVER_STOP_SECONDS)
        self._stopping.set()
        self._sweeping.join(SWEEP_SECONDS * 4)
        self._web.stop()
        log.info("stopped")

    def run(self) -> int:
        """Run until SIGTERM or SIGINT; returns the exit code."""
        wanted = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: wanted.set())
        self.start()
        wanted.wait()
        self.stop()
        return 0

    def _sweep(self) -> None:
        while not self._stopping.wait(SWEEP_SECONDS):
            self._dispatcher.sweep()


def _versions() -> dict[str, str]:
    return {
        "version": __version__,
        "python": platform.python_version(),
        "celery": _version(celery),
        "kombu": _version(kombu),
    }


def _version(module: Any) -> str:
    return str(module.__version__)
