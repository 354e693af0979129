"""What Prometheus takes in of workers that report for themselves, beside one listener that sees all of them.

Each worker runs every task a few times, all from one queue. The pages of a worker and of a listener come from the same
pipeline, fed with events; so many workers are so many pages like that of the first.
"""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING, Final

from msgspec.structs import fields
from prometheus_client import GCCollector, PlatformCollector, ProcessCollector

from benchmarks.pipelines import make_pipeline
from benchmarks.results import Result, Table, Value
from celery_metrics_exporter.events.decode import checked
from celery_metrics_exporter.events.types import TaskReceived
from celery_metrics_exporter.exposition.text import Encoder
from celery_metrics_exporter.facts import WorkerFacts
from celery_metrics_exporter.in_worker.absent import ABSENT
from celery_metrics_exporter.pipeline import Declared

if TYPE_CHECKING:
    from benchmarks.settings import Settings
    from celery_metrics_exporter.pipeline import Pipeline

_TASKS: Final = 50
_RUNS: Final = 5
_WORKERS: Final = (1, 10, 100)
_SCRAPES: Final = 20
_QUEUE: Final = "celery"
#: Under which name a worker's own process tells the time of the publication.
_PUBLISHED: Final = next(each.encode_name for each in fields(TaskReceived) if each.name == "published")


def measure(settings: Settings) -> Result:
    """Make the page of a worker, and that of a listener for each number of workers."""
    scrapes = settings.rounds or _SCRAPES
    alone = make_pipeline(declared=Declared(absent=ABSENT))
    alone.report_alone(lambda: None)
    _run_tasks(alone, 1, ("task-received", "task-started", "task-succeeded"))
    series, size, spent = _page(alone, scrapes)
    rows: list[list[Value]] = []
    for number in _WORKERS:
        listener = make_pipeline()
        _run_tasks(listener, number, ("task-sent", "task-received", "task-started", "task-succeeded"))
        workers = (number * series, number * size / 1e3, number * spent)
        name = f"{number} worker{'s' if number > 1 else ''}"
        rows += [
            [f"{name}, metrics in the worker", *workers],
            [f"{name}, a listener", *_kilo(_page(listener, scrapes))],
        ]
    columns = {"": "", "series": ",.0f", "KB a scrape of all": ",.0f", "CPU ms to encode it": ",.1f"}
    facts: dict[str, int | float | str | None] = {"tasks": _TASKS, "queues": 1, "scrapes": scrapes}
    return Result(facts=facts, tables=[Table(columns, rows)])


def _kilo(page: tuple[int, int, float]) -> tuple[int, float, float]:
    series, size, spent = page
    return series, size / 1e3, spent


def _run_tasks(pipeline: Pipeline, workers: int, steps: tuple[str, ...]) -> None:
    """Feed the events of all tasks on each worker."""
    now = time.time()
    for worker in range(workers):
        hostname = f"celery@worker-{worker}"
        beat = {"type": "worker-heartbeat", "hostname": hostname, "timestamp": now, "pid": 1, "freq": 2.0}
        beat |= {"active": 0, "processed": 1, "loadavg": [0.1, 0.1, 0.1], "sw_ident": "py-celery"}
        events = [beat]
        for task in range(_TASKS * _RUNS):
            common = {
                "uuid": f"{worker}-{task}",
                "hostname": hostname,
                "pid": 1,
                "name": f"shop.task_{task % _TASKS}",
            }
            more = {"queue": _QUEUE, "runtime": 0.01 * (task % 7), _PUBLISHED: now - 1.0}
            events += [{"type": step, "timestamp": now, **common, **more} for step in steps]
        pipeline.dispatcher.feed_events(checked(events))
        queues = (_QUEUE,)
        pipeline.apply_answers([WorkerFacts(hostname, pool_size=4, queues=queues, events_enabled=True)])
    pipeline.dispatcher.sweep()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=pipeline.registry)


def _page(pipeline: Pipeline, scrapes: int) -> tuple[int, int, float]:
    """Series, bytes, and CPU milliseconds to encode it once more."""
    encoder = Encoder()
    page = encoder.text(pipeline.registry)
    spent = []
    for _ in range(scrapes):
        began = time.process_time()
        encoder.text(pipeline.registry)
        spent.append(1e3 * (time.process_time() - began))
    return sum(not line.startswith(b"#") for line in page.splitlines()), len(page), median(spent)
