"""The real pipeline on a clock that tests turn: JSON bodies in, exposition text out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from prometheus_client import Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from celery_metrics_exporter.clock import Clock
from celery_metrics_exporter.config.config import Config
from celery_metrics_exporter.events.delivery_monitor import DeliveryMonitor
from celery_metrics_exporter.events.stream_state import StreamState
from celery_metrics_exporter.facts import BrokerFacts, QueueFacts, WorkerFacts
from celery_metrics_exporter.pipeline import Declared, Pipeline
from celery_metrics_exporter.status_page.survey import Survey

#: What the fake wall clock shows at first.
T0 = 1_700_000_000.0
#: What stands nowhere on the status page of a `Bench`.
SECRET = "hunter2"


class FakeTime:
    """Both clocks of a `Clock`, moved by hand."""

    def __init__(self, start: float = T0) -> None:
        self.start = start
        self.elapsed = 0.0

    def clock(self) -> Clock:
        """The clock to inject."""
        return Clock(wall=lambda: self.start + self.elapsed, monotonic=lambda: 1000.0 + self.elapsed)


class _Families:
    """The families of a registry that have samples with one of these prefixes."""

    def __init__(self, registry: Collector, prefixes: tuple[str, ...]) -> None:
        self._registry = registry
        self._prefixes = prefixes or ("",)

    def collect(self) -> Iterable[Metric]:
        """Yield them."""
        for metric in self._registry.collect():
            if metric.name.startswith(self._prefixes) or any(
                prefix.startswith(metric.name) for prefix in self._prefixes
            ):
                yield metric


class Bench:
    """A pipeline to feed and to scrape."""

    def __init__(
        self,
        *,
        connected: bool = True,
        start: float = T0,
        expected: Mapping[str, str | None] = MappingProxyType({}),
        **settings: Any,
    ) -> None:
        self.time = FakeTime(start)
        clock = self.time.clock()
        self.subscription = StreamState(clock)
        if connected:
            self.subscription.mark_connected()
        config = Config(broker_url="memory://", **settings)
        self.pipeline = Pipeline(
            config,
            self.subscription,
            self,
            clock,
            libraries={"celery": "5.7.0", "kombu": "5.7.0"},
            declared=Declared(tasks=expected),
            web_config_holds=lambda: True,
        )
        self.asked_for_events = 0
        self.asked_for_inspection = 0
        self.control_error: str | None = None
        self.monitor = DeliveryMonitor(
            self.subscription,
            clock,
            received=self.pipeline.sources.exporter.received,
            renew=lambda _reason: None,
            prober=None,
        )
        self.survey = Survey(
            self.pipeline.sources,
            config,
            clock,
            broker="memory://",
            reads_queues=True,
            control_error=lambda: self.control_error,
            redact=lambda text: text.replace(SECRET, "***"),
        )

    def request_events(self) -> None:
        """Count it: the pipeline's requests come here."""
        self.asked_for_events += 1

    def request_inspection(self) -> None:
        """Count it."""
        self.asked_for_inspection += 1

    def sample(
        self,
        *,
        unacked: int | None = None,
        oldest_unacked: float | None = None,
        delayed: int | None = None,
        **queues: QueueFacts | int,
    ) -> None:
        """Give a sample of the broker; a queue is its facts, or the number of messages in one without consumers."""
        facts = {
            name: queue
            if isinstance(queue, QueueFacts)
            else QueueFacts(exists=True, ready=queue, consumers=0)
            for name, queue in queues.items()
        }
        self.pipeline.wanted()
        self.pipeline.sampled(BrokerFacts(facts, 0.001, unacked, oldest_unacked, delayed))

    def answer(self, worker: str = "w@h", **facts: Any) -> None:
        """Let a worker answer."""
        self.pipeline.apply_answers([WorkerFacts(worker, **facts)])

    def can_hold(
        self, worker: str = "w@h", number: int | None = 8, *, json_only: bool | None = True, **facts: Any
    ) -> None:
        """Let a worker tell how much it may hold, and that it can be asked for all of it."""
        self.answer(worker, **{"pool_size": 2, "prefetch_limit": number, "events_enabled": True, **facts})
        if json_only is not None:
            self.pipeline._roster.of(worker).json_only = json_only

    def feed(self, *events: Any) -> None:
        """Feed events (dicts), one message each; a list is one message with several."""
        for event in events:
            self.pipeline.dispatcher.feed(json.dumps(event).encode())

    def wait(self, seconds: float) -> None:
        """Let time pass, and sweep at its end."""
        self.time.elapsed += seconds
        for part in (self.monitor, self.pipeline.dispatcher, self.survey):
            part.sweep()

    def text(self) -> str:
        """The exposition text."""
        return generate_latest(self.pipeline.registry).decode()

    def samples(self, *prefixes: str) -> dict[str, float]:
        """Samples by ``name{label="value",...}``, labels in alphabetical order, optionally of some prefixes only.

        Only the families and lines that are asked for are written and parsed: a whole page takes tens of milliseconds.
        """
        text = generate_latest(_Families(self.pipeline.registry, prefixes)).decode()
        lines = [line for line in text.splitlines(keepends=True) if line.startswith(prefixes or "")]
        found = {}
        for family in text_string_to_metric_families("".join(lines)):
            for sample in family.samples:
                labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
        return found

    def value(self, name: str, **labels: str) -> float | None:
        """One sample's value, None if there is no such sample."""
        inner = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
        return self.samples(name).get(f"{name}{{{inner}}}" if inner else name)

    def counts(self, task: str = "t", queue: str = "q") -> dict[str, float]:
        """The event counters of one (task, queue) that are not 0, without prefix and suffix."""
        samples = self.samples("celery_task_")
        labels = f'queue="{queue}"'
        found = {}
        for kind in ("sent", "received", "started", "succeeded", "failed", "retried", "cancelled"):
            found[kind] = samples.get(f'celery_task_{kind}_total{{{labels},task="{task}"}}')
        for requeue in ("true", "false"):
            name = f'celery_task_rejected_total{{{labels},requeue="{requeue}",task="{task}"}}'
            found[f"rejected {requeue}"] = samples.get(name)
        for reason in ("revoked", "expired", "terminated"):
            found[reason] = samples.get(
                f'celery_task_revoked_total{{{labels},reason="{reason}",task="{task}"}}'
            )
        return {kind: value for kind, value in found.items() if value}


def sent(
    uuid: str = "u", at: float = 0.0, *, name: str = "t", queue: str | None = "q", **more: Any
) -> dict[str, Any]:
    """A task-sent event, ``at`` seconds after T0."""
    return {
        "type": "task-sent",
        "uuid": uuid,
        "name": name,
        "queue": queue,
        "retries": 0,
        "eta": None,
        "hostname": "gen1@client",
        "timestamp": T0 + at,
        **more,
    }


def received(
    uuid: str = "u", at: float = 1.0, *, name: str = "t", worker: str = "w@h", **more: Any
) -> dict[str, Any]:
    """A task-received event."""
    return {**task("received", uuid, at, worker=worker), "name": name, "retries": 0, "eta": None, **more}


def task(kind: str, uuid: str = "u", at: float = 2.0, *, worker: str = "w@h", **more: Any) -> dict[str, Any]:
    """A task event of any kind that a worker sends."""
    return {"type": f"task-{kind}", "uuid": uuid, "hostname": worker, "pid": 7, "timestamp": T0 + at, **more}


def worker_event(kind: str, at: float = 0.0, *, worker: str = "w@h", **more: Any) -> dict[str, Any]:
    """A worker event; online and heartbeat say active=0, processed=0 unless told otherwise."""
    body = {"type": f"worker-{kind}", "hostname": worker, "pid": 7, "timestamp": T0 + at}
    if kind != "offline":
        body |= {"freq": 2.0, "active": 0, "processed": 0, "loadavg": [0.1, 0.2, 0.3]}
        body |= {"sw_ident": "py-celery", "sw_ver": "5.7.0", "sw_sys": "Linux"}
    return {**body, **more}
