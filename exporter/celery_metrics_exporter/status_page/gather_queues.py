"""Queues: how long they are, how old, and who consumes them."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nsmallest
from typing import Final

from celery_metrics_exporter.collectors import QueueCollector
from celery_metrics_exporter.facts import BrokerFacts
from celery_metrics_exporter.labels import clean, queue_label
from celery_metrics_exporter.queues.known import KnownQueues
from celery_metrics_exporter.status_page.snapshot_tables import QueueRow, Queues, Top, top_names
from celery_metrics_exporter.workers.capacity import Consumption
from celery_metrics_exporter.workers.roster import Roster

#: Rows at most.
QUEUES: Final = 40


def see_queues(
    collector: QueueCollector, known: KnownQueues, roster: Roster, *, named: Iterable[str] = ()
) -> Queues:
    """Args:
    collector: has the latest sample of the broker.
    known: the queues that are shown.
    roster: the workers that consume them.
    named: those of --queue.
    """
    sample = collector.fresh()
    consumed = roster.consumption()
    untold = Consumption() if roster.all_told_queues() else None
    rows = []
    for name in known.names():
        facts = None if sample is None else sample.facts.queues.get(name)
        here = consumed.get(name, untold)
        rows.append(
            QueueRow(
                name=name,
                length=None if facts is None else facts.ready,
                unacked=None if facts is None else facts.unacked,
                delayed=None if facts is None else facts.delayed,
                consumers=None if facts is None else facts.consumers,
                workers=None if here is None else here.workers,
                slots=None if here is None else here.pool_size,
                oldest=None if sample is None or facts is None else sample.oldest.get(name),
            )
        )
    lengths = [row.length for row in rows if row.length is not None]
    told = (sample.facts.forbidden, sample.facts.missing) if sample is not None else ((), ())
    forbidden, missing = ([clean(name) for name in names if name in known] for names in told)
    return Queues(
        shown=Top(tuple(nsmallest(QUEUES, rows, key=_interest)), len(rows)),
        waiting=sum(lengths) if lengths or (sample is not None and not forbidden) else None,
        abandoned=top_names(row.name for row in rows if row.is_abandoned),
        ageless=top_names(row.name for row in rows if row.length and row.oldest is None),
        absent=top_names(() if sample is None else _absent(named, sample.facts)),
        missing=top_names(missing),
        forbidden=top_names(forbidden),
    )


def _interest(row: QueueRow) -> tuple[bool, int, str]:
    """What nobody consumes first, then the longest; by powers of ten, so that rows keep their place."""
    return not row.is_abandoned, -len(str(row.length)) if row.length else 0, row.name


def _absent(named: Iterable[str], facts: BrokerFacts) -> Iterable[str]:
    for name in named:
        queue = facts.queues.get(queue_label(name))
        if queue is not None and not queue.exists:
            yield clean(name)
