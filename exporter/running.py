"""Which attempts run now, where and since when.

Owns: the set of running attempts. Must not know: events, metrics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exporter.attempt import Attempt
    from exporter.ledger import Ledger


class Running:
    """Attempts between their start and their end. Written by one thread at a time, read by any."""

    def __init__(self) -> None:
        self._entries: dict[Attempt, tuple[Ledger, float, str]] = {}
        self._on_worker: dict[str, dict[Attempt, None]] = {}

    def begin(self, ledger: Ledger, attempt: Attempt, started: float) -> None:
        """The attempt runs since ``started`` (epoch seconds) on ``attempt.worker``, and is counted in ``ledger``."""
        self.end(attempt)
        worker = attempt.worker or ""
        self._entries[attempt] = (ledger, started, worker)
        self._on_worker.setdefault(worker, {})[attempt] = None

    def end(self, attempt: Attempt) -> None:
        """The attempt does not run any more, if it did."""
        entry = self._entries.pop(attempt, None)
        if entry is not None:
            here = self._on_worker[entry[2]]
            del here[attempt]
            if not here:
                del self._on_worker[entry[2]]

    def end_all(self, worker: str, since: float) -> None:
        """End what was started on this worker before ``since`` (epoch seconds by the worker's clock)."""
        for attempt in tuple(self._on_worker.get(worker, ())):
            if self._entries[attempt][1] < since:
                attempt.open = 0
                self.end(attempt)

    def snapshot(self) -> list[tuple[Ledger, float]]:
        """The (ledger, start in epoch seconds) of everything that runs."""
        return [(ledger, started) for ledger, started, _ in tuple(self._entries.values())]
