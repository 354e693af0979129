"""What metrics from inside a worker cost its main process, beside none and beside task events (``-E``).

A prefork worker runs tasks that do nothing, as fast as it can. The first figure is all CPU time of its main process,
from the first task to the last; the second is what went into the events of each task alone, by the thread time of the
functions that make, send and count them; the third is what goes on whatever the tasks are, such as the looks at the
worker's own state. No worker sends heartbeats, which cost each of them the same.
"""

from __future__ import annotations

import json
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from celery import Celery

from benchmarks.in_worker_app import TASK, VARIABLE
from benchmarks.results import Result, Spread, Table, Value
from benchmarks.usage import cpu_of, held_memory
from tests.integration.servers import CeleryWorker, RabbitMQ, Valkey
from tests.integration.servers.ports import HOST
from tests.waiting import wait_for

if TYPE_CHECKING:
    from benchmarks.settings import Settings

_ROUNDS: Final = 5
_TASKS: Final = 5000
_WARM_UP: Final = 500
_PATIENCE_S: Final = 120.0
_MODES: Final = ("nothing", "metrics in the worker", "task events (-E)")


def measure(settings: Settings) -> Result:
    """Run workers of each kind in turn, on each broker."""
    rounds = settings.rounds or _ROUNDS
    rows: list[list[Value]] = []
    with tempfile.TemporaryDirectory(prefix="celery-exporter-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        for broker, server in (
            ("Redis", Valkey(folder / "redis")),
            ("RabbitMQ", RabbitMQ(folder / "rabbitmq")),
        ):
            stack.enter_context(server)
            found: dict[str, list[tuple[float, ...]]] = {mode: [] for mode in _MODES}
            for number in range(rounds):
                for mode in _MODES:
                    found[mode].append(_run(server.url, mode, folder / f"{broker}-{number}-{mode[:3]}"))
            rows += [
                [f"{broker}, {mode}", *map(Spread.of, zip(*found[mode], strict=True))] for mode in _MODES
            ]
    columns = {
        "": "",
        "CPU µs a task of the main process": ",.0f",
        "of it in events, by thread time": ",.1f",
        "CPU ms a second besides": ",.1f",
        "MB of the main process": ",.1f",
    }
    return Result(facts={"tasks": _TASKS, "rounds": rounds}, tables=[Table(columns, rows)])


def _run(url: str, mode: str, folder: Path) -> tuple[float, ...]:
    """One worker: CPU µs a task of its main process, those in events, CPU ms a second besides, and MB that it holds."""
    client = Celery(broker=url, set_as_current=False)
    queue = f"bench-{folder.name}".replace(" ", "-")
    told = folder / "spent.json"
    folder.mkdir()
    settings = {"broker_url": url, "metrics": mode.startswith("metrics"), "file": str(told)}
    serve = ("--metrics-listen-address", f"{HOST}:0") if settings["metrics"] else ()
    worker = CeleryWorker(
        folder,
        "benchmarks.in_worker_app",
        concurrency=1,
        queues=(f"{queue}-idle",),
        env={VARIABLE: json.dumps(settings)},
        events=mode.startswith("task events"),
        loglevel="WARNING",
        arguments=("--without-gossip", "--without-mingle", "--without-heartbeat", *serve),
    )
    with worker:
        _execute(client, worker, f"{queue}-warm", _WARM_UP)
        spent = _execute(client, worker, queue, _TASKS)
        memory = held_memory(worker.pid) / 1e6
    times = {"tasks": 0.0, "looks": 0.0, **json.loads(told.read_text(encoding="utf-8"))}
    client.close()
    events = 1e6 * times["tasks"] / (_TASKS + _WARM_UP)
    return 1e6 * spent / _TASKS, events, 1e3 * times["looks"] / times["life"], memory


def _execute(client: Any, worker: CeleryWorker, queue: str, tasks: int) -> float:
    """Let a worker execute so many tasks that wait already; the CPU seconds of its main process meanwhile."""
    before = _processed(client, worker)
    with client.producer_pool.acquire() as producer:
        for _ in range(tasks):
            client.send_task(TASK, queue=queue, producer=producer)
    began = cpu_of(worker.pid)
    client.control.add_consumer(queue, reply=True, destination=[worker.nodename], limit=1, timeout=10.0)
    deadline = time.monotonic() + _PATIENCE_S
    while _processed(client, worker) < before + tasks:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{worker.nodename} does not finish {queue}")
        time.sleep(0.5)
    return cpu_of(worker.pid) - began


def _processed(client: Any, worker: CeleryWorker) -> int:
    stats: dict[str, Any] = {}

    def answered() -> bool:
        stats.update(client.control.inspect([worker.nodename], timeout=5.0, limit=1).stats() or {})
        return bool(stats)

    wait_for(answered, timeout=_PATIENCE_S, what="an answer of the worker")
    return int(stats[worker.nodename]["total"].get(TASK, 0))
