"""Looks at queues once, with the reader that the exporter has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from celery_metrics_exporter.queues.internal import is_internal
from celery_metrics_exporter.queues.readers.choosing import reader_for

if TYPE_CHECKING:
    from celery_metrics_exporter.doctor.context import Context
    from celery_metrics_exporter.facts import BrokerFacts

_MAX_QUEUES: Final = 10_000


def read_queues(context: Context, names: tuple[str, ...]) -> BrokerFacts | None:
    """Read these queues and those that the broker tells of; None: queues of such a broker cannot be read.

    Raises whatever the broker's library raises.
    """
    reader = reader_for(
        context.broker,
        management_url=context.config.management_url,
        accepts=lambda name: not is_internal(name),
        max_queues=_MAX_QUEUES,
    )
    if reader is None:
        return None
    try:
        with context.progress.doing("reading queues"):
            return reader.read(names)
    finally:
        reader.close()
