"""The only wiring: a configuration becomes a running exporter.

Owns: receiver, pipeline and web server, threads, signals, shutdown. Knows everything, decides nothing.
"""

from __future__ import annotations

import logging
import signal
import threading
from typing import TYPE_CHECKING, Final

import celery
import kombu
from prometheus_client import GCCollector, PlatformCollector, ProcessCollector

from exporter.clock import Clock
from exporter.logs import Redaction, fields
from exporter.pipeline import Pipeline
from exporter.receivers.celery_app import broker_of
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
        """Wire everything; connects to nothing. Raises ConfigError where the configuration cannot work.

        ``secrets`` then holds what no log line may show, also what the application of --app brought along.
        """
        clock = Clock()
        broker = broker_of(config)
        self.secrets = broker.secrets
        subscription = Subscription(clock, redact=Redaction(broker.secrets))
        libraries = {"celery": str(celery.__version__), "kombu": str(kombu.__version__)}
        pipeline = Pipeline(config, subscription, clock, libraries=libraries)
        self._dispatcher = pipeline.dispatcher
        self.registry = pipeline.registry
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._receiver = KombuReceiver(
            broker,
            pipeline.dispatcher,
            subscription,
            routing_key=config.event_queue.routing_key,
            enable_events=config.enable_events,
        )
        pipeline.on_events_off(self._receiver.request_events)
        self._receiving = threading.Thread(target=self._receiver.run, name="receiver", daemon=True)
        self._sweeping = threading.Thread(target=self._sweep, name="sweeper", daemon=True)
        self._stopping = threading.Event()
        status = ExporterStatus(subscription, (self._receiving, self._sweeping))
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
