"""The metrics of one worker: its pipeline, web server and sweeper, from the worker's start to its end.

The same pipeline as that of an exporter that listens (``app``), with other sources: events come from ``eventer``, facts
from ``state``.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from weakref import WeakMethod

import celery
import kombu
from celery.utils.nodenames import node_format
from celery.worker import state as celery_state
from prometheus_client import GCCollector, PlatformCollector, ProcessCollector

from celery_metrics_exporter.clock import Clock
from celery_metrics_exporter.config.config import Config
from celery_metrics_exporter.config.parse import parse_listen_address
from celery_metrics_exporter.connection.app_routes import consumed_tasks
from celery_metrics_exporter.events.decode import checked
from celery_metrics_exporter.events.stream_state import StreamState
from celery_metrics_exporter.ids import id_text
from celery_metrics_exporter.in_worker.absent import ABSENT
from celery_metrics_exporter.in_worker.eventer import Eventer
from celery_metrics_exporter.in_worker.feed import Feed
from celery_metrics_exporter.in_worker.settings import Settings, Tuning
from celery_metrics_exporter.in_worker.state import Facts, heartbeat, running
from celery_metrics_exporter.logs import ThrottledLog
from celery_metrics_exporter.pipeline import Declared, Pipeline
from celery_metrics_exporter.status_page.snapshot import Snapshot
from celery_metrics_exporter.status_page.survey import Survey
from celery_metrics_exporter.web.config_file import WebConfigFile
from celery_metrics_exporter.web.health import WorkerStatus
from celery_metrics_exporter.web.server import WebServer

log = logging.getLogger(__name__)

#: An event is counted this late at most, whether or not somebody scrapes.
FLUSH_SECONDS: Final = 0.25
#: Flushes from one sweep to the next.
FLUSHES_PER_SWEEP: Final = 4
#: Longest time between two looks at the worker's own state; each scrape takes one.
LOOK_SECONDS: Final = 10.0
#: How often a lingering worker looks whether it is to end at once.
_LINGER_STEP_SECONDS: Final = 0.1


class _NoRequests:
    """Nobody needs to be asked."""

    def request_events(self) -> None:
        """They are on."""

    def request_inspection(self) -> None:
        """The worker looks at itself."""


class Reporter:
    """Made once for a worker; ``consume``, ``pause`` and ``finish`` are told by its consumer."""

    def __init__(self, worker: Any, settings: Settings, tuning: Tuning) -> None:
        """Wire everything. Raises ConfigError where the settings cannot work."""
        self._worker = worker
        self._linger = settings.linger
        self._port_file = None if settings.port_file is None else _path(settings.port_file, worker.hostname)
        clock = Clock()
        config = Config(
            app=str(worker.app.main or "default"),
            listen=tuple(map(parse_listen_address, settings.addresses)),
            **tuning.given(),
        )
        web_config = WebConfigFile(config.web_config_file) if config.web_config_file else None
        self._stream = stream = StreamState(clock)
        cut: Counter[str] = Counter()
        self._pipeline = pipeline = Pipeline(
            config,
            stream,
            _NoRequests(),
            clock,
            libraries={"celery": str(celery.__version__), "kombu": str(kombu.__version__)},
            declared=Declared(
                default_queue=worker.app.conf.task_default_queue,
                tasks=consumed_tasks(worker.app) if config.app_tasks else {},
                absent=ABSENT,
            ),
            web_config_holds=None if web_config is None else web_config.holds,
            connections_cut=cut,
        )
        pipeline.report_alone(self.look)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=pipeline.registry)
        self._feed = Feed(pipeline.dispatcher)
        self._eventer = Eventer(worker.hostname, self._feed)
        self._facts = Facts(worker)
        self._consumer: Any = None
        self._failures = 0  # of the eventer, as far as they are counted
        self._next_look = 0.0
        self._log = ThrottledLog(log)
        self._survey = Survey(
            pipeline.sources,
            config,
            clock,
            broker=worker.hostname,
            reads_queues=False,
            control_error=lambda: None,
            redact=str,
            in_worker=True,
        )
        self._stopping = threading.Event()
        self._sweeping = threading.Thread(target=self._sweep, name="metrics-sweeper", daemon=True)
        status = WorkerStatus(stream, (self._sweeping,), self._overview)
        self._web = WebServer(
            config.listen,
            pipeline.registry,
            status,
            telemetry_path=config.telemetry_path,
            config_file=web_config,
            cut=cut,
            option="--metrics-listen-address",
        )

    def start(self) -> None:
        """Serve. Raises ListenError where an address cannot be had; nothing runs then."""
        self._web.start()
        _close_in_children(self._web)
        if self._port_file is not None:
            self._write_ports(self._port_file)
        self._stream.mark_disconnected("the worker has no connection to its broker yet")
        self._sweeping.start()
        for url in self._web.urls:
            log.info("serving the metrics of this worker at %s/metrics", url)

    def consume(self, consumer: Any) -> None:
        """The worker has a connection, and is about to consume."""
        self._consumer = consumer
        self._eventer.consume(consumer)
        self._stream.mark_connected()

    def pause(self, _consumer: Any) -> None:
        """It lost its connection, or stops; tasks that run go on."""
        self._stream.mark_disconnected("the worker has lost its connection to the broker, or stops")

    def finish(self, _consumer: Any) -> None:
        """Nothing runs any more: wait for a last scrape, and stop serving."""
        self._eventer.identity.expire(patience=0.0)
        self._eventer.identity.finish()
        self._consumer = None
        self._feed.flush()
        self._pipeline.dispatcher.feed_events(checked([heartbeat(self._worker, "worker-offline")]))
        self._wait_for_scrape()
        self._stopping.set()
        self._sweeping.join(FLUSH_SECONDS * 4)
        self._web.stop()
        if self._port_file is not None:
            with suppress(OSError):
                self._port_file.unlink()

    def _write_ports(self, path: Path) -> None:
        """Write the ports in one step: who reads the file finds all of them, or none."""
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            draft.write_text(
                "".join(f"{url.rpartition(':')[2]}\n" for url in self._web.urls), encoding="ascii"
            )
            draft.replace(path)
        except OSError as error:
            log.error("cannot write the ports of the metrics to %s: %s", path, error.strerror)
            with suppress(OSError):
                draft.unlink()

    def _wait_for_scrape(self) -> None:
        until = time.monotonic() + self._linger
        # A second signal wants the worker to end at once (celery/apps/worker.py, _shutdown_handler).
        while time.monotonic() < until and celery_state.should_terminate in (None, False):
            time.sleep(_LINGER_STEP_SECONDS)

    def look(self) -> None:
        """Take everything that is known now. Never raises."""
        try:
            self._feed.flush()
            # Counted only here: who ends a task must not wait for the lock.
            while self._failures < self._eventer.failures:
                self._failures += 1
                self._pipeline.dispatcher.drop("handler_error", "an event of a task is not counted")
            if self._consumer is not None:
                self._look_at(self._consumer)
        except Exception:  # noqa: BLE001 - the metrics that there are can be served
            self._log.log(logging.ERROR, "the worker's own state cannot be read", exc_info=True)

    def _look_at(self, consumer: Any) -> None:
        self._next_look = time.monotonic() + LOOK_SECONDS
        now = time.time()
        uuids = running()
        self._pipeline.dispatcher.feed_events(checked([heartbeat(self._worker)]))
        self._pipeline.apply_answers(self._facts.news(consumer))
        if uuids is not None:
            self._pipeline.reconcile(
                self._worker.hostname, [text for text in map(id_text, uuids) if text], now
            )

    def _overview(self) -> Snapshot:
        self.look()
        return self._survey.look()

    def _sweep(self) -> None:
        flushes = 0
        while not self._stopping.wait(FLUSH_SECONDS):
            self._feed.flush()
            flushes += 1
            if flushes % FLUSHES_PER_SWEEP:
                continue
            self._eventer.identity.expire()
            if time.monotonic() >= self._next_look:
                self.look()
            self._pipeline.dispatcher.sweep()
            self._survey.sweep()


def _close_in_children(web: WebServer) -> None:
    """Close the sockets in each process that the pool forks later: it would keep the port when the worker has ended."""
    abandon = WeakMethod(web.abandon)

    def close() -> None:
        found = abandon()
        if found is not None:
            found()

    os.register_at_fork(after_in_child=close)


def _path(pattern: str, hostname: str) -> Path:
    return Path(node_format(pattern, hostname)).absolute()  # the worker may change its folder later
