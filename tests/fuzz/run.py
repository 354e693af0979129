"""Sends mutants through the pipeline, with good events between and beside them, and checks what must hold."""

from __future__ import annotations

import gc
import json
import random
import resource
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kombu import Connection

from celery_metrics_exporter.receivers.bodies import Bodies, keep_bodies_raw
from celery_metrics_exporter.receivers.envelopes import Envelopes
from tests.fuzz.mutants import Mutants
from tests.pipeline import Bench
from tests.recordings import load

MAX_SERIES = 100
MAX_IN_FLIGHT = 1_000
#: Mutants between two looks at the exposition.
LOOK_EVERY = 50_000
MARKER = "marker"
COUNTERS = ("sent", "received", "started", "succeeded")


@dataclass(slots=True)
class Result:
    """What a run came to."""

    seed: int
    messages: int
    seconds: float = 0.0
    markers: int = 0
    handled: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    retimed: int = 0
    resident_mb: list[int] = field(default_factory=list)
    peak_mb: int = 0


class Fuzzer:
    """One pipeline under fire."""

    def __init__(self, seed: int) -> None:
        self._mutants = Mutants(seed)
        self._random = random.Random(seed + 1)
        self._bench = Bench(start=load("5.7").ended, max_series=MAX_SERIES, max_in_flight=MAX_IN_FLIGHT)
        self._dispatcher = self._bench.pipeline.dispatcher
        self._envelopes = Envelopes(self._dispatcher, "yaml")
        self._bodies = Bodies(self._dispatcher, "yaml")
        self._channel = Connection("memory://").channel()
        keep_bodies_raw(self._channel)
        self.result = Result(seed, 0)
        self._mark(b"")  # before the mutants take every series

    def run(self, messages: int) -> Result:
        """Send so many mutants, and check."""
        began = time.monotonic()
        for number in range(1, messages + 1):
            self._fire()
            if not number % 200:
                self._bench.wait(self._random.choice([0.1, 0.3, 30.0]))
            if not number % LOOK_EVERY:
                self._check()
        self._bench.wait(3)
        self.result.messages += messages
        self.result.seconds += time.monotonic() - began
        self._check()
        return self.result

    def _fire(self) -> None:
        draw = self._random.random()
        if draw < 0.1:
            self._mark(b"")
        elif draw < 0.3:
            self._mark(self._mutants.json())
        elif draw < 0.5:
            self._dispatcher.feed(self._mutants.body())
        elif draw < 0.9:
            self._envelopes.take(self._mutants.envelope(self._mutants.body()))
        else:
            self._take_as_kombu_does(self._mutants.envelope(self._mutants.body()))

    def _take_as_kombu_does(self, envelope: bytes) -> None:
        """The way of the universal receiver, from where the transport has read the envelope's JSON."""
        try:
            content = json.loads(envelope)
        except (ValueError, RecursionError):
            return
        message = self._channel.message_to_python(content)
        if message.errors:
            self._bodies.unreadable(message, message.errors[0][1])
        else:
            self._bodies.take(message)

    def _mark(self, beside: bytes) -> None:
        """Send one whole life of a task, each event alone or in a list after some JSON."""
        self.result.markers += 1
        for kind in COUNTERS:
            event = json.dumps(self._marker(kind)).encode()
            self._dispatcher.feed(b"[%s,%s]" % (beside, event) if beside else event)

    def _marker(self, kind: str) -> Mapping[str, Any]:
        event = {
            "type": f"task-{kind}",
            "uuid": f"marker-{self.result.markers}",
            "hostname": "marker@host",
            "timestamp": self._bench.time.clock().wall(),
        }
        return {**event, "name": MARKER, "queue": MARKER} if kind in ("sent", "received") else event

    def _check(self) -> None:
        samples = self._bench.samples()
        dropped = {
            name.split('"')[1]: int(value)
            for name, value in samples.items()
            if name.startswith("celery_exporter_events_dropped_total{")
        }
        assert not dropped["handler_error"], f"a handler failed; seed {self.result.seed}"
        for kind in COUNTERS:
            counted = samples[f'celery_task_{kind}_total{{queue="{MARKER}",task="{MARKER}"}}']
            assert counted == self.result.markers, (
                f"{kind}: {counted} of {self.result.markers}; {self.result.seed}"
            )
        assert samples["celery_exporter_in_flight_tasks"] <= MAX_IN_FLIGHT
        assert sum(name.startswith("celery_task_sent_total{") for name in samples) <= MAX_SERIES + 1
        assert sum(name.startswith("celery_worker_up{") for name in samples) <= MAX_SERIES + 1
        now = self._bench.time.clock().wall()
        for name, value in samples.items():
            assert "timestamp_seconds" not in name or 0 < value <= now, f"{name} {value}; {self.result.seed}"
        self.result.dropped = Counter(dropped)
        self.result.retimed = int(samples["celery_exporter_events_retimed_total"])
        self.result.handled = int(
            sum(v for n, v in samples.items() if n.startswith("celery_exporter_events_total{"))
        )
        self.result.resident_mb.append(resident_mb())
        self.result.peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def resident_mb() -> int:
    """Memory of this process now, without what it was lent for a large mutant."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024**2
