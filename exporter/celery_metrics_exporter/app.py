"""The only wiring: a configuration becomes a running exporter.

Owns: receiver, sampler, remote control, pipeline and web server, threads, signals, shutdown. Knows everything, decides
nothing.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

import celery
import kombu
from prometheus_client import GCCollector, PlatformCollector, ProcessCollector

from celery_metrics_exporter.clock import Clock
from celery_metrics_exporter.connection.app_routes import TaskPlan, plan_of
from celery_metrics_exporter.connection.celery_app import broker_of
from celery_metrics_exporter.control.probe import reaches
from celery_metrics_exporter.control.remote import RemoteControl
from celery_metrics_exporter.events.stream_state import Subscription
from celery_metrics_exporter.logs import Redaction, fields
from celery_metrics_exporter.pipeline import Pipeline
from celery_metrics_exporter.queues.readers.choosing import reader_for
from celery_metrics_exporter.queues.sampler import Sampler
from celery_metrics_exporter.receivers.choosing import receiver_for
from celery_metrics_exporter.receivers.watchdog import PATIENCE_SECONDS, Watchdog
from celery_metrics_exporter.web.health import ExporterStatus
from celery_metrics_exporter.web.server import WebServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery_metrics_exporter.config.config import Config
    from celery_metrics_exporter.receivers import Link

log = logging.getLogger(__name__)

#: Seconds between two sweeps: attribution, expiry and the loss of workers are at most this late.
SWEEP_SECONDS: Final = 0.25
#: Seconds that a stop waits for receiver, sampler and remote control together to leave the broker in good order.
LEAVE_SECONDS: Final = 2.5


class _Activity(Protocol):
    def run(self) -> None:
        """Work until told to stop."""

    def stop(self) -> None:
        """Let ``run`` return soon."""


class _WakingLink:
    """Tells the subscription its state, and workers to show themselves when it stands."""

    def __init__(self, subscription: Subscription, wake: Callable[[], None]) -> None:
        self._subscription = subscription
        self._wake = wake

    def up(self) -> None:
        self._subscription.up()
        self._wake()

    def down(self, error: str | None, *, since: float | None = None) -> None:
        self._subscription.down(error, since=since)


class Exporter:
    """One exporter: made from a configuration, started, stopped. Not to be started twice."""

    def __init__(self, config: Config, app: Any = None) -> None:
        """Wire everything; connects to nothing. Raises ConfigError where the configuration cannot work.

        ``app`` is the application that ``config.app`` names, if that is loaded already.
        ``secrets`` then holds what no log line may show, also what the application of --app brought along.
        """
        clock = Clock()
        broker = broker_of(config, app)
        self._plan = plan = plan_of(broker.app) if config.app and config.app_tasks else TaskPlan()
        self.secrets = broker.secrets
        redact = Redaction(broker.secrets)
        subscription = Subscription(clock, redact=redact)
        pipeline = Pipeline(
            config,
            subscription,
            clock,
            libraries={"celery": str(celery.__version__), "kombu": str(kombu.__version__)},
            queues=dict.fromkeys((*broker.queues, *filter(None, plan.queues.values()))),
            default_queue=broker.app.conf.task_default_queue,
            expected=plan.queues,
            web_config_holds=self._web_config_holds,
        )
        self._dispatcher = pipeline.dispatcher
        self.registry = pipeline.registry
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        activities: dict[str, _Activity] = {}
        link: Link = subscription
        control: RemoteControl | None = None
        prober: RemoteControl | None = None
        if config.remote_control:
            control = RemoteControl(
                broker,
                pipeline.informed,
                interval=config.inspect_interval,
                enable_events=config.enable_events,
                inspect=config.inspect_workers,
            )
            pipeline.control(control)
            if reaches(config.event_queue.routing_key):
                prober = control
            link = _WakingLink(subscription, control.wake)
            activities["remote control"] = control
        activities["receiver"] = self._watchdog = Watchdog(
            broker.name,
            pipeline.dispatcher,
            link,
            partial(
                receiver_for,
                broker,
                routing_key=config.event_queue.routing_key,
                universal=config.receiver == "kombu",
            ),
            on_restart=subscription.restarted,
            # Each address of a failover list, each Sentinel may take its time.
            patience=PATIENCE_SECONDS * (broker.url.count(";") + 1),
        )
        pipeline.delivery.connect(renew=self._watchdog.renew, prober=prober)
        reader = reader_for(
            broker,
            management_url=config.management_url,
            accepts=pipeline.accepts_queue,
            max_queues=config.max_series,
        )
        if reader is not None:
            activities["sampler"] = Sampler(
                reader, pipeline, interval=config.sample_interval, broker=broker.name
            )
        self._activities = tuple(activities.values())
        self._stopping = threading.Event()
        self._sweeping = threading.Thread(target=self._sweep, name="sweeper", daemon=True)
        self._over = threading.Event()
        self._asked = False
        self._threads = tuple(
            threading.Thread(
                target=self._receive if name == "receiver" else activity.run, name=name, daemon=True
            )
            for name, activity in activities.items()
        )
        pipeline.survey.complete(
            broker=broker.name,
            reads_queues=reader is not None,
            control_error=lambda: None if control is None else control.trouble,
            redact=redact,
        )
        status = ExporterStatus(subscription, (*self._threads, self._sweeping), pipeline.survey.look)
        self._web = WebServer(
            config.listen,
            self.registry,
            status,
            telemetry_path=config.telemetry_path,
            config_file=config.web_config_file,
        )
        self._telemetry_path = config.telemetry_path

    @property
    def urls(self) -> tuple[str, ...]:
        """Where it serves, e.g. ``("http://localhost:9808",)``; once started."""
        return self._web.urls

    def start(self) -> None:
        """Serve and receive. Raises ListenError if an address cannot be had; nothing runs then."""
        self._web.start()
        if self._plan.queues:
            log.info("tasks of the application", extra=fields(tasks=len(self._plan.queues)))
        if self._plan.error is not None:
            log.warning(
                "not all tasks of the application are known before they are seen: a module cannot be imported",
                extra=fields(error=self._plan.error),
            )
        for url in self.urls:
            log.info("listening", extra=fields(url=url + self._telemetry_path))
        for thread in (self._sweeping, *self._threads):
            thread.start()

    def stop(self) -> None:
        """Leave the broker, then close the sockets: the last scrape sees the last event. Takes less than 5 s."""
        for activity in self._activities:
            activity.stop()
        until = time.monotonic() + LEAVE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        self._stopping.set()
        self._sweeping.join(SWEEP_SECONDS * 4)
        self._web.stop()
        log.info("stopped")

    def run(self) -> int:
        """Run until SIGTERM or SIGINT, or until nothing can be received any more; returns the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self.start()
        self._over.wait()
        self.stop()
        return 0 if self._asked else 1

    def _web_config_holds(self) -> bool | None:
        return self._web.config_holds()

    def _on_signal(self, *_: object) -> None:
        self._asked = True
        self._over.set()

    def _receive(self) -> None:
        try:
            self._watchdog.run()
        finally:
            self._over.set()

    def _sweep(self) -> None:
        while not self._stopping.wait(SWEEP_SECONDS):
            self._dispatcher.sweep()
