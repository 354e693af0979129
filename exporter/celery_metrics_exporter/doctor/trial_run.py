"""Runs the exporter itself for some seconds, without a web server, and takes one last look at what it saw."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final

from celery_metrics_exporter.app import Exporter
from celery_metrics_exporter.config.config import Config
from celery_metrics_exporter.doctor.context import Context
from celery_metrics_exporter.doctor.progress import doing
from celery_metrics_exporter.status_page.missing import find_missing
from celery_metrics_exporter.status_page.snapshot import Snapshot
from celery_metrics_exporter.status_page.snapshot_tables import Top

_TICK_SECONDS: Final = 0.1
_SHORTEST_INTERVAL_SECONDS: Final = 0.5


def start_exporter(context: Context, config: Config) -> None:
    """Start it with this configuration, and wait until it does its work, or for a connection's time-out."""
    # The queues that workers tell of are read with the next sample: it has to come in this time.
    interval = min(config.sample_interval, max(_SHORTEST_INTERVAL_SECONDS, context.wait / 4))
    config = replace(config, sample_interval=interval)
    exporter = Exporter(config, context.broker.app if config.app else None, serve=False)
    exporter.start()
    context.leaving.callback(exporter.stop)
    until = time.monotonic() + context.timeout
    while not _works(exporter.survey.look()) and time.monotonic() < until:
        time.sleep(_TICK_SECONDS / 4)
    context.exporter, context.since = exporter, time.monotonic()


def _works(seen: Snapshot) -> bool:
    """Whether it receives events; without them, whether it has tried to read queues."""
    if seen.config.events:
        return seen.subscription.connected
    return seen.broker.up is not None or not seen.reads_queues


def listen(context: Context) -> Snapshot:
    """What the exporter saw in the time that there is for it; the first call waits for that."""
    if context.seen is not None:
        return context.seen
    if not context.config.events:
        start_exporter(context, context.config)
    if context.exporter is None:
        raise RuntimeError("there is no exporter")
    until = time.monotonic() + (context.wait if context.config.events else 0.0)
    with doing("listening for events", seconds=context.wait):
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _TICK_SECONDS))
            if context.questions is not None:
                context.questions.collect()
    context.seconds = time.monotonic() - context.since
    context.seen = _with_our_own(context, context.exporter.survey.look())
    context.findings = find_missing(context.seen, final=True)
    return context.seen


def _with_our_own(context: Context, seen: Snapshot) -> Snapshot:
    """Add what our own event and question tell sooner than anything that the exporter does by itself."""
    questions, workers, subscription = context.questions, seen.workers, seen.subscription
    if questions is None:
        return seen
    if questions.probed and subscription.connected and not seen.stream.heard:
        fault = f"nothing in {context.seconds:.0f} s, not even the event that was sent to ourselves"
        subscription = replace(subscription, fault=subscription.fault or fault)
    shared = {name for name, number in questions.answers.items() if number > 1} | set(workers.namesakes.rows)
    if len(shared) > workers.namesakes.total:
        workers = replace(workers, namesakes=Top(tuple(sorted(shared)), len(shared)))
    return replace(seen, subscription=subscription, workers=workers)
