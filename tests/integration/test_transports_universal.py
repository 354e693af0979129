"""Brokers that are reached through kombu alone: events arrive, our queue does not stay, the rest is not known.

MongoDB is a fake here (mongomock), below kombu's own transport; a real server of its protocol (mongod, FerretDB) and
the emulator of Google's Pub/Sub are used where the machine has them. No package brings a PGMQ of the version that kombu
wants: it was tried by hand.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import mongomock
import pytest
from kombu.transport import mongodb

from celery_metrics_exporter.config.config import Config
from celery_metrics_exporter.connection import celery_app
from celery_metrics_exporter.connection.celery_app import Broker, broker_of
from celery_metrics_exporter.errors import ConfigError
from celery_metrics_exporter.receivers.choosing import fastest
from celery_metrics_exporter.receivers.kombu import KombuSubscription
from tests.integration.known_tasks import APP, application, environment
from tests.integration.receiving import Received
from tests.integration.servers import HOST, CeleryWorker, ExporterProcess, ServerProcess, free_port
from tests.waiting import wait_for

StartExporter = Callable[..., ExporterProcess]
StartWorker = Callable[..., CeleryWorker]

URL = "mongodb://host/celery"
PUBSUB = "/usr/lib/google-cloud-sdk/platform/pubsub-emulator/bin/cloud-pubsub-emulator"
START_S = 60.0


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A fake MongoDB, which all clients share."""
    server: Any = mongomock.MongoClient()
    server["celery"].create_collection("messages.broadcast")  # mongomock has no capped collections
    monkeypatch.setattr(mongodb, "MongoClient", lambda **_: server)
    return server["celery"]


def send(broker: Broker, *kinds: str) -> None:
    """Send events as Celery does, over a connection of its own."""
    with broker.app.connection_for_write(url=broker.url) as connection:
        dispatcher = broker.app.events.Dispatcher(connection, hostname="w@host")
        for kind in kinds:
            dispatcher.send(kind, freq=2.0)


# mongomock asks for the time in a way that Python 3.12 deprecates.
@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning:mongomock")
def test_events_of_mongodb(database: Any) -> None:
    """They arrive through MongoDB's collections; the queue has an end of its own, and is removed by a clean stop."""
    broker = broker_of(Config(broker_url=URL))
    sink = Received()
    assert fastest(broker.url) is KombuSubscription
    subscription = KombuSubscription(broker, sink)
    subscription.open()
    (binding,) = database["messages.routing"].find()
    assert binding["exchange"] == "celeryev"
    assert binding["expire_at"] is not None
    send(broker, "worker-online", "worker-heartbeat")

    def arrived() -> bool:
        subscription.poll()
        return [event["type"] for event in sink.events] == ["worker-online", "worker-heartbeat"]

    wait_for(arrived, timeout=10, what=lambda: f"two events; there are {sink.events}")
    subscription.close(clean=True)
    assert {name: database[name].count_documents({}) for name in database.list_collection_names()} == {
        "messages": 0,
        "messages.broadcast": 0,
        "messages.queues": 0,
        "messages.routing": 0,
    }


def test_a_missing_library_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line names what to install."""
    monkeypatch.setitem(celery_app._LIBRARIES, "mongodb", "no_such_library")
    with pytest.raises(
        ConfigError, match=r"mongodb\+srv:// needs a library .* pip install 'kombu\[mongodb\]'"
    ):
        broker_of(Config(broker_url="mongodb+srv://host/celery"))


def mongodb_server(stack: ExitStack, folder: Path) -> tuple[str, dict[str, Any], dict[str, str]]:
    """A server of MongoDB's protocol: its URL, the transport options and variables that it needs."""
    port = free_port()
    argv: list[str | Path]
    if mongod := shutil.which("mongod"):
        argv = [mongod, "--dbpath", folder, "--port", str(port), "--bind_ip", HOST]
    elif ferretdb := shutil.which("ferretdb"):
        argv = [ferretdb, "--handler=sqlite", f"--sqlite-url=file:{folder}/", f"--listen-addr={HOST}:{port}"]
        argv += ["--telemetry=disable", "--debug-addr=-", f"--state-dir={folder}"]
    else:
        pytest.skip("neither mongod nor ferretdb is on PATH")
    server = ServerProcess(argv, log=folder / "server.log", cwd=folder)
    stack.callback(server.kill)
    server.start()
    # FerretDB has no TTL indexes.
    return f"mongodb://{HOST}:{port}/celery", {"ttl": "mongod" in str(argv[0])}, {}


def pubsub_server(stack: ExitStack, folder: Path) -> tuple[str, dict[str, Any], dict[str, str]]:
    """The emulator of Google's Pub/Sub."""
    if not Path(PUBSUB).exists():
        pytest.skip("the emulator of Pub/Sub is missing")
    pytest.importorskip("google.cloud.pubsub_v1")
    port = free_port()
    server = ServerProcess(
        [PUBSUB, f"--host={HOST}", f"--port={port}"], log=folder / "server.log", cwd=folder
    )
    stack.callback(server.kill)
    server.start()
    server.wait_until(lambda: "Server started" in server.output, timeout=START_S, what="an emulator")
    return "gcpubsub://projects/shop", {}, {"PUBSUB_EMULATOR_HOST": f"{HOST}:{port}"}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What is to be ended after the test."""
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("serve", [mongodb_server, pubsub_server])
def test_real_workers(
    serve: Callable[[ExitStack, Path], tuple[str, dict[str, Any], dict[str, str]]],
    stack: ExitStack,
    tmp_path: Path,
    start_exporter: StartExporter,
    start_worker: StartWorker,
) -> None:
    """A worker's events are counted; one line says what is not known; nothing is claimed of the queues."""
    folder = tmp_path / "server"
    folder.mkdir()
    url, options, env = serve(stack, folder)
    settings = {"broker_url": url, "broker_transport_options": options}
    exporter = start_exporter("--broker-url", url, "--broker-transport-option", json.dumps(options), env=env)
    worker = start_worker(
        APP, pool="solo", env={**environment(settings), **env}, arguments=("--heartbeat-interval", "1")
    )
    wait_for(
        lambda: exporter.value("celery_worker_up", worker=worker.nodename) == 1,
        timeout=START_S,
        what=exporter.process.describe,
    )
    if not env:  # the emulator delivers one message a second
        application(settings).tasks["known.add"].delay(1, 1)
        name, labels = "celery_task_succeeded_total", {"task": "known.add", "queue": "celery"}
        wait_for(lambda: exporter.value(name, **labels) == 1, timeout=START_S, what=exporter.process.describe)
    assert exporter.stderr.count("cannot read the queues of this kind of broker: no lengths, ages") == 1
    assert exporter.value("celery_broker_up") is None
    worker.kill()
