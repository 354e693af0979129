"""``python -m benchmarks.in_flight``: memory for tasks that were sent and received and have not ended yet.

The bodies go through the exporter's own decoder, dispatcher and correlation, in one process without a broker, each made
just before it is fed: what is measured is what the exporter keeps of them. Twenty names, four queues and ten workers
are those of the stream; ids are random UUIDs, as Celery's.
"""

import argparse
import gc
import json
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from uuid import uuid4

from benchmarks.dialogue import Dialogue, answer
from benchmarks.markdown import paragraph
from benchmarks.pipelines import make_pipeline
from benchmarks.settings import Settings
from benchmarks.stream import KINDS, QUEUES, WORKERS, Worker, received_event, sent_event
from benchmarks.usage import held_memory
from celery_metrics_exporter.app import SWEEP_SECONDS
from celery_metrics_exporter.events.dispatch import Dispatcher

#: Tasks whose events share a message, as in a full list of a worker.
_TASKS_AT_ONCE = 24
#: Tasks that are fed before the first look, so that nothing is measured that is made once.
_WARM_UP = 2400
_MEGABYTE = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What so many tasks took.

    Attributes:
        tasks: that were in flight, by the exporter's own count.
        megabytes: by which the process had grown then.
        rest: megabytes of the process without them.
    """

    tasks: int
    megabytes: float
    rest: float


def measure(settings: Settings) -> Memory:
    """Measure it in a fresh process."""
    with Dialogue.started("benchmarks.in_flight", "--tasks", settings.in_flight, "--json") as process:
        return Memory(**process.answer())


def measure_here(tasks: int) -> Memory:
    """Measure it in this process."""
    pipeline = make_pipeline(max_in_flight=tasks + _WARM_UP)

    def in_flight() -> int:
        return int(pipeline.registry.get_sample_value("celery_exporter_in_flight_tasks") or 0)

    _take(pipeline.dispatcher, _WARM_UP)
    before, known = _settled(), in_flight()
    _take(pipeline.dispatcher, tasks)
    grown = _settled() - before
    return Memory(tasks=in_flight() - known, megabytes=grown / _MEGABYTE, rest=before / _MEGABYTE)


def sections(memory: Memory) -> Iterable[str]:
    """What the page says."""
    yield paragraph(
        f"With {memory.tasks:,} tasks in flight (sent and received, not ended; random UUIDs, {KINDS} names,",
        f"{len(QUEUES)} queues, {len(WORKERS)} workers; their events fed as bodies to the exporter's own decoder and",
        f"dispatcher in one process, without a broker) the process holds {memory.megabytes:.0f} MB more than the",
        f"{memory.rest:.0f} MB before: resident memory, both after a garbage collection.",
    )


def _take(dispatcher: Dispatcher, tasks: int) -> None:
    workers = [Worker(name, 100 + number) for number, name in enumerate(WORKERS)]
    swept = 0.0
    for first in range(0, tasks, _TASKS_AT_ONCE):
        now = time.time()
        numbers = range(first, min(first + _TASKS_AT_ONCE, tasks))
        sent = [sent_event(number, number % KINDS, str(uuid4()), now) for number in numbers]
        worker = workers[first // _TASKS_AT_ONCE % len(workers)]
        for event in sent:
            dispatcher.feed(json.dumps(event).encode())
        dispatcher.feed(json.dumps([received_event(worker, event, now + 0.01) for event in sent]).encode())
        if now - swept > SWEEP_SECONDS:
            dispatcher.sweep()
            swept = now


def _settled() -> int:
    gc.collect()
    return held_memory(os.getpid())


def main() -> int:
    """Print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.in_flight", description=__doc__)
    parser.add_argument("--tasks", type=int, default=Settings().in_flight)
    parser.add_argument("--json", action="store_true", help="print the figures alone")
    arguments = parser.parse_args()
    memory = measure_here(arguments.tasks)
    if arguments.json:
        answer(asdict(memory))
    else:
        print("\n".join(sections(memory)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
