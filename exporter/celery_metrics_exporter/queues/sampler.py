"""Looks at the broker at intervals, whatever happens to it.

Owns: the rhythm, and what is said when a look fails. Must not know: which broker it is, events, metrics.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Protocol

from celery_metrics_exporter.errors import one_line
from celery_metrics_exporter.logs import OutageLog

if TYPE_CHECKING:
    from collections.abc import Collection

    from celery_metrics_exporter.queues.readers import BrokerFacts, BrokerReader

log = logging.getLogger(__name__)


class Samples(Protocol):
    """Takes what was seen; called by the sampler's thread."""

    def wanted(self) -> Collection[str]:
        """The names of the queues to look at."""

    def sampled(self, facts: BrokerFacts) -> None:
        """The broker answered."""

    def sampling_failed(self, error: str) -> None:
        """It did not; ``error`` says why in one line, in the words of a library."""


class Sampler:
    """Reads a broker again and again, until it is told to stop."""

    def __init__(self, reader: BrokerReader, samples: Samples, *, interval: float, broker: str) -> None:
        """Args:
        reader: reads, or raises.
        samples: takes what was read.
        interval: seconds from the beginning of one look to that of the next.
        broker: name of the broker for the log, without secrets.
        """
        self._reader = reader
        self._samples = samples
        self._interval = interval
        self._outage = OutageLog(log, "cannot read queues", "queues can be read again", broker=broker)
        self._stop = threading.Event()

    def stop(self) -> None:
        """Let :meth:`run` return once its current look has ended. May be called from any thread."""
        self._stop.set()

    def run(self) -> None:
        """Look until told to stop."""
        while not self._stop.is_set():
            began = time.monotonic()
            self._look()
            self._stop.wait(max(self._interval / 10, began + self._interval - time.monotonic()))
        self._reader.close()

    def _look(self) -> None:
        try:
            facts = self._reader.read(self._samples.wanted())
            self._samples.sampled(facts)
        except Exception as error:  # noqa: BLE001 - the reconnect loop: nothing ends it but a stop
            self._samples.sampling_failed(one_line(error))
            self._outage.fail(error)
        else:
            self._outage.recover()
