"""What a broker itself tells, without workers: readers return plain facts and know neither events nor metrics.

Owns: the readers' protocol; ``celery_app`` knows how to reach the broker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from celery_metrics_exporter.facts import BrokerFacts, QueueFacts

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ("BrokerFacts", "BrokerReader", "QueueFacts")


class BrokerReader(Protocol):
    """Reads a broker on a connection of its own, made at the first reading and again after a failure."""

    def read(self, wanted: Collection[str]) -> BrokerFacts:
        """Look at these queues and at those that the broker names; takes seconds at most.

        Raises:
            Exception: whatever the libraries raise; the next call connects anew.
        """

    def close(self) -> None:
        """Close the connection, if there is one. Never raises, never waits for the broker."""
