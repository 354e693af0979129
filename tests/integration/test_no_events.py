"""An exporter without events: lengths by the broker alone, with real workers, and not a trace on the broker."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.command import run
from tests.integration import held_tasks
from tests.integration.conftest import Vhost
from tests.integration.servers import HOST, CeleryWorker, ExporterProcess, Moto, RabbitMQ, Valkey
from tests.waiting import wait_for

StartExporter = Callable[..., ExporterProcess]
StartWorker = Callable[..., CeleryWorker]

SECRETS = ("hunter/2", "hunter%2F2")
#: What an exporter without events has nothing to say about.
OF_EVENTS = (
    "celery_task_",
    "celery_worker_",
    "celery_exporter_receiver_",
    "celery_exporter_event",
    "celery_exporter_in_flight",
)
#: Of workers that take one message at a time, and talk to nobody.
OF_WORKERS = {"worker_enable_remote_control": False, "worker_prefetch_multiplier": 1, "task_acks_late": True}
QUICK = ("--no-events", "--sample-interval", "0.2s")


def page(exporter: ExporterProcess, path: str) -> tuple[int, str]:
    """Status and text of a page."""
    try:
        with urllib.request.urlopen(exporter.url.replace("/metrics", path), timeout=10) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def lengths(exporter: ExporterProcess, family: str = "celery_queue_length") -> dict[str, float]:
    """The numbers of a family by queue."""
    return {
        dict(labels)["queue"]: value for (name, labels), value in exporter.scrape().items() if name == family
    }


def expect(
    exporter: ExporterProcess, expected: Mapping[str, float], family: str = "celery_queue_length"
) -> None:
    """Wait for these numbers, and for no others."""
    wait_for(
        lambda: lengths(exporter, family) == expected,
        timeout=30,
        what=lambda: f"{family} {expected}, not {lengths(exporter, family)}: {exporter.stderr}",
    )


def assert_without_events(exporter: ExporterProcess) -> None:
    """It is ready and healthy, knows the broker, and shows nothing of events."""
    assert page(exporter, "/-/ready") == (200, "reading queues, without events\n")
    assert page(exporter, "/-/healthy")[0] == 200
    assert exporter.value("celery_broker_up") == 1
    assert [name for name, _ in exporter.scrape() if name.startswith(OF_EVENTS)] == []
    assert exporter.value("celery_queue_workers", queue="celery") is None
    html = page(exporter, "/")[1]
    assert ">Reading queues</p>" in html
    assert not any(secret in html + exporter.stderr for secret in SECRETS)


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


@pytest.mark.parametrize(
    "url", ["confluentkafka://host", "azureservicebus://key:hunter%2F2@host", "gcpubsub://projects/p"]
)
def test_a_broker_that_cannot_be_read(start_exporter: StartExporter, url: str) -> None:
    """The families of queues are left out, one line says so, and it is ready: there is nothing that it waits for."""
    exporter = start_exporter("--broker-url", url, "--no-events", "--sample-interval", "0.1s")
    assert exporter.stderr.count("cannot read the queues of this kind of broker") == 1
    status, text = page(exporter, "/-/ready")
    assert (status, "cannot be read" in text) == (200, True)
    assert [
        name
        for name, _ in exporter.scrape()
        if name.startswith(("celery_queue", "celery_broker", *OF_EVENTS))
    ] == []
    assert ">Nothing can be read</p>" in page(exporter, "/")[1]
    assert not any(secret in exporter.stderr for secret in SECRETS)


def test_wrong_keys_of_sqs(moto: Moto, start_exporter: StartExporter) -> None:
    """It says once why it is not ready, without the secret."""
    moto.check_keys()
    exporter = start_exporter(
        "--broker-url", moto.url(), *QUICK, "--broker-transport-option", f"region={Moto.REGION}"
    )
    wait_for(lambda: exporter.value("celery_broker_up") == 0, timeout=20, what="a failed sample")
    status, text = page(exporter, "/-/ready")
    assert status == 503
    assert "SQS refuses our keys in region eu-west-1" in text
    assert exporter.stderr.count("SQS refuses our keys") == 1
    shown = text + exporter.stderr + page(exporter, "/")[1] + exporter.text()
    assert not any(secret in shown for secret in SECRETS)


@pytest.mark.parametrize("arguments", [("run",), ("doctor",)])
def test_events_on_sqs(arguments: tuple[str, ...]) -> None:
    """Who wants events of SQS reads one line that says what to write."""
    ended = run(*arguments, "--broker-url", f"sqs://KEY:hunter%2F2@{HOST}:1")
    assert ended.returncode == 2
    assert ended.stderr == (
        "celery-exporter: error: events do not pass through a broker at sqs://: write --no-events for the lengths of "
        "its queues, and take the metrics of tasks from the workers themselves\n"
    )


def test_doctor_on_sqs(moto: Moto) -> None:
    """The doctor checks what can be checked, and skips everything about events."""
    moto.client().create_queue(QueueName="celery")
    arguments = (
        "doctor", "--json", "--no-events", "--broker-url", moto.url(),
        "--broker-transport-option", f"region={Moto.REGION}",
    )  # fmt: skip
    ended = run(*arguments)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    states = {each["id"]: each["status"] for each in json.loads(ended.stdout)["checks"]}
    assert {name for name, state in states.items() if state != "skipped"} == {"read", "queues"}
    assert set(states.values()) == {"skipped", "ok"}
    missing = run(*arguments, "--queue", "nowhere", "--queue", "celery")
    assert "nowhere" in missing.stdout
    moto.check_keys()
    refused = run(*arguments)
    assert refused.returncode == 1
    assert "SQS refuses our keys" in refused.stdout
    assert not any(secret in refused.stdout + refused.stderr for secret in SECRETS)
