"""``python -m benchmarks.in_flight``: memory for tasks that were sent and received and have not ended yet.

The bodies go through the exporter's own decoder, dispatcher and correlation, in one process without a broker, each made
just before it is fed: what is measured is what the exporter keeps of them. Twenty names, four queues and ten workers
are those of the stream; ids are random UUIDs, as Celery's. Memory is resident, both times after a garbage collection.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import time
from typing import TYPE_CHECKING
from uuid import uuid4

from benchmarks.child import ChildProcess, reply
from benchmarks.pipelines import make_pipeline
from benchmarks.results import Result
from benchmarks.stream import KINDS, WORKERS, Worker, received_event, sent_event
from benchmarks.usage import held_memory
from celery_metrics_exporter.app import SWEEP_SECONDS

if TYPE_CHECKING:
    from benchmarks.settings import Settings
    from celery_metrics_exporter.pipeline import Pipeline

#: Tasks whose events share a message, as in a full list of a worker.
_TASKS_AT_ONCE = 24
#: Tasks that are fed before memory is read first, so that nothing is measured that is made once.
_WARM_UP = 2400
_MEGABYTE = 1e6


def measure(settings: Settings) -> Result:
    """Measure it in a fresh process."""
    with ChildProcess.started("benchmarks.in_flight", "--tasks", settings.in_flight) as process:
        return Result(facts=process.read_reply())


def measure_here(tasks: int) -> dict[str, int | float]:
    """Measure it in this process."""
    pipeline = make_pipeline(max_in_flight=tasks + _WARM_UP)

    def in_flight() -> int:
        return int(pipeline.registry.get_sample_value("celery_exporter_in_flight_tasks") or 0)

    _feed(pipeline, _WARM_UP)
    before, known = _settled(), in_flight()
    _feed(pipeline, tasks)
    grown = _settled() - before
    return {
        "tasks in flight, by the exporter's own count": in_flight() - known,
        "MB for them": grown / _MEGABYTE,
        "MB before": before / _MEGABYTE,
    }


def _feed(pipeline: Pipeline, tasks: int) -> None:
    feed, sweep = pipeline.dispatcher.feed, pipeline.dispatcher.sweep
    workers = [Worker(name, 100 + number) for number, name in enumerate(WORKERS)]
    swept = 0.0
    for first in range(0, tasks, _TASKS_AT_ONCE):
        now = time.time()
        numbers = range(first, min(first + _TASKS_AT_ONCE, tasks))
        sent = [sent_event(number, number % KINDS, str(uuid4()), now) for number in numbers]
        worker = workers[first // _TASKS_AT_ONCE % len(workers)]
        for event in sent:
            feed(json.dumps(event).encode())
        feed(json.dumps([received_event(worker, event, now + 0.01) for event in sent]).encode())
        if now - swept > SWEEP_SECONDS:
            sweep()
            swept = now


def _settled() -> int:
    gc.collect()
    return held_memory(os.getpid())


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.in_flight", description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    reply(measure_here(parser.parse_args().tasks))


if __name__ == "__main__":
    main()
