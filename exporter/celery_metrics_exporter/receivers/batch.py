"""What one read brings, fed at once: a lock, a look at clocks and keeping books cost the same for one as for all.

Owns: the order in which bodies and losses of one read reach the sink. Must not know: what they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery_metrics_exporter.receivers import Sink


class Batch:
    """A sink before a sink; whoever reads calls :meth:`flush` after each read, whatever became of it."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._bodies: list[bytes] = []
        #: Keep a body until the next flush.
        self.feed: Callable[[bytes], None] = self._bodies.append

    def feed_all(self, bodies: list[bytes], /) -> None:
        """Keep several."""
        self._bodies += bodies

    def drop(self, reason: str, detail: str, /) -> None:
        """Tell of a loss, after what came before it."""
        self.flush()
        self._sink.drop(reason, detail)

    def flush(self) -> None:
        """Feed what is kept."""
        if self._bodies:
            bodies = self._bodies.copy()
            self._bodies.clear()
            self._sink.feed_all(bodies)
