"""Who handles which event: the one door between collectors and the dispatcher."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from celery_metrics_exporter.events.types import Event, EventT


class HandlerTable:
    """Handlers by type of event, of events that came together, and of sweeps; each in the order of registration.

    Attributes:
        by_type: called with each event of a type.
        of_batches: called with all known events that were fed together, after their handlers.
        of_sweeps: called whenever the dispatcher sweeps.
    """

    def __init__(self) -> None:
        self.by_type: dict[type[Any], tuple[Callable[[Any], None], ...]] = {}
        self.of_batches: list[Callable[[Sequence[Event]], None]] = []
        self.of_sweeps: list[Callable[[], None]] = []

    def on(self, kind: type[EventT], handler: Callable[[EventT], None], /) -> None:
        """Let ``handler`` have each event of this type; mypy checks that it takes that type."""
        self.by_type[kind] = (*self.by_type.get(kind, ()), handler)

    def on_batch(self, handler: Callable[[Sequence[Event]], None], /) -> None:
        """Let ``handler`` have events together: for what can be done for many at a fraction of the cost."""
        self.of_batches.append(handler)

    def on_sweep(self, handler: Callable[[], None], /) -> None:
        """Let ``handler`` do the work that time asks for, whether or not events come."""
        self.of_sweeps.append(handler)
