"""Looks at an exporter all the time, and remembers what must never happen and what must happen once."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self

from tests.integration.servers import ExporterProcess
from tests.serving import ask, connected

CONNECTED: Final = "celery_exporter_receiver_connected"
BROKER_UP: Final = "celery_broker_up"

_PAUSE_S = 0.1
#: A scrape that takes longer is not quick, even on a machine that is busy with many exporters.
_QUICK_S = 2.0
_END_S = 30.0


class Watch:
    """Scrapes, and asks for health and readiness, ten times a second until the end; a context manager.

    Attributes:
        problems: counters that went down, an exporter that was not healthy, slow answers.
        reasons: what ``/-/ready`` said while it was not ready, without repetitions.
        gap: seconds in which the receiver was not connected, as far as scrapes can tell.
        broker_downs: how often ``celery_broker_up`` went from 1 to 0.
        latest: the last scrape.
    """

    def __init__(self, exporter: ExporterProcess) -> None:
        self._exporter = exporter
        self._stop = threading.Event()
        self._working = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._counters: dict[str, float] = {}
        self._seen_at: float | None = None
        self.problems: list[str] = []
        self.reasons: list[str] = []
        self.gap = 0.0
        self.broker_downs = 0
        self.latest: dict[str, float] = {}

    def value(self, name: str) -> float:
        """A sample of the last scrape by its name and labels, as they are written; 0 when there is none."""
        return self.latest.get(name, 0.0)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Do not look meanwhile: the exporter itself is stopped."""
        with self._working:
            yield
            self._seen_at = None

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self._stop.set()
        self._thread.join(_END_S)

    def _run(self) -> None:
        try:
            while not self._stop.wait(_PAUSE_S):
                with self._working:
                    self._look()
        except Exception as error:  # noqa: BLE001 - the trial looks at the problems
            self.problems.append(f"no answer: {type(error).__name__}: {error}")

    def _look(self) -> None:
        began = time.monotonic()
        with connected(self._exporter.url) as connection:
            text = ask(connection, "/metrics").text
            ready = ask(connection, "/-/ready")
            healthy = ask(connection, "/-/healthy")
        now = time.monotonic()
        if now - began > _QUICK_S:
            self.problems.append(f"three answers took {now - began:.1f} s")
        if healthy.status != 200:
            self.problems.append(f"not healthy: {healthy.text}")
        if ready.status != 200 and ready.text not in self.reasons:
            self.reasons.append(ready.text)
        samples, counters = _read(text)
        self.problems += [
            f"{name} went from {before:g} to {counters[name]:g}"
            for name, before in self._counters.items()
            if counters.get(name, before) < before
        ]
        self._counters |= counters
        if self._seen_at is not None and not samples[CONNECTED]:
            self.gap += now - self._seen_at
        self._seen_at = now
        if self.value(BROKER_UP) and not samples.get(BROKER_UP, 0.0):
            self.broker_downs += 1
        self.latest = samples


def _read(text: str) -> tuple[dict[str, float], dict[str, float]]:
    """All samples of the text format, and those that may only grow."""
    samples: dict[str, float] = {}
    counters: dict[str, float] = {}
    growing = False
    for line in text.splitlines():
        if line.startswith("#"):
            if line.startswith("# TYPE "):
                growing = line.endswith((" counter", " histogram"))
            continue
        name, _, value = line.rpartition(" ")
        samples[name] = float(value)
        if growing:
            counters[name] = samples[name]
    return samples, counters
