"""An exporter that starts, or listens again, in the middle of a known workload of real workers."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.asking import ANSWERS, PidboxNode
from tests.integration.conftest import Vhost
from tests.integration.durable import DURABLE, start_both, wait_until_acknowledged
from tests.integration.faults.front import Front
from tests.integration.held_tasks import APP, RUN, VARIABLE, application
from tests.integration.known_counts import wait_until_receiving
from tests.integration.receiving import receiving
from tests.integration.servers import CeleryWorker, ExporterProcess, RabbitMQ, Valkey
from tests.waiting import wait_for

StartExporter = Callable[..., ExporterProcess]
StartWorker = Callable[..., CeleryWorker]

#: What an exporter may take to show what workers have.
SHOWN_S = 10.0
#: Two rounds of questions, and what it takes to connect again.
ENDED_S = 40.0
QUEUES = ("a", "b")


class Workload:
    """Tasks of one application, which the test starts and ends one by one."""

    def __init__(self, settings: Mapping[str, Any], marks: Path, start_worker: StartWorker) -> None:
        marks.mkdir()
        self._marks = marks
        self._env = {VARIABLE: json.dumps(settings), "C_FORCE_ROOT": "1"}  # root may not accept pickle else
        self._start_worker = start_worker
        self.app = application(settings)

    def start(self, pool: str = "prefork", **settings: Any) -> CeleryWorker:
        """Start a worker."""
        more = {"concurrency": 2, "queues": QUEUES, **settings}
        return self._start_worker(APP, pool=pool, env=self._env, **more)

    def send(self, name: str, queue: str = "a", more: object = None, **options: Any) -> None:
        """Publish a task."""
        self.app.send_task(RUN, (str(self._marks), name, more), queue=queue, **options)

    def wait_for_run(self, *names: str) -> None:
        """Wait until these run."""
        marks = [self._marks / f"{name}.runs" for name in names]
        wait_for(
            lambda: all(mark.exists() for mark in marks),
            timeout=30,
            what=lambda: f"{names} in {self.running}",
        )

    @property
    def running(self) -> list[str]:
        """What has run."""
        return sorted(mark.stem for mark in self._marks.glob("*.runs"))

    def started(self, name: str) -> float:
        """When it began to run."""
        return (self._marks / f"{name}.runs").stat().st_mtime

    def end(self, name: str = "all") -> None:
        """Let a task end."""
        (self._marks / f"{name}.ends").touch()


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    """Where tasks and the test tell each other what happens."""
    return tmp_path / "marks"


def wait_for_total(
    exporter: ExporterProcess, wanted: float, name: str, *, timeout: float, **labels: str
) -> None:
    """Wait until the samples of a family sum up to this."""
    wait_for(
        lambda: exporter.total(name, **labels) == wanted,
        timeout=timeout,
        what=lambda: f"{name} {labels} {wanted}, not {exporter.total(name, **labels)}",
    )


def unknown(exporter: ExporterProcess) -> list[str]:
    """What is counted under an unknown name or queue."""
    return [
        f"{name} {dict(labels)} {value}"
        for (name, labels), value in exporter.scrape().items()
        if name.startswith("celery_task_") and value and "unknown" in dict(labels).values()
    ]


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_start_after_a_kill(
    broker_url: str, pool: str, marks: Path, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """The next exporter knows what runs since when, and what is held; it counts from its start on, nothing unknown."""
    work = Workload({"broker_url": broker_url}, marks, start_worker)
    before = start_exporter("--broker-url", broker_url)
    wait_until_receiving(before)
    work.start(pool)
    for number in range(6):
        work.send(f"t{number}", QUEUES[number % 2])
    work.send("late", countdown=15)
    wait_for(lambda: len(work.running) == 2, timeout=30, what=lambda: f"two tasks that run: {work.running}")
    wait_for_total(before, 2, "celery_task_in_progress", timeout=10)
    wait_for_total(before, 7, "celery_task_received_total", timeout=10)
    before.kill()
    after = start_exporter("--broker-url", broker_url)
    wait_for_total(after, 2, "celery_task_in_progress", timeout=SHOWN_S, task=RUN)
    wait_for(lambda: after.value("celery_exporter_in_flight_tasks") == 7, timeout=SHOWN_S, what="7 tasks")
    oldest = [
        value
        for (name, _), value in after.scrape().items()
        if name == "celery_task_oldest_running_timestamp_seconds"
    ]
    assert min(oldest) == pytest.approx(min(map(work.started, work.running)), abs=1.0)
    for family in ("received", "started", "succeeded", "ended_unseen"):
        assert after.total(f"celery_task_{family}_total") == 0
    work.end()
    for queue, number in (("a", 4), ("b", 3)):
        wait_for_total(after, number, "celery_task_succeeded_total", timeout=40, task=RUN, queue=queue)
    wait_for_total(after, 0, "celery_task_in_progress", timeout=5)
    assert after.total("celery_task_started_total") == 5
    assert after.total("celery_task_received_total") == 0
    assert after.total("celery_task_prefetch_wait_seconds_count") == 0
    assert after.total("celery_task_ended_unseen_total") == 0
    assert after.total("celery_worker_missed_tasks_total") == 0
    assert unknown(after) == []


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_restart_with_a_durable_queue(
    rabbitmq: RabbitMQ,
    rabbitmq_vhost: Vhost,
    end: str,
    marks: Path,
    start_exporter: StartExporter,
    start_worker: StartWorker,
) -> None:
    """Events from before the answer come after it: both exporters together count everything, once."""
    work = Workload({"broker_url": rabbitmq_vhost.url}, marks, start_worker)
    before = start_exporter("--broker-url", rabbitmq_vhost.url, *DURABLE)
    wait_until_receiving(before)
    work.start()
    for number in range(6):
        work.send(f"t{number}", QUEUES[number % 2])
    work.send("late", countdown=10)
    wait_for(lambda: len(work.running) == 2, timeout=30, what=lambda: f"two tasks that run: {work.running}")
    wait_for_total(before, 2, "celery_task_started_total", timeout=10)
    wait_for_total(before, 7, "celery_task_received_total", timeout=10)
    wait_until_acknowledged(rabbitmq, rabbitmq_vhost)
    getattr(before, end)()
    work.end(work.running[0])
    wait_for(lambda: len(work.running) == 3, timeout=10, what=lambda: f"a third task: {work.running}")
    after = start_exporter("--broker-url", rabbitmq_vhost.url, *DURABLE)
    wait_for_total(after, 2, "celery_task_in_progress", timeout=SHOWN_S, task=RUN)
    wait_for_total(
        after, 7, "celery_exporter_in_flight_tasks", timeout=SHOWN_S
    )  # with the one that has ended
    work.end()
    wait_for_total(after, 7, "celery_task_succeeded_total", timeout=40)
    wait_for_total(after, 0, "celery_task_in_progress", timeout=5)
    assert after.total("celery_task_started_total") == 5
    for family in ("task_received", "task_ended_unseen", "worker_missed_tasks"):
        assert after.total(f"celery_{family}_total") == 0
    # Only of what ended before the answer nobody could tell a name any more.
    assert after.total("celery_task_succeeded_total", task=RUN) >= 6


def test_a_takeover(
    rabbitmq_vhost: Vhost, marks: Path, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """A standby that takes over asks the workers, and shows what the active exporter showed."""
    work = Workload({"broker_url": rabbitmq_vhost.url}, marks, start_worker)
    active, standby = start_both(start_exporter, rabbitmq_vhost.url)
    work.start()
    for number in range(6):
        work.send(f"t{number}", QUEUES[number % 2])
    wait_for(lambda: len(work.running) == 2, timeout=30, what=lambda: f"two tasks that run: {work.running}")
    wait_for_total(active, 2, "celery_task_in_progress", timeout=10)
    assert standby.total("celery_task_in_progress") == 0
    active.kill()
    wait_until_receiving(standby)
    wait_for_total(standby, 2, "celery_task_in_progress", timeout=SHOWN_S, task=RUN)
    work.end()
    for queue in QUEUES:
        wait_for_total(standby, 3, "celery_task_succeeded_total", timeout=20, task=RUN, queue=queue)
    assert unknown(standby) == []


@pytest.fixture(params=["redis", "amqp"])
def fronted(request: pytest.FixtureRequest) -> Iterator[tuple[Front, str, str]]:
    """A front of a broker, the URL for who comes through it, and that for all others."""
    if request.param == "redis":
        valkey: Valkey = request.getfixturevalue("valkey")
        port, url = valkey.port, valkey.url
    else:
        rabbitmq: RabbitMQ = request.getfixturevalue("rabbitmq")
        vhost: Vhost = request.getfixturevalue("rabbitmq_vhost")
        port, url = rabbitmq.port, vhost.url
    with Front(port) as front:
        yield front, url.replace(f":{port}", f":{front.port}"), url


@contextmanager
def _gap(front: Front, exporter: ExporterProcess) -> Iterator[None]:
    """The exporter cannot reach the broker meanwhile."""
    front.refuse()
    wait_for(
        lambda: not exporter.value("celery_exporter_receiver_connected"), timeout=20, what="a lost connection"
    )
    yield
    front.accept()
    wait_for(lambda: exporter.value("celery_exporter_receiver_connected"), timeout=30, what="a connection")


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_gap(
    fronted: tuple[Front, str, str],
    pool: str,
    marks: Path,
    start_exporter: StartExporter,
    start_worker: StartWorker,
) -> None:
    """What started in it runs since its start, and what ended in it is told, once, without an outcome."""
    front, ours, url = fronted
    work = Workload({"broker_url": url, "task_send_sent_event": True}, marks, start_worker)
    exporter = start_exporter("--broker-url", ours)
    wait_until_receiving(exporter)
    work.start(pool)
    for name in ("first", "second"):
        work.send(name)
    work.wait_for_run("first", "second")
    wait_for_total(exporter, 2, "celery_task_in_progress", timeout=10)
    with receiving(url) as witness, _gap(front, exporter):
        work.send("third", "b")
        work.send("fourth", "b")
        work.end("first")
        wait_for(lambda: len(work.running) == 3, timeout=20, what=lambda: f"a third task: {work.running}")
        wait_for(  # a pool of threads sends events late, up to Celery 5.6
            lambda: {"task-succeeded", "task-started"} <= {event["type"] for event in witness.events},
            timeout=20,
            what=lambda: f"the events of both: {witness.events}",
        )
    wait_for_total(exporter, 1, "celery_task_in_progress", timeout=SHOWN_S, queue="b")
    wait_for_total(exporter, 1, "celery_task_ended_unseen_total", timeout=ENDED_S, task=RUN, queue="a")
    wait_for_total(exporter, 1, "celery_task_in_progress", timeout=5, queue="a")
    newest = exporter.value("celery_task_oldest_running_timestamp_seconds", task=RUN, queue="b")
    third = next(name for name in ("third", "fourth") if name in work.running)
    assert newest == pytest.approx(work.started(third), abs=1.0)
    work.end()
    wait_for_total(exporter, 3, "celery_task_succeeded_total", timeout=20, task=RUN)
    assert exporter.total("celery_task_started_total") == 3
    assert exporter.total("celery_task_ended_unseen_total") == 1
    assert exporter.total("celery_task_in_progress") == 0
    assert unknown(exporter) == []


def test_an_argument_that_json_cannot_encode(
    valkey: Valkey, marks: Path, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """A worker that could not answer is not asked, or it would answer nothing any more; what it can answer is used."""
    work = Workload(
        {"broker_url": valkey.url, "accept_content": ["json", "pickle"], "worker_prefetch_multiplier": 2},
        marks,
        start_worker,
    )
    worker = work.start(concurrency=1)
    for name in ("runs", "waits"):
        work.send(name, more=complex(1, 2), serializer="pickle")
    work.wait_for_run("runs")
    exporter = start_exporter("--broker-url", valkey.url, "--inspect-interval", "1s")
    wait_for_total(exporter, 1, "celery_task_in_progress", timeout=2 * SHOWN_S, task=RUN, queue="a")
    answered = exporter.total("celery_exporter_events_total", event="worker-heartbeat")
    wait_for(
        lambda: exporter.total("celery_exporter_events_total", event="worker-heartbeat") > answered + 3,
        timeout=20,
        what="some more inspections",
    )
    assert worker.output.count("Control command error") == 0
    assert work.app.control.inspect(timeout=5).ping()
    work.end()
    wait_for_total(exporter, 2, "celery_task_succeeded_total", timeout=20)
    assert exporter.total("celery_task_succeeded_total", task=RUN, queue="a") == 1
    assert exporter.total("celery_task_succeeded_total", task="unknown") == 1  # nobody could tell what waits


def test_two_workers_of_one_name(
    valkey: Valkey, marks: Path, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """The tasks of both are known, and none has ended unseen."""
    work = Workload({"broker_url": valkey.url}, marks, start_worker)
    for queue in QUEUES:
        work.start("threads", concurrency=1, queues=(queue,))
        work.send(queue, queue)
    work.wait_for_run(*QUEUES)
    exporter = start_exporter("--broker-url", valkey.url, "--inspect-interval", "2s")
    for queue in QUEUES:
        wait_for_total(exporter, 1, "celery_task_in_progress", timeout=3 * SHOWN_S, queue=queue)
    work.end()
    wait_for_total(exporter, 2, "celery_task_succeeded_total", timeout=20, task=RUN)
    assert exporter.total("celery_task_ended_unseen_total") == 0
    wait_for_total(exporter, 0, "celery_task_in_progress", timeout=10)


@pytest.mark.parametrize(("multiplier", "known"), [(5_000, 10_000), (6_000, 2)])
def test_ten_thousand_reserved(
    valkey: Valkey,
    multiplier: int,
    known: int,
    marks: Path,
    start_exporter: StartExporter,
    start_worker: StartWorker,
) -> None:
    """A worker that may hold so many is asked for them, one that may hold more only for those that run."""
    settings = {"broker_url": valkey.url, "worker_prefetch_multiplier": multiplier}
    work = Workload(settings, marks, start_worker)
    worker = work.start("threads")
    with work.app.producer_pool.acquire() as producer:
        for number in range(10_000):
            work.send(f"t{number}", producer=producer)
    wait_for(lambda: len(work.running) == 2, timeout=30, what="two tasks that run")
    wait_for(
        lambda: worker.output.count("received") == 10_000, timeout=120, what="a worker that has all tasks"
    )
    exporter = start_exporter("--broker-url", valkey.url)
    wait_for_total(exporter, 2, "celery_task_in_progress", timeout=2 * SHOWN_S, task=RUN, queue="a")
    wait_for(
        lambda: exporter.value("celery_exporter_in_flight_tasks") == known,
        timeout=SHOWN_S,
        what=lambda: f"{known} tasks, not {exporter.value('celery_exporter_in_flight_tasks')}",
    )
    assert "Control command error" not in worker.output
    exporter.stop()
    worker.kill()


def test_hostile_answers(broker_url: str, start_exporter: StartExporter) -> None:
    """What no worker would answer costs only itself: of all entries the two that can be right are taken."""
    delivery = {"exchange": "", "routing_key": "a"}
    odd: list[Any] = [
        None,
        [],
        {"id": {}},
        {"id": "x" * 501, "time_start": 1e9},
        {"id": "future", "name": "n", "time_start": 1e300, "delivery_info": delivery},
        {"id": "text", "time_start": "now"},
        {"id": "unstarted", "name": "n", "time_start": None},
        {"id": "surrogate", "name": "\ud800", "time_start": 1.0, "delivery_info": delivery},
        {"id": "right", "name": "n", "time_start": 1.0, "delivery_info": delivery, "args": [1] * 1000},
    ]
    told = {**ANSWERS, "scheduled": [{"eta": 5, "request": 5}, {"request": {"id": "right"}, "eta": "never"}]}
    told |= {"reserved": {"error": "no"}, "active": odd * 100}
    with PidboxNode(broker_url, answers=told) as node:
        exporter = start_exporter("--broker-url", broker_url)
        wait_for_total(exporter, 1, "celery_task_in_progress", timeout=2 * SHOWN_S, task="n", queue="a")
        assert exporter.total("celery_task_in_progress") == 2
        assert exporter.value("celery_exporter_in_flight_tasks") == 2
        assert "Traceback" not in exporter.stderr
        assert {"scheduled", "reserved", "active"} <= set(node.commands)
