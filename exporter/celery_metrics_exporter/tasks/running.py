"""Which attempts run now, on which worker and since when."""

from __future__ import annotations

from celery_metrics_exporter.tasks.attempt import Attempt, RunningHere


class Running:
    """Attempts between their start and their end. Written by one thread at a time, read by any.

    An attempt knows which of the sets it is in, and removes itself (:meth:`Attempt.stop_running`).
    """

    def __init__(self) -> None:
        self._on_worker: dict[str, RunningHere] = {}

    def begin(self, attempt: Attempt) -> None:
        """Add an attempt: it runs on ``attempt.worker`` since ``attempt.started``."""
        worker = attempt.worker or ""
        here = self._on_worker.get(worker)
        if here is None:
            here = self._on_worker[worker] = {}
        attempt.running = here
        here[attempt] = None

    def on(self, worker: str) -> tuple[Attempt, ...]:
        """What runs on this worker."""
        return tuple(self._on_worker.get(worker, ()))

    def end(self, attempt: Attempt) -> None:
        """End an attempt whose outcome was not heard of; it still counts if it comes."""
        attempt.open = False
        attempt.stop_running()

    def end_all(self, worker: str, since: float) -> list[Attempt]:
        """End what was started on this worker before ``since`` (epoch seconds by the worker's clock), and return it."""
        ended = [attempt for attempt in self.on(worker) if attempt.started < since]
        for attempt in ended:
            self.end(attempt)
        return ended

    def sweep(self) -> None:
        """Forget workers on which nothing runs."""
        for worker, here in tuple(self._on_worker.items()):
            if not here:
                del self._on_worker[worker]

    def snapshot(self) -> list[Attempt]:
        """Everything that runs."""
        return [attempt for here in tuple(self._on_worker.values()) for attempt in tuple(here)]
