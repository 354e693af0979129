"""What Prometheus misses of workers that report for themselves while they are replaced one after the other.

A real Prometheus scrapes every five seconds. Tasks flow all the time; for each worker a new one is started, and when
that is ready the old one is told to end. How many tasks ended is known from the logs of the workers. The flow begins
after the first workers were scraped and ends before the last scrapes: what is missing is due to the restarts alone.
"""

from __future__ import annotations

import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from celery import Celery

from benchmarks.results import Result, Table, Value
from tests.integration.in_worker_app import APP, environment
from tests.integration.self_reporting import PLAIN, SelfReportingWorker
from tests.integration.servers import Prometheus, Valkey
from tests.integration.servers.ports import HOST, free_port
from tests.waiting import wait_for

if TYPE_CHECKING:
    from benchmarks.settings import Settings

_INTERVAL_S: Final = 5
_LINGER_S: Final = 10
_WORKERS: Final = 2
_RESTARTS: Final = 3
#: Tasks a second of all workers together.
_RATE: Final = 20.0
_PATIENCE_S: Final = 120.0
_FAMILY: Final = "celery_task_succeeded_total"


class _Mode(NamedTuple):
    name: str
    linger: bool


_MODES: Final = (
    _Mode("no linger", linger=False),
    _Mode(f"--metrics-linger {_LINGER_S}s", linger=True),
)


class _Flow:
    """Publishes tasks at a steady rate from a thread of its own; a context manager."""

    def __init__(self, url: str) -> None:
        self._app = Celery(broker=url, set_as_current=False)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.published = 0

    def _run(self) -> None:
        began = time.monotonic()
        with self._app.producer_pool.acquire() as producer:
            while not self._stopping.wait(max(0.0, began + self.published / _RATE - time.monotonic())):
                self._app.send_task("add", (1, 1), producer=producer)
                self.published += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._app.close()


def measure(settings: Settings) -> Result:
    """Replace workers in each mode."""
    restarts = settings.rounds or _RESTARTS
    rows: list[list[Value]] = []
    with tempfile.TemporaryDirectory(prefix="celery-exporter-bench-") as name:
        for number, mode in enumerate(_MODES):
            rows.append([mode.name, *_replace(Path(name) / str(number), mode, restarts)])
    columns = {
        "": "",
        "tasks that ended": ",.0f",
        "after the last scrape of a worker": ",.0f",
        "before the first scrape of one": ",.0f",
        "sum(increase()) - tasks": "+,.1f",
        "of them, %": "+,.2f",
    }
    facts: dict[str, int | float | str | None] = {
        "seconds between scrapes": _INTERVAL_S,
        "workers at a time": _WORKERS,
        "restarts": restarts,
        "tasks a second of a worker": _RATE / _WORKERS,
    }
    return Result(facts=facts, tables=[Table(columns, rows)])


def _replace(folder: Path, mode: _Mode, restarts: int) -> tuple[float, ...]:
    """One rolling restart: the tasks, those that no scrape saw, and how wrong increase() is."""
    ports = [free_port() for _ in range(_WORKERS + restarts)]
    with ExitStack() as stack:
        broker = stack.enter_context(Valkey(folder / "redis"))
        workers = [_worker(folder, broker.url, mode, port) for port in ports]
        for worker in workers[:_WORKERS]:
            worker.start()
            stack.callback(worker.kill)
        prometheus = stack.enter_context(
            Prometheus(
                folder / "prometheus",
                [f"http://{HOST}:{port}/metrics" for port in ports],
                scrape_interval=f"{_INTERVAL_S}s",
            )
        )
        with _Flow(broker.url) as flow:  # each worker has its series before the measurement begins
            wait_for(
                lambda: (prometheus.value(f"count({_FAMILY} > 0)") or 0) == _WORKERS,
                timeout=_PATIENCE_S,
                what="the series of the first workers",
            )
        _settle(prometheus, workers, flow.published)
        before, began = _ended(workers), time.time()
        time.sleep(_INTERVAL_S)
        with _Flow(broker.url) as flow:
            for number, (old, new) in enumerate(zip(workers, workers[_WORKERS:], strict=False)):
                new.start()
                stack.callback(new.kill)
                wait_for(
                    lambda new=new: "succeeded in" in new.output,  # type: ignore[misc]  # bound at once
                    timeout=_PATIENCE_S,
                    what="a task of the new worker",
                )
                time.sleep(
                    _INTERVAL_S * (1 + number / restarts)
                )  # no restart is at the same time of a scrape
                old.stop()
        with broker.client() as client:
            wait_for(lambda: client.llen("celery") == 0, timeout=_PATIENCE_S, what="the last task")
        time.sleep(2 * _INTERVAL_S)
        ended = _ended(workers)
        window = f"[{time.time() - began:.0f}s]"
        named = f'{_FAMILY}{{task="add"}}'
        increase = prometheus.value(f"sum(increase({named}{window}))") or 0.0
        last = prometheus.value(f"sum(max_over_time({named}{window}))") or 0.0
        of_new = "|".join(f"{HOST}:{port}" for port in ports[_WORKERS:])
        later = f'{_FAMILY}{{task="add",instance=~"{of_new}"}}'
        first = prometheus.value(f"sum(min_over_time({later}{window}))") or 0.0
    tasks = ended - before
    return tasks, ended - last, first, increase - tasks, 100 * (increase - tasks) / tasks


def _worker(folder: Path, url: str, mode: _Mode, port: int) -> SelfReportingWorker:
    linger = ("--metrics-linger", f"{_LINGER_S}s") if mode.linger else ()
    return SelfReportingWorker(
        folder,
        APP,
        hostname=f"worker-{port}",
        pool="threads",
        concurrency=1,
        arguments=(*PLAIN, "--prefetch-multiplier", "1", *linger),
        listen=f"{HOST}:{port}",
        env=environment(url),
    )


def _ended(workers: list[SelfReportingWorker]) -> int:
    return sum(worker.output.count("succeeded in") for worker in workers)


def _settle(prometheus: Prometheus, workers: list[SelfReportingWorker], tasks: int) -> None:
    """Wait until all tasks have ended and were scraped."""
    wait_for(
        lambda: (
            _ended(workers) == tasks and prometheus.value(f'sum({_FAMILY}{{task="add"}})') == float(tasks)
        ),
        timeout=_PATIENCE_S,
        what="scrapes of all tasks",
    )
