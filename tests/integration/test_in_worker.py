"""Workers that report for themselves: each pool, each broker, whatever options they have."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import celery
import pytest
from celery import Celery

from tests.integration.in_worker_app import APP, environment
from tests.integration.self_reporting import PLAIN, SelfReportingWorker
from tests.integration.servers import ExporterProcess, RabbitMQ, Valkey, require
from tests.waiting import wait_for

Start = Callable[..., SelfReportingWorker]

COUNTED_S = 30.0
POOLS = ("prefork", "threads", "solo", "gevent", "eventlet")
ADDED, FAILED, TWICE, IGNORED, SILENT = 60, 7, 5, 4, 3


def client(broker_url: str) -> Celery:
    """An application that publishes alone."""
    return Celery("client", broker=broker_url, set_as_current=False)


def submit(broker_url: str) -> None:
    """Send tasks of every kind of outcome."""
    app = client(broker_url)
    for number in range(ADDED):
        app.send_task("add", (number, 1))
    for name, times in (("fail", FAILED), ("again", TWICE), ("ignored", IGNORED), ("silent", SILENT)):
        for _ in range(times):
            app.send_task(name)
    app.send_task("forgotten")
    app.send_task("add", (1, 1), headers={"expires": "2020-01-01T00:00:00+00:00"})
    app.close()


def expected() -> dict[str, float]:
    """The counters that are not 0 then, by name, task and further labels."""
    ran = {"add": ADDED, "fail": FAILED, "again": 3 * TWICE, "ignored": IGNORED}
    return {
        **{f"received {task}": number for task, number in ran.items()},
        **{f"started {task}": number for task, number in ran.items()},
        "succeeded add": ADDED,
        "succeeded again": TWICE,
        "failed fail": FAILED,
        "failed forgotten": 1,
        "retried again": 2 * TWICE,
        "revoked add": 1,
        "exceptions fail": FAILED,
        "exceptions again": 2 * TWICE,
        "exceptions forgotten": 1,
    }


def counted(worker: SelfReportingWorker) -> dict[str, float]:
    """Those that the worker tells, all of the queue ``celery``."""
    found: dict[str, float] = {}
    for (name, labels), value in worker.samples().items():
        if value and name.startswith("celery_task_") and name.endswith("_total"):
            told = dict(labels)
            assert told["queue"] == "celery", name
            key = f"{name.removeprefix('celery_task_').removesuffix('_total')} {told['task']}"
            found[key] = found.get(key, 0.0) + value
    return found


def check(worker: SelfReportingWorker, broker_url: str) -> None:
    """Submit the tasks; each must be counted, once."""
    submit(broker_url)
    wait_for(
        lambda: counted(worker) == expected() and worker.total("celery_task_in_progress") == 0,
        timeout=COUNTED_S,
        what=lambda: f"{expected()}; there are {counted(worker)}: {worker.process.describe()}",
    )
    assert worker.value("celery_worker_processed_tasks_total", worker=worker.nodename) == sum(
        (ADDED, FAILED, 3 * TWICE, IGNORED, SILENT)
    )
    assert worker.total("celery_exporter_events_dropped_total") == 0


def start(start_self_reporting: Start, broker_url: str, **settings: Any) -> SelfReportingWorker:
    """A worker of the application at this broker."""
    of_app = settings.pop("app", {})
    return start_self_reporting(APP, env=environment(broker_url, **of_app), **settings)


@pytest.mark.parametrize("pool", POOLS)
def test_every_pool_counts_every_task_once(broker_url: str, pool: str, start_self_reporting: Start) -> None:
    """All outcomes of all tasks, also those that have no event or one without a name; nothing stays in progress."""
    worker = start(start_self_reporting, broker_url, pool=pool)
    check(worker, broker_url)
    assert worker.value("celery_worker_up", worker=worker.nodename) == 1
    assert worker.value("celery_queue_workers", queue="celery") == 1
    assert worker.page("/-/ready") == "consuming\n"


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # of kombu's models, on SQLAlchemy 2.1
def test_tasks_of_sqlalchemy_are_counted(tmp_path: Path, start_self_reporting: Start) -> None:
    """A broker that carries no events; of its pools solo alone, since kombu's sessions belong to one thread."""
    broker_url = f"sqla+sqlite:///{tmp_path}/broker.db"
    check(start(start_self_reporting, broker_url, pool="solo"), broker_url)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--without-gossip",),
        ("--without-heartbeat",),
        ("--without-mingle",),
        ("--without-gossip", "--without-heartbeat"),
        ("--without-gossip", "--without-heartbeat", "--without-mingle"),
        ("--without-gossip", "--without-heartbeat", "--task-events"),
    ],
    ids=" ".join,
)
def test_no_option_of_the_worker_matters(
    valkey: Valkey, arguments: tuple[str, ...], start_self_reporting: Start
) -> None:
    """Whether Celery has a dispatcher of its own or none."""
    worker = start(start_self_reporting, valkey.url, pool="threads", arguments=arguments)
    check(worker, valkey.url)


def test_a_worker_without_a_dispatcher_does_not_say_that_it_sends_events(
    valkey: Valkey, start_self_reporting: Start
) -> None:
    """What enable_events answers is true, with a dispatcher of Celery's and without one."""
    with_one = start(start_self_reporting, valkey.url, hostname="with", pool="solo", arguments=PLAIN)
    without = start(
        start_self_reporting,
        valkey.url,
        hostname="without",
        pool="solo",
        arguments=(*PLAIN, "--without-heartbeat"),
    )
    app = client(valkey.url)
    answers = {
        name: answer
        for each in app.control.enable_events(reply=True, timeout=5.0, limit=2)
        for name, answer in each.items()
    }
    assert answers == {
        with_one.nodename: {"ok": "task events enabled"},
        without.nodename: {"error": "event dispatcher unavailable"},
    }
    with_one.stop()
    check(without, valkey.url)


def test_a_listener_beside_sees_what_it_would_see_without(
    valkey: Valkey, start_self_reporting: Start, start_exporter: Callable[..., ExporterProcess]
) -> None:
    """Events are still sent where they are on: the listener counts the same."""
    exporter = start_exporter("--broker-url", valkey.url)
    exporter.process.wait_until(
        lambda: 'msg="receiving events"' in exporter.stderr, timeout=30.0, what="a listener"
    )
    worker = start(start_self_reporting, valkey.url, events=True)
    check(worker, valkey.url)
    wait_for(
        lambda: exporter.total("celery_task_succeeded_total") == ADDED + TWICE,
        timeout=COUNTED_S,
        what="the events at the listener",
    )
    assert exporter.value("celery_worker_up", worker=worker.nodename) == 1


@pytest.fixture(params=["redis", "amqp"])
def own_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Valkey | RabbitMQ]:
    """A server that the test may stop, of Redis and of RabbitMQ in turn."""
    if request.param == "redis":
        yield request.getfixturevalue("valkey")
    else:
        require("rabbitmq")
        server = RabbitMQ(tmp_path / "rabbitmq")
        try:
            server.start()
            yield server
        finally:
            server.kill()  # a farewell takes seconds


@pytest.mark.parametrize(
    "pool",
    [
        pytest.param(
            "prefork",
            marks=pytest.mark.skipif(
                celery.VERSION[:2] < (5, 7),
                reason="the worker itself forgets what runs meanwhile (celery#10383)",
            ),
        ),
        "threads",
        "solo",
    ],
)
def test_a_broker_that_goes_and_comes_costs_no_end_of_a_task(
    own_broker: Valkey | RabbitMQ, tmp_path: Path, pool: str, start_self_reporting: Start
) -> None:
    """A task that runs meanwhile is counted when it ends, and what comes later as well.

    Without prefetch: to raise its limit again, Celery reads the connection in a thread of the pool as well as in the
    main one, and may hang on RabbitMQ for good.
    """
    worker = start(start_self_reporting, own_broker.url, pool=pool, app={"worker_prefetch_multiplier": 0})
    release = tmp_path / "release"
    # Transient: RabbitMQ may be killed before it has written that the message is acknowledged.
    client(own_broker.url).send_task("hold", (str(release),), delivery_mode="transient")
    wait_for(Path(f"{release}.runs").exists, timeout=COUNTED_S, what="a running task")
    wait_for(  # what a pool process says first is read after a reconnect only, if the connection is lost before
        lambda: worker.value("celery_task_in_progress", task="hold", queue="celery") == 1,
        timeout=COUNTED_S,
        what="a worker that knows that it runs",
    )
    own_broker.kill()
    if pool != "solo":  # which looks after its connection between two tasks
        worker.process.wait_until(
            lambda: "not consuming" in worker.page("/-/ready"), timeout=COUNTED_S, what="a worker that knows"
        )
    assert worker.value("celery_task_in_progress", task="hold", queue="celery") == 1
    own_broker.start()
    if pool != "solo":
        worker.process.wait_until(
            lambda: worker.page("/-/ready") == "consuming\n", timeout=COUNTED_S, what="a new connection"
        )
    release.touch()
    wait_for(
        lambda: worker.value("celery_task_succeeded_total", task="hold", queue="celery") == 1,
        timeout=COUNTED_S,
        what="the end of the task",
    )
    client(own_broker.url).send_task("add", (1, 1))
    wait_for(
        lambda: worker.value("celery_task_succeeded_total", task="add", queue="celery") == 1,
        timeout=COUNTED_S,
        what=lambda: f"a task of the new connection: {worker.process.describe()}",
    )
    assert worker.total("celery_task_in_progress") == 0


def test_the_page_of_a_worker_tells_what_it_does_not_know(
    valkey: Valkey, start_self_reporting: Start
) -> None:
    """It looks complete: nothing of a listener is told to be broken."""
    worker = start(start_self_reporting, valkey.url, pool="solo")
    check(worker, valkey.url)
    page = worker.page("/")
    assert "Consuming" in page
    assert "This is one worker, by itself" in page
    for word in ("No queue lengths", "task-sent is off", "Event lag", "Messages waiting", "lost"):
        assert f">{word}" not in page


def test_settings_come_from_the_application_too(valkey: Valkey, start_self_reporting: Start) -> None:
    """Buckets and the limit of series are those that ``install`` was told."""
    worker = start(
        start_self_reporting,
        valkey.url,
        pool="solo",
        app={"install": {"runtime_buckets": [0.5, 7.0], "max_series": 1}},
    )
    app = client(valkey.url)
    for name in ("again", "fail", "ignored"):
        app.send_task(name)
    wait_for(
        lambda: worker.total("celery_task_started_total") == 5,
        timeout=COUNTED_S,
        what="all tasks, under some label",
    )
    bounds = {
        dict(labels)["le"]
        for (name, labels) in worker.samples()
        if name == "celery_task_runtime_seconds_bucket"
    }
    assert bounds == {"0.5", "7.0", "+Inf"}
    assert worker.total("celery_task_started_total", task="other") > 0
    assert worker.total("celery_exporter_series_overflowed_total") > 0


def zeros(worker: SelfReportingWorker) -> dict[str, str]:
    """The tasks whose successes are told to be 0, with their queues."""
    found = (
        dict(labels)
        for (name, labels), value in worker.samples().items()
        if name == "celery_task_succeeded_total" and value == 0
    )
    return {labels["task"]: labels["queue"] for labels in found}


def test_tasks_are_told_before_they_come(valkey: Valkey, start_self_reporting: Start) -> None:
    """At 0 from the start, so that increase() sees the first; those that are routed elsewhere are not."""
    routes = {"fail": "elsewhere", "hold": {"queue": "celery"}}
    worker = start(start_self_reporting, valkey.url, pool="solo", app={"task_routes": routes})
    others = {"again", "ignored", "silent", "hold", "busy"}
    assert zeros(worker) == dict.fromkeys({"add", *others}, "celery")
    app = client(valkey.url)
    app.send_task("fail", queue="elsewhere")
    app.send_task("add", (1, 1))
    wait_for(
        lambda: worker.value("celery_task_succeeded_total", task="add", queue="celery") == 1,
        timeout=COUNTED_S,
        what="a task",
    )
    assert zeros(worker) == dict.fromkeys(others, "celery")
    queues = {dict(labels)["queue"] for (name, labels) in worker.samples() if name == "celery_queue_workers"}
    assert queues == {"celery"}
    silent = start(
        start_self_reporting,
        valkey.url,
        pool="solo",
        hostname="silent",
        app={"install": {"app_tasks": False}},
    )
    assert zeros(silent) == {}


def test_exemplars_lead_to_the_trace(valkey: Valkey, start_self_reporting: Start) -> None:
    """A message that carries a trace has its ids in the exemplars of its task, and another message has none."""
    trace_id, span_id = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    worker = start(start_self_reporting, valkey.url, pool="solo")
    app = client(valkey.url)
    traced = app.send_task("fail", headers={"traceparent": f"00-{trace_id}-{span_id}-01"})
    plain = app.send_task("add", (1, 1))
    wait_for(
        lambda: (
            worker.total("celery_task_failed_total")
            == worker.total("celery_task_succeeded_total", task="add")
            == 1
        ),
        timeout=COUNTED_S,
        what="both tasks",
    )
    page = worker.open("/metrics", "application/openmetrics-text")
    traced_labels = f'{{span_id="{span_id}",task_id="{traced.id}",trace_id="{trace_id}"}}'
    assert re.search(
        rf"celery_task_failed_total{{.*}} 1\.0 # {re.escape(traced_labels)} 1\.0 \d+\.\d+\n", page
    )
    assert page.count(traced_labels) == 3
    assert f'outcome="succeeded",queue="celery",task="add"}} 1.0 # {{task_id="{plain.id}"}} ' in page
