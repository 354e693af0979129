"""Read queue lengths and other facts from a broker: the protocol of all readers.

``choosing`` makes the reader for a broker, ``queues.sampler`` calls it at intervals.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from celery_metrics_exporter.facts import BrokerFacts


class BrokerReader(Protocol):
    """Reads a broker over its own connection, which the first reading opens, and the next one after a failure."""

    def read(self, wanted: Collection[str]) -> BrokerFacts:
        """Read these queues, and those found on the broker; takes a few seconds at most.

        Raises:
            Exception: whatever the client library raises; the next call connects again.
        """

    def close(self) -> None:
        """Close the connection, if there is one. Never raises, never waits for the broker."""
