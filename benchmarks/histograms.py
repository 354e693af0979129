"""What native histograms cost and tell beside classic ones: the page, Prometheus that takes it, and its quantiles.

One pipeline sees the events of tasks from many queues. Its page is encoded in each form; Prometheus servers scrape it
at the same time, of which one takes classic histograms (by the text), one native ones and one both (by protobuf).
Two sets of tasks, those of the demo and log-normal ones, ran so often that quantiles of their run times are known.
"""

from __future__ import annotations

import gzip
import math
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

from msgspec.structs import fields

from benchmarks import metrics
from benchmarks.pipelines import make_pipeline
from benchmarks.results import Result, Spread, Table, Value
from benchmarks.scrapes.server import Fine
from benchmarks.usage import cpu_of, held_memory
from celery_metrics_exporter.config.config import ListenAddress
from celery_metrics_exporter.demo import shop
from celery_metrics_exporter.events.decode import checked
from celery_metrics_exporter.events.types import TaskReceived
from celery_metrics_exporter.exposition.protobuf import ProtobufEncoder
from celery_metrics_exporter.exposition.text import Encoder
from celery_metrics_exporter.web.server import WebServer
from tests.integration.servers import HOST, Prometheus

if TYPE_CHECKING:
    from benchmarks.settings import Settings
    from celery_metrics_exporter.pipeline import Pipeline

_TASKS, _QUEUES = 100, 10
#: Runs of each task on each queue before anything is measured: enough to meet many buckets.
_RUNS: Final = 40
_SCRAPES: Final = 20
_QUANTILES: Final = (0.5, 0.95, 0.99)
#: Runs of each task whose quantiles are asked for.
_MANY: Final = 4_000
#: Medians in seconds, from what a cache does to what a report takes, and the sigma of log-normal run times.
_MEDIANS: Final = (0.004, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 400.0)
_SIGMA: Final = 0.8
_RUNTIME: Final = "celery_task_runtime_seconds"
#: Under which names a worker's own process tells the queue and the time of the publication.
_NAMES: Final = {each.name: each.encode_name for each in fields(TaskReceived)}
_QUEUE, _PUBLISHED = _NAMES["queue"], _NAMES["published"]
_NATIVE: Final = "--enable-feature=native-histograms"
#: How each Prometheus is told what it takes: options, settings of the scrape.
_KINDS: Final[Mapping[str, tuple[tuple[str, ...], Mapping[str, object]]]] = {
    "classic": ((), {}),
    "native": ((_NATIVE,), {}),
    "both": ((_NATIVE,), {"always_scrape_classic_histograms": True}),  # since 3.0
}
#: The major version of Prometheus from which on it may take both.
_TAKES_BOTH: Final = 3
#: Seconds between scrapes by Prometheus, and after which its memory is looked at.
_INTERVAL: Final = 5
_SECONDS: Final = 60


class _Load:
    """Runs of tasks, told to pipelines that see all the same."""

    def __init__(self, pipelines: Sequence[Pipeline]) -> None:
        self._pipelines = pipelines
        self._ids = count()
        self._chance = random.Random(1)  # noqa: S311 - a workload
        self._pairs = [
            (f"shop.task_{task}", f"queue-{queue}") for task in range(_TASKS) for queue in range(_QUEUES)
        ]

    def run_all(self) -> None:
        """Let each task run once from each queue."""
        runs = []
        for number, (task, queue) in enumerate(self._pairs):
            center = math.log(_MEDIANS[number % len(_MEDIANS)])
            runs.append((task, queue, self._chance.lognormvariate(center, _SIGMA)))
        self.run(runs)

    def run(self, runs: Sequence[tuple[str, str, float]]) -> None:
        """Tell of a run of each of these tasks: its queue and its seconds."""
        now = time.time()
        events: list[dict[str, Any]] = []
        for task, queue, seconds in runs:
            common = {
                "uuid": f"id-{next(self._ids)}",
                "hostname": "celery@worker",
                "pid": 1,
                "timestamp": now,
            }
            waited = self._chance.lognormvariate(0.0, _SIGMA)
            received = {"name": task, _QUEUE: queue, _PUBLISHED: now - waited}
            events += [
                {"type": "task-received", **common, **received},
                {"type": "task-started", **common},
                {"type": "task-succeeded", **common, "runtime": seconds},
            ]
        for pipeline in self._pipelines:
            pipeline.dispatcher.feed_events(checked(events))
            pipeline.dispatcher.sweep()


def measure(settings: Settings) -> Result:
    """Measure the page, Prometheus and the quantiles."""
    scrapes = settings.rounds or _SCRAPES
    both = make_pipeline()
    native = make_pipeline(classic_histograms=False)
    for pipeline in (both, native):
        pipeline.report_alone(lambda: None)
    load = _Load((both, native))
    for _ in range(_RUNS):
        load.run_all()
    pages = _pages(both, native, load, scrapes)
    known = {**dict(_demo_runs()), **dict(_lognormal_runs())}
    for (_, task), runs in known.items():
        load.run([(task, "celery", seconds) for seconds in runs])
    with tempfile.TemporaryDirectory(prefix="celery-exporter-bench-") as name:
        ingestion, quantiles, version = _prometheus(Path(name), both, load, known)
    return Result(
        facts={
            "tasks": _TASKS,
            "queues": _QUEUES,
            "scrapes of a page": scrapes,
            "seconds of scrapes by Prometheus, one in five": _SECONDS,
            "runs of a task whose quantiles are known": _MANY,
        },
        versions={"Prometheus": {"Prometheus": version}},
        tables=[pages, ingestion, quantiles],
    )


def _pages(both: Pipeline, native: Pipeline, load: _Load, scrapes: int) -> Table:
    """The size of a page in each form, and the CPU time to encode it."""
    forms: Mapping[str, Callable[[], bytes]] = {
        "OpenMetrics, classic": _encoding(Encoder().openmetrics, both),
        "protobuf, both": _encoding(ProtobufEncoder().encode, both),
        "protobuf, native (--no-classic-histograms)": _encoding(ProtobufEncoder().encode, native),
    }
    spent: dict[str, list[float]] = {form: [] for form in forms}
    pages: dict[str, bytes] = {}
    for _ in range(scrapes + 1):
        load.run_all()
        for form, encode in forms.items():
            began = time.process_time()
            pages[form] = encode()
            spent[form].append(1e3 * (time.process_time() - began))
    rows: list[list[Value]] = [
        [form, len(page) / 1e3, len(gzip.compress(page, 6)) / 1e3, Spread.of(spent[form][1:])]
        for form, page in pages.items()
    ]
    return Table({"a page": "", "KB": ",.0f", "KB, gzip": ",.0f", "CPU ms to encode it": ",.1f"}, rows)


def _encoding(encode: Callable[[Any], bytes], pipeline: Pipeline) -> Callable[[], bytes]:
    return lambda: encode(pipeline.registry)


def _prometheus(
    folder: Path, pipeline: Pipeline, load: _Load, known: Mapping[tuple[str, str], Sequence[float]]
) -> tuple[Table, Table, str]:
    """What the servers hold and spend, the errors of their quantiles, and their version."""
    web = WebServer([ListenAddress(HOST, 0)], pipeline.registry, Fine())
    web.start()
    with ExitStack() as stack:
        stack.callback(web.stop)
        servers: dict[str, Prometheus] = {}
        for kind, (options, scrape) in _KINDS.items():
            if not scrape or servers["native"].major_version >= _TAKES_BOTH:
                server = Prometheus(
                    folder / kind,
                    [f"{web.urls[0]}/metrics"],
                    scrape_interval=f"{_INTERVAL}s",
                    options=options,
                    scrape_settings=scrape,
                )
                servers[kind] = stack.enter_context(server)
        began = time.monotonic()
        before = {kind: cpu_of(server.process.pid) for kind, server in servers.items()}
        while (passed := time.monotonic() - began) < _SECONDS:
            load.run_all()
            time.sleep(max(0.0, _INTERVAL - (time.monotonic() - began - passed)))
        rows: list[list[Value]] = [
            [
                kind,
                server.value("scrape_samples_scraped"),
                metrics.total(metrics.samples(f"{server.url}/metrics"), "prometheus_tsdb_head_series"),
                1e3 * (cpu_of(server.process.pid) - before[kind]) * _INTERVAL / _SECONDS,
                held_memory(server.process.pid) / 1e6,
            ]
            for kind, server in servers.items()
        ]
        columns = {
            "Prometheus takes": "",
            "samples a scrape": ",.0f",
            "series": ",",
            "CPU ms a scrape": ",.0f",
            "MB": ",.0f",
        }
        errors = _errors(servers, known)
        version = servers["native"].api("status/buildinfo")["version"]
    return Table(columns, rows), errors, version


def _errors(servers: Mapping[str, Prometheus], known: Mapping[tuple[str, str], Sequence[float]]) -> Table:
    """How far quantiles of either kind are from those of the runs, in percent: of the median task, of the worst."""
    queries = {"classic": ("classic", f"sum by (task, le) ({_RUNTIME}_bucket)")}
    queries["native"] = ("native", f"sum by (task) ({_RUNTIME})")
    rows: list[list[Value]] = []
    for workload in dict.fromkeys(workload for workload, _ in known):
        for quantile in _QUANTILES:
            row: list[Value] = [f"{workload}, p{100 * quantile:g}"]
            for server, buckets in queries.values():
                found = {
                    sample.labels["task"]: sample.value
                    for sample in servers[server].query(f"histogram_quantile({quantile}, {buckets})")
                }
                errors = [
                    100 * abs(found[task] / _true(runs, quantile) - 1)
                    for (of, task), runs in known.items()
                    if of == workload
                ]
                row += [median(errors), max(errors)]
            rows.append(row)
    titles = [f"{kind}, {which}, %" for kind in queries for which in ("median", "worst")]
    return Table({"error of a quantile of run times": "", **dict.fromkeys(titles, ",.1f")}, rows)


def _true(runs: Sequence[float], quantile: float) -> float:
    """The smallest run time that at least this share of the runs does not exceed."""
    return sorted(runs)[math.ceil(quantile * len(runs)) - 1]


def _lognormal_runs() -> Iterator[tuple[tuple[str, str], list[float]]]:
    chance = random.Random(2)  # noqa: S311 - a workload
    for center in _MEDIANS:
        runs = [chance.lognormvariate(math.log(center), _SIGMA) for _ in range(_MANY)]
        yield ("log-normal", f"known.lognormal_{center:g}"), runs


def _demo_runs() -> Iterator[tuple[tuple[str, str], list[float]]]:
    """For how long the tasks of the demo would sleep, which is all that they do."""
    calls: Mapping[str, Callable[[], object]] = {
        "charge_card": lambda: shop.charge_card(None, 1, "valid"),
        "reserve_stock": lambda: shop.reserve_stock(None, 1, "there"),
        "sync_prices": shop.sync_prices,
        "send_receipt": lambda: shop.send_receipt(None, 1, "somebody"),
        "send_reminder": lambda: shop.send_reminder(1),
        "send_newsletter": lambda: shop.send_newsletter(1),
        "resize_image": lambda: shop.resize_image("a.png"),
        "transcode_video": lambda: shop.transcode_video("a.mp4"),
        "build_sales_report": lambda: shop.build_sales_report(90),
        "export_archive": lambda: shop.export_archive(2020),
    }
    for name, call in calls.items():
        slept: list[float] = []
        with mock.patch("time.sleep", slept.append):
            for _ in range(_MANY):
                call()
        yield ("demo", f"known.{name}"), slept
