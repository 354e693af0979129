"""The sampler: reads the queues of the broker at intervals, in its own thread."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection
from typing import Protocol

from celery_metrics_exporter.errors import one_line
from celery_metrics_exporter.facts import BrokerFacts
from celery_metrics_exporter.logs import OutageLog
from celery_metrics_exporter.queues.readers import BrokerReader

log = logging.getLogger(__name__)


class SampleSink(Protocol):
    """Takes the samples; called by the sampler's thread."""

    def wanted(self) -> Collection[str]:
        """The names of the queues to read."""

    def sampled(self, facts: BrokerFacts) -> None:
        """Take a sample of the broker."""

    def sampling_failed(self, error: str) -> None:
        """Take note that no sample could be made; ``error`` is the library's reason in one line."""


class Sampler:
    """Reads a broker at intervals until it is told to stop; a failure is reported, and the next reading tried."""

    def __init__(self, reader: BrokerReader, sink: SampleSink, *, interval: float, broker: str) -> None:
        """``interval``: seconds between the starts of two readings; ``broker``: its name, without secrets."""
        self._reader = reader
        self._sink = sink
        self._interval = interval
        self._outage = OutageLog(
            log, "cannot read queues, trying again", "queues can be read again", broker=broker
        )
        self._stop = threading.Event()

    def stop(self) -> None:
        """Make :meth:`run` return after its current reading. May be called from any thread."""
        self._stop.set()

    def run(self) -> None:
        """Sample until told to stop."""
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self._sink.sampled(self._reader.read(self._sink.wanted()))
                self._outage.recover()
            except Exception as error:  # noqa: BLE001 - the reconnect loop: nothing ends it but a stop
                self._sink.sampling_failed(one_line(error))
                self._outage.fail(error)
            self._stop.wait(max(self._interval / 10, began + self._interval - time.monotonic()))
        self._reader.close()
