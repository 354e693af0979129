"""Print the demo's addresses, then a row of live figures every few seconds.

The figures are read from the families that Prometheus scrapes. A terminal gets the header again now and then, in bold;
a pipe gets it once.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TextIO

from prometheus_client import CollectorRegistry

_HEADER: Final = (
    "  time  tasks/s  succeeded  failed  retried  rejected  revoked  running  queued   wait  workers"
)
_HEADER_INTERVAL: Final = 20  # rows, in a terminal


@dataclass(frozen=True, slots=True)
class Figures:
    """Totals over all tasks and queues at one moment; `waited` is the sum of the `waits` queue waits, in seconds."""

    started: int
    succeeded: int
    failed: int
    retried: int
    rejected: int
    revoked: int
    running: int
    queued: int
    waits: int
    waited: float
    workers: int


def read_figures(registry: CollectorRegistry) -> Figures:
    """Sum the registry's task, worker and queue families."""
    totals: Counter[str] = Counter()
    for family in registry.collect():
        if family.name.startswith(("celery_task_", "celery_worker_", "celery_queue_")):
            for sample in family.samples:
                totals[sample.name] += sample.value  # type: ignore[assignment] # a Counter can add floats too
    return Figures(
        started=int(totals["celery_task_started_total"]),
        succeeded=int(totals["celery_task_succeeded_total"]),
        failed=int(totals["celery_task_failed_total"]),
        retried=int(totals["celery_task_retried_total"]),
        rejected=int(totals["celery_task_rejected_total"]),
        revoked=int(totals["celery_task_revoked_total"]),
        running=int(totals["celery_task_in_progress"]),
        queued=int(totals["celery_queue_length"]),
        waits=int(totals["celery_task_queue_wait_seconds_count"]),
        waited=float(totals["celery_task_queue_wait_seconds_sum"]),
        workers=int(totals["celery_worker_up"]),
    )


class Console:
    """Writes to `out`. When nobody reads it any more (`demo | head`), `gone` becomes true, and nothing is raised."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._terminal = out.isatty()
        bold = self._terminal and os.environ.get("TERM") != "dumb" and "NO_COLOR" not in os.environ
        self._header = f"\033[1m{_HEADER}\033[0m" if bold else _HEADER
        self._rows = 0
        self._before = (0.0, Figures(0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0, 0))
        self.gone = False

    def welcome(self, urls: Sequence[str], workers: int, *, endless: bool) -> None:
        """Print what runs and which addresses to open."""
        for url in urls:
            self._line(f"\n  metrics      {url}/metrics\n  status page  {url}/\n  ready        {url}/-/ready")
        self._line(
            f"\nA broker, {workers} workers and a client run on this machine; the exporter watches them."
            "\nThe figures come from these metrics; wait is the mean queue wait since the previous row."
            + ("\nCtrl-C ends the demo and removes everything." if endless else "")
            + "\n"
        )

    def row(self, elapsed: float, figures: Figures) -> None:
        """Write one row; rates and the mean wait are since the previous row. `elapsed` is in seconds."""
        if self._rows == 0 or (self._terminal and self._rows % _HEADER_INTERVAL == 0):
            self._line(self._header)
        self._rows += 1
        then, before = self._before
        self._before = (elapsed, figures)
        rate = (figures.started - before.started) / max(elapsed - then, 0.001)
        waits = figures.waits - before.waits
        wait = _duration((figures.waited - before.waited) / waits) if waits else "-"
        self._line(
            f"{int(elapsed) // 60:3}:{int(elapsed) % 60:02} {rate:8.1f} {figures.succeeded:10} {figures.failed:7} "
            f"{figures.retried:8} {figures.rejected:9} {figures.revoked:8} {figures.running:8} "
            f"{figures.queued:7} {wait:>6} {figures.workers:8}"
        )

    def say(self, text: str) -> None:
        """Write one line."""
        self._line(text)

    def _line(self, text: str) -> None:
        if self.gone:
            return
        try:
            self._out.write(f"{text}\n")
            self._out.flush()
        except OSError:
            self.gone = True
            # The interpreter flushes the buffer at its end, which would raise again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._out.fileno())


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else f"{seconds:.1f}s"
