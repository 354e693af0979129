"""Real workers: the queue and the publication of each request, told without events, and counts of publications."""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import celery
import pytest
from celery import Celery, chain, chord
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families

from celery_metrics_exporter.in_worker.publishing import stamp_publications
from tests.in_worker.deliveries import kept_signals
from tests.integration.conftest import Vhost
from tests.integration.request_reports import (
    APP,
    HAND,
    HEADED,
    NEWS,
    POST,
    QUEUES,
    SHOP,
    VARIABLE,
    application,
)
from tests.integration.servers import CeleryWorker, Moto, RabbitMQ, ServerProcess, Valkey
from tests.integration.servers.exporter import REPOSITORY, clean_environment
from tests.waiting import wait_for

StartWorker = Callable[..., CeleryWorker]
#: A task, its retries, and the queue and the publication that its worker told.
Report = Mapping[str, Any]

_PATIENCE_S = 60.0


class Bench:
    """A worker and a client of a broker, and what the worker reports."""

    def __init__(self, folder: Path, broker_url: str, **transport: Any) -> None:
        self._file = folder / "reports"
        self._backend = folder / "results"
        self._backend.mkdir()
        self.broker_url = broker_url
        self._transport = transport
        self.client: Celery = application(broker_url, str(self._backend), transport)

    def environment(self, **settings: Any) -> dict[str, str]:
        """What a process of the application needs."""
        settings |= {"file": str(self._file), "backend": str(self._backend), "transport": self._transport}
        return {"CELERY_BROKER_URL": self.broker_url, VARIABLE: json.dumps(settings)}

    def reports(self) -> list[Report]:
        """What was received so far."""
        return (
            [json.loads(line) for line in self._file.read_text().splitlines()] if self._file.exists() else []
        )

    def wait(self, number: int, **of: Any) -> list[Report]:
        """The reports with these values, once there are as many."""

        def found() -> list[Report]:
            return [report for report in self.reports() if report.items() >= of.items()]

        wait_for(
            lambda: len(found()) >= number,
            timeout=_PATIENCE_S,
            what=lambda: f"{number} {of}: {self.reports()}",
        )
        assert len(found()) == number
        return found()

    def note(self, **options: Any) -> str:
        """Publish a task; returns its id."""
        return str(self.client.send_task("reports.note", **options).id)


@contextmanager
def made_bench(folder: Path, broker_url: str, **transport: Any) -> Iterator[Bench]:
    """A bench whose client stamps; with options of the transport."""
    bench = Bench(folder, broker_url, **transport)
    with kept_signals():
        stamp_publications(bench.client)
        yield bench
        bench.client.close()


@pytest.fixture
def bench(tmp_path: Path, broker_url: str) -> Iterator[Bench]:
    """On Redis and on RabbitMQ in turn."""
    with made_bench(tmp_path, broker_url) as made:
        yield made


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_every_way_of_publishing(bench: Bench, start_worker: StartWorker, pool: str) -> None:
    """Each publication has a stamp of its own: of clients, pool processes and threads, retries and replacements."""
    start_worker(APP, pool=pool, queues=("celery",), env=bench.environment(), events=False)
    note = bench.client.signature("reports.note", immutable=True)
    before = time.time()
    plain = [bench.note(), bench.note(priority=5), bench.note(countdown=1), bench.note(shadow="reports.note")]
    linked = bench.note(link=note)
    retried = bench.client.send_task("reports.retry").id
    replaced = bench.client.send_task("reports.replace").id
    chained = chain(note, note, note, app=bench.client).apply_async().id
    body = chord([note, note, bench.client.signature("reports.retry")], app=bench.client)(note).id
    bench.client.send_task("reports.publish", (3,))
    # 5 plain and linked, 1 linked to, 1 in place of another, 3 in a chain, 2 and 1 of a chord, 3 published by a task
    notes = bench.wait(16, task="reports.note")
    reports = bench.reports()
    for report in reports:
        assert report["queue"] == "celery", report
        assert report["published"] is not None, report
        assert before <= report["published"] <= report["received"], report
    assert {*plain, linked, replaced, chained, body} <= {report["id"] for report in notes}
    attempts = bench.wait(3, id=retried)
    assert [report["retries"] for report in attempts] == [0, 1, 2]
    for earlier, later in pairwise(attempts):
        assert later["published"] > earlier["received"]
    original, replacement = bench.wait(2, id=replaced)
    assert replacement["task"] == "reports.note"
    assert replacement["published"] > original["received"]
    assert len({report["published"] for report in reports}) == len(reports)


def test_beat(bench: Bench, start_worker: StartWorker, tmp_path: Path) -> None:
    """What beat publishes is stamped too, by the one line in the project's module."""
    env = bench.environment(beat=True)
    argv = [sys.executable, "-m", "celery", "-A", APP, "beat", "--schedule", str(tmp_path / "schedule")]
    beat = ServerProcess(argv, log=tmp_path / "beat.log", env=clean_environment(env), cwd=REPOSITORY)
    start_worker(APP, pool="solo", queues=("celery",), env=env, events=False)
    beat.start()
    try:
        wait_for(lambda: len(bench.reports()) >= 2, timeout=_PATIENCE_S, what=beat.describe)
    finally:
        beat.stop()
    first, second = bench.reports()[:2]
    assert 0 < first["published"] < first["received"]
    assert first["published"] < second["published"] < second["received"]


def test_exchanges_of_all_kinds(bench: Bench, start_worker: StartWorker) -> None:
    """Each request has the queue from which it came; over Redis, where one key leads to two, none."""
    is_rabbitmq = bench.broker_url.startswith("amqp")
    queues = ["celery", "video", "image", "left", "right", "letters", "news"]
    queues += ["headed"] if is_rabbitmq else []
    start_worker(APP, pool="solo", queues=queues, env=bench.environment(), events=False)
    expected = {
        bench.note(): ["celery"],
        bench.note(queue="video"): ["video"],
        bench.note(queue="left"): ["left"],
        bench.note(exchange=SHOP, routing_key="video.a.b", declare=[SHOP]): ["video"],
        bench.note(exchange=SHOP, routing_key="image.a", declare=[SHOP]): ["image"],
        bench.note(exchange=POST, routing_key="celery", declare=[POST]): ["letters"],
        bench.note(exchange=HAND, routing_key="hand", declare=[HAND]): (
            ["left", "right"] if is_rabbitmq else [None, None]
        ),
        bench.note(queue="news", declare=[NEWS]): ["bcast."],
    }
    if is_rabbitmq:
        expected[bench.note(exchange=HEADED, routing_key="any", headers={"kind": "x"}, declare=[HEADED])] = [
            "headed"
        ]
    bench.wait(1 + len(expected))
    found: dict[str, list[str | None]] = {}
    for report in bench.reports():
        queue = report["queue"]
        found.setdefault(report["id"], []).append("bcast." if queue and queue.startswith("bcast.") else queue)
    assert {uuid: sorted(queues, key=str) for uuid, queues in found.items()} == expected


@pytest.mark.skipif(
    celery.VERSION[:2] < (5, 6),
    reason="Celery 5.5 delays nothing where a queue's exchange does not exist yet",
)
def test_delays_of_quorum_queues(rabbitmq_vhost: Vhost, tmp_path: Path, start_worker: StartWorker) -> None:
    """What RabbitMQ holds back has its queue, and the time at which its client published it."""
    with made_bench(tmp_path, rabbitmq_vhost.url) as bench:
        start_worker(APP, pool="solo", queues=("late",), env=bench.environment(), events=False)
        before = time.time()
        bench.note(queue="late", countdown=2)
        after = time.time()
        (report,) = bench.wait(1)
    assert report["queue"] == "late"
    assert before <= report["published"] <= after < report["received"] - 1


def test_a_consumer_that_changes(
    bench: Bench, start_worker: StartWorker, request: pytest.FixtureRequest
) -> None:
    """Queues that are added and cancelled by remote control are followed, and so is a lost connection."""
    worker = start_worker(APP, pool="solo", queues=("celery", "left"), env=bench.environment(), events=False)
    bench.wait(1, id=bench.note())
    control = bench.client.control
    assert control.add_consumer("extra", reply=True, timeout=10)
    assert bench.wait(1, id=bench.note(queue="extra"))[0]["queue"] == "extra"
    assert control.cancel_consumer("left", reply=True, timeout=10)
    assert control.add_consumer("right", exchange="hand", routing_key="hand", reply=True, timeout=10)
    assert bench.wait(1, id=bench.note(queue="right"))[0]["queue"] == "right"
    ready = worker.output.count("Connected to")
    if bench.broker_url.startswith("amqp"):
        server: RabbitMQ = request.getfixturevalue("rabbitmq")
        server.close_connections(bench.broker_url.rpartition("/")[2], number=2, reason="a test")
    else:
        valkey: Valkey = request.getfixturevalue("valkey")
        with valkey.client() as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    wait_for(
        lambda: worker.output.count("Connected to") > ready, timeout=_PATIENCE_S, what=worker.process.describe
    )
    for queue in ("celery", "extra"):  # Celery 5.3 forgets "right", which the application declares
        assert bench.wait(1, id=bench.note(queue=queue))[0]["queue"] == queue


def test_queues_that_share_a_key(rabbitmq_vhost: Vhost, tmp_path: Path, start_worker: StartWorker) -> None:
    """Many messages of two queues behind one key: each delivery has its own queue, in a pool of processes too."""
    with made_bench(tmp_path, rabbitmq_vhost.url) as bench:
        start_worker(APP, queues=("left", "right"), env=bench.environment(), events=False)
        for _ in range(100):
            bench.note(exchange=HAND, routing_key="hand", declare=[HAND])
        reports = bench.wait(200)
    assert Counter(report["queue"] for report in reports) == {"left": 100, "right": 100}
    assert set(Counter((report["id"], report["queue"]) for report in reports).values()) == {1}


def counted(text: str) -> dict[tuple[str, str], float]:
    """What a page has of publications, by (task, queue)."""
    return {
        (sample.labels["task"], sample.labels["queue"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "celery_task_sent_total"
    }


@pytest.mark.parametrize(("pool", "is_seen"), [("threads", True), ("solo", True), ("prefork", False)])
def test_publications_of_a_worker(
    valkey: Valkey, tmp_path: Path, start_worker: StartWorker, pool: str, is_seen: bool
) -> None:
    """The main process counts what its threads publish; what pool processes publish is absent there."""
    page = tmp_path / "page"
    with made_bench(tmp_path, valkey.url) as bench:
        worker = start_worker(
            APP, pool=pool, queues=("celery",), env=bench.environment(counted=str(page)), events=False
        )
        bench.client.send_task("reports.publish", (5,))
        bench.wait(5, task="reports.note")
        worker.stop()
    assert counted(page.read_text()) == ({("reports.note", "celery"): 5} if is_seen else {})


def test_publications_of_pool_processes(valkey: Valkey, tmp_path: Path, start_worker: StartWorker) -> None:
    """prometheus_client's multiprocess mode adds up those of all processes, also of recycled ones."""
    files = tmp_path / "multiprocess"
    files.mkdir()
    with made_bench(tmp_path, valkey.url) as bench:
        env = bench.environment(counted=str(tmp_path / "page")) | {"PROMETHEUS_MULTIPROC_DIR": str(files)}
        worker = start_worker(
            APP,
            queues=("celery",),
            env=env,
            events=False,
            arguments=("--without-gossip", "--without-mingle", "--max-tasks-per-child", "1"),
            within=("env",),  # prometheus_client chooses its mode when it is imported
        )
        for _ in range(4):
            bench.client.send_task("reports.publish", (5,))
        bench.wait(20, task="reports.note")
        worker.stop()
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(files))  # type: ignore[no-untyped-call]  # the library's
    samples = [
        (sample.labels["task"], sample.labels["queue"], sample.value)
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "celery_task_sent_total"
    ]
    assert samples == [("reports.note", "celery", 20)]


@pytest.mark.parametrize("predefined", [False, True], ids=["prefix", "predefined"])
def test_sqs(moto: Moto, tmp_path: Path, start_worker: StartWorker, predefined: bool) -> None:
    """The URL tells the queue, also of two behind one key where kombu can; SQS changes their names."""
    queues = ("left", "right", "with.dots")
    options: dict[str, Any] = {"region": moto.REGION, "is_secure": False, "wait_time_seconds": 0}
    if predefined:
        url = moto.client().create_queue
        options["predefined_queues"] = {
            name: {"url": url(QueueName=f"its-{number}")["QueueUrl"]}
            for number, name in enumerate(("left", "right", "with-dots"))
        }
    else:
        options["queue_name_prefix"] = "shop-"
    with made_bench(tmp_path, moto.url(), **options) as bench:
        start_worker(APP, pool="solo", queues=queues, env=bench.environment(), events=False)
        if predefined:  # kombu then takes the routing key of what it acknowledges for a queue's name
            left, right = bench.note(queue="left"), bench.note(queue="right")
        else:
            left = right = bench.note(exchange=HAND, routing_key="hand", declare=[HAND, *QUEUES[3:5]])
        dotted = bench.note(queue="with.dots")
        waiting = bench.note(queue="left", countdown=1)
        reports = bench.wait(4)
    assert sorted((report["id"], report["queue"]) for report in reports) == sorted(
        [(left, "left"), (right, "right"), (dotted, "with.dots"), (waiting, "left")]
    )
    assert all(report["published"] < report["received"] for report in reports)
