"""The handler table: collectors register their handlers here, the dispatcher calls them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from celery_metrics_exporter.events.types import Event, EventT


class HandlerTable:
    """The handlers of single events by type, of batches, and of sweeps; all are called in the order of registration.

    Attributes:
        by_type: called with each event of a type.
        of_batches: called with all events of a batch, after the handlers of single events; without unknown events.
        of_sweeps: called in each sweep of the dispatcher.
    """

    def __init__(self) -> None:
        self.by_type: dict[type[Any], tuple[Callable[[Any], None], ...]] = {}
        self.of_batches: list[Callable[[Sequence[Event]], None]] = []
        self.of_sweeps: list[Callable[[], None]] = []

    def on(self, kind: type[EventT], handler: Callable[[EventT], None], /) -> None:
        """Register a handler of this type of event; mypy checks that it takes this type."""
        self.by_type[kind] = (*self.by_type.get(kind, ()), handler)

    def on_batch(self, handler: Callable[[Sequence[Event]], None], /) -> None:
        """Register a handler of batches: some work costs a fraction when it is done for many events at once."""
        self.of_batches.append(handler)

    def on_sweep(self, handler: Callable[[], None], /) -> None:
        """Register a handler of sweeps, for work that is due at a time, whether or not events arrive."""
        self.of_sweeps.append(handler)
