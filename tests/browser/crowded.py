"""An overview with everything wrong at once and the most unpleasant names, for tests of how it looks."""

import math
from collections import Counter

from celery_metrics_exporter.collectors.task import FAILED, RUNTIME_SUCCEEDED, STARTED, SUCCEEDED
from celery_metrics_exporter.config.config import Config, EventQueue
from celery_metrics_exporter.events.stream_state import StreamReading
from celery_metrics_exporter.status_page.snapshot import BrokerView, Snapshot, Stream
from celery_metrics_exporter.status_page.snapshot_tables import (
    QueueRow,
    Queues,
    RunningRow,
    TaskRow,
    Tasks,
    Top,
    Workers,
)
from celery_metrics_exporter.tasks.counts import Counts
from celery_metrics_exporter.workers.capacity import Capacity
from tests.pipeline import T0
from tests.status_page.rows import task_counts, worker_row

#: Without a place to break, of both directions, of marks that climb, of what is not seen, and markup.
NAMES = (
    "x" * 200,
    "project.some.quite.deep.package.with.tasks.module.recalculate_everything_for_all_customers",
    "עברית.العربية." * 12,
    "e" + "\u0301" * 150,
    "\u202e\u2066\u200b\ufeff" * 30,
    '<img src="x" onerror="alert(1)"><script>alert(2)</script></table></main>',
    "👩‍👩‍👧‍👦🏳️‍🌈" * 10,
    "ﷺ" * 100,
    "&lt;&amp;'\"`{}%s",
)


def _counts(name: str, n: int) -> Counts:
    made = task_counts(
        name,
        name,
        dict.fromkeys((STARTED, SUCCEEDED, FAILED), 10**n),
        failures={name: 1},
        last_failed=T0 - 10**n,
    )
    made.observe(RUNTIME_SUCCEEDED, 10.0**n)
    return made


def crowded(*, connected: bool = True) -> Snapshot:
    """An overview with all findings that can be told at once."""
    named = Top(NAMES, 10_000)
    queues = tuple(
        QueueRow(name=name, length=10**n, unacked=None, consumers=n, workers=0, slots=None, oldest=T0 - 10**n)
        for n, name in enumerate(NAMES)
    )
    workers = tuple(
        worker_row(
            ("up", "lost", "offline")[n % 3],
            name,
            T0 - 10**n,
            events_enabled=n % 2 == 0,
            active=10**n,
            capacity=Capacity(queues=NAMES),
            version=name,
            offset=-(10.0**n),
            missed=n,
            outcomes=Counter(succeeded=10**n, failed=10**n),
        )
        for n, name in enumerate(NAMES)
    )
    tasks = tuple(
        TaskRow(_counts(name, n), rate=10.0**n, recent_failures=10**n, recent_ends=10**n)
        for n, name in enumerate(NAMES)
    )
    return Snapshot(
        now=T0,
        since=T0 - 10**6,
        config=Config(
            broker_url="redis://", inspect_workers=False, event_queue=EventQueue(routing_key="task.#")
        ),
        broker_name="redis://" + "host" * 40,
        subscription=StreamReading(
            connected=connected,
            delivering=True,
            last_error="ConnectionError: " + NAMES[0],
            past_error="OSError: " + NAMES[5],
            lasting=99.0,
            connections=8,
            disconnected_seconds=1234.0,
            restarts=2,
        ),
        stream=Stream(
            total=10**9,
            rate=12_345.6,
            rates=tuple(float(n % 7) for n in range(60)),
            lag=math.inf,
            dropped=(("undecodable", 9), ("invalid", 9), ("oversized", 9), ("handler_error", 9)),
            retimed=9,
            evicted=9,
            overflowed=(("celery_task_exceptions_total", 10**6), ("celery_queue", 9)),
        ),
        broker=BrokerView(up=False, error=NAMES[0]),
        queues=Queues(
            shown=Top(queues, 10_000),
            waiting=10**9,
            abandoned=named,
            ageless=named,
            absent=named,
            forbidden=named,
        ),
        workers=Workers(
            shown=Top(workers, 10_000),
            up=9000,
            offline=9,
            lost=named,
            silent=named,
            switched_on=named,
            skewed=Top(tuple((name, 10.0**n) for n, name in enumerate(NAMES)), 10_000),
            untold=named,
            unheard=named,
            namesakes=named,
            outdated=named,
            missed=9,
        ),
        tasks=Tasks(
            busiest=Top(tasks, 10_000),
            failing=Top(tasks, 10_000),
            running=Top(tuple(RunningRow(name, name, name, T0 - 99) for name in NAMES), 10_000),
            window=60.0,
            long_window=600.0,
            sent=0,
            started=10**9,
            recent_failures=10**6,
            recent_ends=10**6,
            unsent=named,
            unregistered=named,
        ),
    )
