"""Print the demo's addresses, then a row of live figures every few seconds.

The figures are read from the families that Prometheus scrapes. A terminal gets the header again now and then, in bold;
a pipe gets it once.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import Final, TextIO

from prometheus_client import CollectorRegistry

# Column -> the metric that it shows, summed over all tasks or queues.
_COLUMNS: Final = {
    "succeeded": "celery_task_succeeded_total",
    "failed": "celery_task_failed_total",
    "retried": "celery_task_retried_total",
    "rejected": "celery_task_rejected_total",
    "revoked": "celery_task_revoked_total",
    "running": "celery_task_in_progress",
    "queued": "celery_queue_length",
}
_HEADER: Final = f"  time  tasks/s  {'  '.join(_COLUMNS)}   wait  workers"
_HEADER_INTERVAL: Final = 20  # rows, in a terminal


class Console:
    """Writes to `out` what `registry` holds."""

    def __init__(self, registry: CollectorRegistry, out: TextIO) -> None:
        self._registry = registry
        self._out = out
        self._terminal = out.isatty()
        bold = self._terminal and os.environ.get("TERM") != "dumb" and "NO_COLOR" not in os.environ
        self._header = f"\033[1m{_HEADER}\033[0m" if bold else _HEADER
        self._rows = 0
        self._last_row = 0.0
        self._before: Counter[str] = Counter()

    def welcome(self, urls: Sequence[str], workers: int, *, endless: bool) -> None:
        """Print what runs and which addresses to open."""
        for url in urls:
            self.say(f"\n  metrics      {url}/metrics\n  status page  {url}/\n  ready        {url}/-/ready")
        self.say(
            f"\nA broker, {workers} workers and a client run on this machine; the exporter watches them."
            "\nThe figures come from these metrics; wait is the mean queue wait since the previous row."
            + ("\nCtrl-C ends the demo and removes everything." if endless else "")
            + "\n"
        )

    def row(self, elapsed: float) -> None:
        """Write one row; rates and the mean wait are since the previous row. `elapsed` is in seconds."""
        if self._rows == 0 or (self._terminal and self._rows % _HEADER_INTERVAL == 0):
            self.say(self._header)
        self._rows += 1
        totals = self._totals()
        grown = Counter(totals)
        grown.subtract(self._before)
        rate = grown["celery_task_started_total"] / max(elapsed - self._last_row, 0.001)
        waits = grown["celery_task_queue_wait_seconds_count"]
        wait = _duration(grown["celery_task_queue_wait_seconds_sum"] / waits) if waits else "-"
        self._before, self._last_row = totals, elapsed
        counts = " ".join(f"{int(totals[metric]):{len(name) + 1}}" for name, metric in _COLUMNS.items())
        self.say(
            f"{int(elapsed) // 60:3}:{int(elapsed) % 60:02} {rate:8.1f} {counts} "
            f"{wait:>6} {int(totals['celery_worker_up']):8}"
        )

    def say(self, text: str) -> None:
        """Write one line. Raises BrokenPipeError when nobody reads it any more, as in `demo | head`."""
        try:
            self._out.write(f"{text}\n")
            self._out.flush()
        except OSError as error:  # a terminal that was closed has another one
            raise BrokenPipeError from error

    def _totals(self) -> Counter[str]:
        totals: Counter[str] = Counter()
        for family in self._registry.collect():
            if family.name.startswith(("celery_task_", "celery_worker_", "celery_queue_")):
                for sample in family.samples:
                    totals[sample.name] += sample.value  # type: ignore[assignment] # a Counter can add floats too
        return totals


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else f"{seconds:.1f}s"
