"""The exporter: made from a configuration, with its connections, threads and web server; started and stopped.

Everything that needs a connection or a thread is wired here, what needs neither in ``pipeline``.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final, Protocol

import celery
import kombu
from prometheus_client import GCCollector, PlatformCollector, ProcessCollector

from celery_metrics_exporter.clock import Clock
from celery_metrics_exporter.config.config import Config
from celery_metrics_exporter.connection.app_routes import TaskPlan, plan_of
from celery_metrics_exporter.connection.celery_app import Broker, broker_of
from celery_metrics_exporter.control.commands import CommandSchedule
from celery_metrics_exporter.control.probe import reaches
from celery_metrics_exporter.control.remote import RemoteControl
from celery_metrics_exporter.events.delivery_monitor import DeliveryMonitor
from celery_metrics_exporter.events.stream_state import StreamState
from celery_metrics_exporter.logs import fields
from celery_metrics_exporter.pipeline import Declared, Pipeline
from celery_metrics_exporter.queues.readers.choosing import reader_for
from celery_metrics_exporter.queues.sampler import Sampler
from celery_metrics_exporter.receivers.choosing import receiver_for
from celery_metrics_exporter.receivers.durable_queue import PREFETCH, is_durable
from celery_metrics_exporter.receivers.repeats import WithoutRepeats
from celery_metrics_exporter.receivers.watchdog import PATIENCE_SECONDS, Watchdog
from celery_metrics_exporter.redaction import Redaction
from celery_metrics_exporter.status_page.survey import Survey
from celery_metrics_exporter.web.config_file import WebConfigFile
from celery_metrics_exporter.web.health import ExporterStatus
from celery_metrics_exporter.web.server import WebServer

log = logging.getLogger(__name__)

#: Time between two sweeps; attribution, expiry and the detection of lost workers may be late by as much.
SWEEP_SECONDS: Final = 0.25
#: Longest time for which a signal may wait for the main thread.
_SIGNAL_SECONDS: Final = 1.0
#: Longest wait of a stop for receiver, sampler and remote control together to close their connections ...
LEAVE_SECONDS: Final = 2.5
#: ... and then for the sweep that may be under way.
LAST_SWEEP_SECONDS: Final = 0.5


class _Activity(Protocol):
    def run(self) -> None:
        """Work until told to stop."""

    def stop(self) -> None:
        """Make ``run`` return soon."""


class Exporter:
    """One exporter; it can be started once.

    Attributes:
        secrets: what no log line may show, including the secrets of the application of --app.
        registry: every family that is served.
        survey: makes the snapshots for the status page.
    """

    def __init__(self, config: Config, app: Any = None, *, serve: bool = True) -> None:
        """Wire everything; connects to nothing. Raises ConfigError where the configuration cannot work.

        Args:
            config: what users set.
            app: the application that ``config.app`` names, if that is loaded already.
            serve: whether to serve HTTP; without it nothing listens, and everything else works.
        """
        clock = Clock()
        broker = broker_of(config, app)
        plan = plan_of(broker.app) if config.app and config.app_tasks else TaskPlan()
        redact = Redaction(broker.secrets).brief
        web_config = WebConfigFile(config.web_config_file) if serve and config.web_config_file else None

        schedule = _schedule(config, clock)
        stream = StreamState(clock, redact=redact, on_connected=schedule.wake)
        connections_cut: Counter[str] = Counter()
        pipeline = Pipeline(
            config,
            stream,
            schedule,
            clock,
            libraries={"celery": str(celery.__version__), "kombu": str(kombu.__version__)},
            declared=_declared(broker, plan),
            web_config_holds=None if web_config is None else web_config.holds,
            connections_cut=connections_cut,
        )

        receiver = _receiver(config, broker, stream, pipeline) if config.events else None
        sampler = _sampler(config, broker, pipeline)
        control = _remote_control(config, broker, schedule, pipeline)

        survey = Survey(
            pipeline.sources,
            config,
            clock,
            broker=broker.name,
            reads_queues=sampler is not None,
            control_error=lambda: None if control is None else control.trouble,
            redact=redact,
        )

        self.secrets = broker.secrets
        self.survey = survey
        self.registry = pipeline.registry
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self._plan = plan
        self._shows_tasks = config.events
        self._events = pipeline.sources.exporter.total
        self._sweeps = [pipeline.dispatcher.sweep, survey.sweep]
        if receiver is not None:
            monitor = DeliveryMonitor(
                stream,
                clock,
                received=pipeline.sources.exporter.received,
                renew=receiver.renew,
                prober=schedule if control is not None and reaches(config.event_queue.routing_key) else None,
            )
            self._sweeps.insert(0, monitor.sweep)
        self._stopping = threading.Event()
        #: Gets what happens: a signal's number, or None when the receiver has given up. A signal handler may put one
        #: whatever it interrupts; an Event has a lock that the interrupted thread itself may hold.
        self._happened: SimpleQueue[int | None] = SimpleQueue()
        activities: dict[str, _Activity | None] = {
            "remote control": control,
            "receiver": receiver,
            "sampler": sampler,
        }
        self._activities = {name: activity for name, activity in activities.items() if activity is not None}
        self._threads = tuple(
            threading.Thread(
                target=partial(self._receive, receiver) if activity is receiver else activity.run,
                name=name,
                daemon=True,
            )
            for name, activity in self._activities.items()
        )
        self._sweeping = threading.Thread(target=self._sweep, name="sweeper", daemon=True)

        self._web_config = web_config
        self._telemetry_path = path = config.telemetry_path
        self._web: WebServer | None = None
        if serve:
            status = ExporterStatus(
                stream,
                (*self._threads, self._sweeping),
                survey.look,
                reading=None if receiver is not None else survey.reading,
            )
            self._web = WebServer(
                config.listen,
                self.registry,
                status,
                telemetry_path=path,
                config_file=web_config,
                cut=connections_cut,
            )

    @property
    def urls(self) -> tuple[str, ...]:
        """Where it serves, such as ``("http://localhost:9808",)``; empty before the start."""
        return () if self._web is None else self._web.urls

    def start(self) -> None:
        """Start everything. Raises ListenError if an address cannot be used; nothing runs then."""
        if self._web is not None:
            self._web.start()
        if self._plan.queues and self._shows_tasks:
            log.info("tasks of the application", extra=fields(tasks=len(self._plan.queues)))
        if self._plan.error is not None:
            what = "tasks of the application are not shown before they run"
            if not self._shows_tasks:
                what = "queues of the application's routes are not read"
            log.warning("some %s: cannot import a module", what, extra=fields(error=self._plan.error))
        for url in self.urls:
            log.info("listening", extra=fields(url=url + self._telemetry_path))
        for thread in (self._sweeping, *self._threads):
            thread.start()

    def stop(self) -> None:
        """Disconnect from the broker, then stop serving: the last scrape shows every event. Takes less than 5 s."""
        for activity in self._activities.values():
            activity.stop()
        until = time.monotonic() + LEAVE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        self._stopping.set()
        self._sweeping.join(LAST_SWEEP_SECONDS)
        if self._web is not None:
            self._web.stop()
        log.info("stopped", extra=fields(events=self._events()))

    def run(self) -> int:
        """Run until SIGTERM or SIGINT, or until the receiver gives up; returns the exit code.

        SIGHUP reads the web configuration again, as Prometheus does; where we run in a terminal, that was closed.
        """
        in_terminal = sys.stdin.isatty()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda received, _: self._happened.put(received))
        self.start()
        while (received := self._wait()) == signal.SIGHUP and not in_terminal:
            self._read_again()
        if received is not None:
            log.info("stopping", extra=fields(signal=signal.Signals(received).name))
        self.stop()
        return 1 if received is None else 0

    def _wait(self) -> int | None:
        """Wait for what happens next.

        A signal that comes just before the queue's lock is waited for runs its handler only after that wait (CPython's
        Python/thread_pthread.h, ``PyThread_acquire_lock_timed``), so it must not be for ever.
        """
        while True:
            with suppress(Empty):
                return self._happened.get(timeout=_SIGNAL_SECONDS)

    def _read_again(self) -> None:
        if self._web_config is None:
            log.info("SIGHUP: there is no --web.config.file to read again; other settings need a restart")
        else:
            log.info("SIGHUP: the web configuration is read again; other settings need a restart")
            self._web_config.renew()

    def _receive(self, receiver: _Activity) -> None:
        try:
            receiver.run()
        finally:
            self._happened.put(None)

    def _sweep(self) -> None:
        while not self._stopping.wait(SWEEP_SECONDS):
            for sweep in self._sweeps:
                sweep()


def _declared(broker: Broker, plan: TaskPlan) -> Declared:
    return Declared(
        queues=tuple(dict.fromkeys((*broker.queues, *filter(None, plan.queues.values())))),
        default_queue=broker.app.conf.task_default_queue,
        tasks=plan.queues,
    )


def _schedule(config: Config, clock: Clock) -> CommandSchedule:
    return CommandSchedule(
        clock.monotonic,
        interval=config.inspect_interval,
        enable_events=config.enable_events,
        inspect=config.inspect_workers,
    )


def _remote_control(
    config: Config, broker: Broker, schedule: CommandSchedule, pipeline: Pipeline
) -> RemoteControl | None:
    if not config.remote_control:
        return None
    # Who is asked about tasks has told before how many it may hold.
    tasks = pipeline.questions if config.recover and config.inspect_workers else None
    return RemoteControl(broker, schedule, pipeline.apply_answers, tasks=tasks)


def _receiver(config: Config, broker: Broker, stream: StreamState, pipeline: Pipeline) -> Watchdog:
    dispatcher = pipeline.dispatcher
    return Watchdog(
        broker.name,
        WithoutRepeats(dispatcher, span=PREFETCH) if is_durable(broker) else dispatcher,
        stream,
        partial(
            receiver_for,
            broker,
            routing_key=config.event_queue.routing_key,
            universal=config.receiver == "kombu",
        ),
        on_restart=stream.count_restart,
        # Each address of a failover list and each Sentinel may need as much.
        patience=PATIENCE_SECONDS * (broker.url.count(";") + 1),
    )


def _sampler(config: Config, broker: Broker, pipeline: Pipeline) -> Sampler | None:
    reader = reader_for(
        broker,
        management_url=config.management_url,
        accepts=pipeline.accepts_queue,
        max_queues=config.max_series,
    )
    if reader is None:
        pipeline.sources.queues.expect_no_sample()
        return None
    return Sampler(reader, pipeline, interval=config.sample_interval, broker=broker.name)
