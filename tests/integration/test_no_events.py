"""An exporter without events: lengths by the broker alone, with real workers, and not a trace on the broker."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.integration import held_tasks
from tests.integration.conftest import Vhost
from tests.integration.servers import CeleryWorker, ExporterProcess, Moto, RabbitMQ, Valkey
from tests.integration.without_events import OF_WORKERS, QUICK, assert_without_events, expect, lengths, page
from tests.waiting import wait_for

StartExporter = Callable[..., ExporterProcess]
StartWorker = Callable[..., CeleryWorker]


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    """Where held tasks make their marks."""
    folder = tmp_path / "marks"
    folder.mkdir()
    return folder


def run_known(
    settings: Mapping[str, Any],
    marks: Path,
    exporter: ExporterProcess,
    start_worker: StartWorker,
    *,
    unacked: bool,
) -> None:
    """Lengths before, while and after a real worker works on five tasks, one at a time."""
    app = held_tasks.application({**OF_WORKERS, **settings})
    task = app.tasks[held_tasks.RUN]
    for number in range(5):
        task.apply_async((str(marks), str(number)), queue="celery")
    task.apply_async((str(marks), "other"), queue="other.one")
    app.close()
    expect(exporter, {"celery": 5, "other.one": 1})
    start_worker(
        held_tasks.APP,
        pool="solo",
        concurrency=1,
        events=False,
        env={held_tasks.VARIABLE: json.dumps({**OF_WORKERS, **settings})},
        arguments=("--without-gossip", "--without-mingle", "--without-heartbeat"),
    )
    wait_for((marks / "0.runs").exists, timeout=30, what="a task that runs")
    expect(exporter, {"celery": 4, "other.one": 1})
    if unacked:
        expect(exporter, {"celery": 1, "other.one": 0}, "celery_queue_unacked_messages")
        expect(exporter, {"celery": 0, "other.one": 0}, "celery_queue_delayed_messages")
    (marks / "all.ends").touch()
    expect(exporter, {"celery": 0, "other.one": 1})
    if unacked:
        expect(exporter, {"celery": 0, "other.one": 0}, "celery_queue_unacked_messages")


def test_worker_on_sqs(
    moto: Moto, marks: Path, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """Lengths are exact with a real worker on SQS, and no queue is there that the worker or the client did not make."""
    options = {
        "region": Moto.REGION,
        "queue_name_prefix": "shop-",
        "wait_time_seconds": 1,
        "polling_interval": 0.1,
    }
    settings = {
        "broker_url": moto.url(),
        "broker_transport_options": options,
    }
    exporter = start_exporter(
        "--broker-url", moto.url(), *QUICK, "--queue", "other.one", "--queue", "celery",
        "--broker-transport-option", json.dumps(options),
    )  # fmt: skip
    wait_for(lambda: "no such queue" in exporter.stderr, timeout=20, what="a line about missing queues")
    assert moto.queues() == []
    assert lengths(exporter) == {}
    run_known(settings, marks, exporter, start_worker, unacked=True)
    assert moto.queues() == ["shop-celery", "shop-other-one"]
    assert_without_events(exporter)
    assert exporter.stderr.count("no such queue") == 2


def test_the_default_queue_of_sqs_comes_later(moto: Moto, start_exporter: StartExporter) -> None:
    """Without a name the default queue is looked for until it is there; meanwhile one line says what to do."""
    exporter = start_exporter(
        "--broker-url", moto.url(), *QUICK, "--broker-transport-option", f"region={Moto.REGION}"
    )
    wait_for(lambda: "no queue is known" in exporter.stderr, timeout=20, what="a line about names")
    assert page(exporter, "/-/ready")[0] == 200
    assert "No queue is known" in page(exporter, "/")[1]
    moto.client().create_queue(QueueName="celery")
    expect(exporter, {"celery": 0})
    assert exporter.stderr.count("level=warning") == 1


def test_queues_of_an_application_on_sqs(moto: Moto, start_exporter: StartExporter, tmp_path: Path) -> None:
    """With --app the broker, its options and the queues are those of the application."""
    (tmp_path / "exporter-1").mkdir()
    (tmp_path / "exporter-1" / "shop.py").write_text(
        "from celery import Celery\n"
        "from kombu import Queue\n"
        f"app = Celery(broker={moto.url()!r})\n"
        f"app.conf.broker_transport_options = {{'region': {Moto.REGION!r}}}\n"
        "app.conf.task_queues = [Queue('orders'), Queue('mail.out')]\n"
    )
    for name in ("orders", "mail-out", "unrelated"):
        moto.client().create_queue(QueueName=name)
    exporter = start_exporter("--app", "shop:app", *QUICK)
    expect(exporter, {"orders": 0, "mail.out": 0})
    assert_without_events(exporter)


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # of kombu's models, on SQLAlchemy 2.1
def test_worker_on_a_database(
    tmp_path: Path, marks: Path, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """Lengths are exact with a real worker on SQLAlchemy, and the exporter writes nothing."""
    url = f"sqla+sqlite:///{tmp_path}/celery.db"
    exporter = start_exporter("--broker-url", url, *QUICK)
    wait_for(lambda: "unable to open database" in exporter.stderr, timeout=20, what="a line that says why")
    assert not (tmp_path / "celery.db").exists()
    assert page(exporter, "/-/ready")[0] == 503
    run_known({"broker_url": url}, marks, exporter, start_worker, unacked=False)
    assert_without_events(exporter)


def test_worker_on_a_filesystem(
    tmp_path: Path, marks: Path, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """Lengths are exact with a real worker on filesystem://, and no file is there that a reading made."""
    folder = tmp_path / "messages"
    folder.mkdir()
    options = {
        "data_folder_in": str(folder),
        "data_folder_out": str(folder),
        "control_folder": str(tmp_path / "control"),
        "polling_interval": 0.1,
    }
    exporter = start_exporter(
        "--broker-url", "filesystem://", *QUICK, "--queue", "celery", "--queue", "other.one",
        "--broker-transport-option", json.dumps(options),
    )  # fmt: skip
    expect(exporter, {"celery": 0, "other.one": 0})
    assert list(folder.iterdir()) == []
    assert not (tmp_path / "control").exists()
    settings = {"broker_url": "filesystem://", "broker_transport_options": options}
    run_known(settings, marks, exporter, start_worker, unacked=False)
    assert_without_events(exporter)


def test_redis(valkey: Valkey, marks: Path, start_exporter: StartExporter, start_worker: StartWorker) -> None:
    """On Redis lengths are read as with events; nobody subscribes, and nothing is written."""
    exporter = start_exporter("--broker-url", valkey.url, *QUICK, "--queue", "other.one")
    expect(exporter, {"other.one": 0})
    with valkey.client() as client:
        assert client.dbsize() == 0
        clients = client.client_list()
        assert len(clients) == 2  # ours, and one of the exporter's
        assert {(each["sub"], each["psub"]) for each in clients} == {("0", "0")}
        run_known({"broker_url": valkey.url}, marks, exporter, start_worker, unacked=False)
        assert client.keys("*pidbox*") + client.keys("*celeryev*") == []
        assert exporter.value("celery_queue_oldest_message_timestamp_seconds", queue="other.one")
    assert_without_events(exporter)


def test_rabbitmq(
    rabbitmq: RabbitMQ,
    rabbitmq_vhost: Vhost,
    marks: Path,
    start_exporter: StartExporter,
    start_worker: StartWorker,
) -> None:
    """On RabbitMQ lengths and consumers are read as with events; no queue or exchange is declared."""

    def exchanges() -> list[str]:
        found: Any = rabbitmq.api("GET", f"exchanges/{rabbitmq_vhost.name}")
        return sorted(each["name"] for each in found)

    before = exchanges()
    exporter = start_exporter(
        "--broker-url", rabbitmq_vhost.url, *QUICK, "--queue", "celery", "--queue", "other.one"
    )
    expect(exporter, {"celery": 0, "other.one": 0})
    assert rabbitmq.queues(rabbitmq_vhost.name) == []
    assert exchanges() == before
    run_known({"broker_url": rabbitmq_vhost.url}, marks, exporter, start_worker, unacked=False)
    assert sorted(rabbitmq.queues(rabbitmq_vhost.name)) == ["celery", "other.one"]
    expect(exporter, {"celery": 1, "other.one": 0}, "celery_queue_consumers")
    assert_without_events(exporter)
