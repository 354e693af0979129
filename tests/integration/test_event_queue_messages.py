"""Which messages reach the exporter, and what becomes of those that are no events, by each broker and receiver."""

import json
import os
import pickle
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from celery_metrics_exporter.config.config import RECEIVERS
from tests.integration.event_sender import EventSender
from tests.integration.known_counts import expected, submit, wait_until_counted, wait_until_receiving
from tests.integration.known_tasks import APP, environment
from tests.integration.servers import CeleryWorker, ExporterProcess
from tests.waiting import wait_for

StartExporter = Callable[..., ExporterProcess]
StartWorker = Callable[..., CeleryWorker]

pytestmark = pytest.mark.parametrize("receiver", RECEIVERS)

TASK = {"uuid": "1", "name": "sent.task", "queue": "letters"}


@pytest.fixture
def exporter(broker_url: str, start_exporter: StartExporter) -> Iterator[ExporterProcess]:
    """An exporter that receives; how it stops is tested elsewhere."""
    started = start_exporter("--broker-url", broker_url)
    wait_until_receiving(started)
    yield started
    started.kill()


def _events(exporter: ExporterProcess) -> dict[str, float]:
    """The counted events by type, without those that never came."""
    found = {
        dict(labels)["event"]: value
        for (name, labels), value in exporter.scrape().items()
        if name == "celery_exporter_events_total"
    }
    return {kind: value for kind, value in found.items() if value}


def _dropped(exporter: ExporterProcess) -> dict[str, float]:
    """The dropped events by reason, without those that never were."""
    found = {
        dict(labels)["reason"]: value
        for (name, labels), value in exporter.scrape().items()
        if name == "celery_exporter_events_dropped_total"
    }
    return {reason: value for reason, value in found.items() if value}


def _wait_for_events(exporter: ExporterProcess, **events: float) -> None:
    """Wait until exactly these numbers of events were counted; names with underscores for dashes."""
    wanted = {kind.replace("_", "-"): number for kind, number in events.items()}
    wait_for(
        lambda: _events(exporter) == wanted,
        timeout=10,
        what=lambda: f"{wanted}; there are {_events(exporter)}: {exporter.process.describe()}",
    )


def test_another_exchange(broker_url: str, start_exporter: StartExporter, start_worker: StartWorker) -> None:
    """With --event-exchange the events of an application with that event_exchange are counted, and no others."""
    settings = {"broker_url": broker_url, "event_exchange": "shop.events"}
    exporter = start_exporter("--broker-url", broker_url, "--event-exchange", "shop.events")
    worker = start_worker(APP, pool="solo", env=environment(settings))
    wait_until_receiving(exporter)
    with EventSender({"broker_url": broker_url}) as elsewhere:
        elsewhere.send("task-sent", **TASK)
    submit(settings)
    wait_until_counted(exporter, expected())
    worker.kill()
    exporter.kill()


def test_a_routing_key(broker_url: str, start_exporter: StartExporter) -> None:
    """With --event-routing-key worker.# events of workers arrive and those of tasks do not."""
    exporter = start_exporter("--broker-url", broker_url, "--event-routing-key", "worker.#")
    wait_until_receiving(exporter)
    with EventSender({"broker_url": broker_url}) as sender:
        sender.send("task-sent", **TASK)
        sender.send("worker-heartbeat", freq=2.0)
        sender.send("task-sent", **TASK)
        sender.send("worker-offline", freq=2.0)
    _wait_for_events(exporter, worker_heartbeat=1, worker_offline=1)
    exporter.kill()


def _require_library(module: str, distribution: str) -> None:
    """Skip the test without this library, or fail it under ``CI=true``."""
    if find_spec(module) is None:
        reason = f"{distribution} is missing: pip install {distribution}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


@pytest.mark.parametrize(
    ("serializer", "source", "module", "distribution"),
    [("msgpack", "option", "msgpack", "msgpack"), ("yaml", "app", "yaml", "PyYAML")],
)
def test_other_serializers(
    broker_url: str,
    start_exporter: StartExporter,
    serializer: str,
    source: str,
    module: str,
    distribution: str,
) -> None:
    """Events in msgpack and YAML are counted, whether an option or the application names the serializer."""
    _require_library(module, distribution)
    settings = {"broker_url": broker_url, "event_serializer": serializer}
    if source == "app":
        exporter = start_exporter("--app", f"{APP}:app", env=environment(settings))
    else:
        exporter = start_exporter("--broker-url", broker_url, "--event-serializer", serializer)
    wait_until_receiving(exporter)
    with EventSender(settings) as sender:
        sender.send("task-sent", **TASK)
        sender.send("worker-heartbeat", freq=2.0)
    with EventSender({"broker_url": broker_url}) as json_sender:
        json_sender.send("task-sent", **{**TASK, "uuid": "2"})
    _wait_for_events(exporter, task_sent=2, worker_heartbeat=1)
    wait_for(
        lambda: exporter.value("celery_task_sent_total", task="sent.task", queue="letters") == 2,
        timeout=10,
        what=lambda: f"two tasks: {exporter.process.describe()}",
    )
    assert not _dropped(exporter)
    exporter.kill()


class Trap:
    """A pickle of this makes a file when it is loaded."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Any, ...]:
        """Say how it is made again."""
        return (Path.touch, (self._file,))


def test_pickle_is_never_loaded(broker_url: str, tmp_path: Path, exporter: ExporterProcess) -> None:
    """A message in pickle is counted as dropped, however it is labelled, and what it would do is not done."""
    file = tmp_path / "loaded"
    labels = [
        ("application/x-python-serialize", "binary"),
        ("application/x-python-serialize", "utf-8"),
        ("application/json", "binary"),
        ("application/json", "utf-8"),
        ("application/data", "binary"),
        ("application/x-unheard-of", "binary"),
    ]
    with EventSender({"broker_url": broker_url}) as sender:
        for content_type, content_encoding in labels:
            sender.message(
                pickle.dumps(Trap(file)), content_type=content_type, content_encoding=content_encoding
            )
            sender.send("task-sent", **TASK)
    _wait_for_events(exporter, task_sent=len(labels))
    assert _dropped(exporter) == {"undecodable": len(labels)}
    assert not file.exists()


def test_compressed_messages(broker_url: str, exporter: ExporterProcess) -> None:
    """A message that its sender compressed is counted; one in a compression that nobody knows is dropped."""
    event = {"type": "task-sent", "timestamp": 1.7e9, "hostname": "sender@localhost", **TASK}
    body = json.dumps([event, event]).encode()
    with EventSender({"broker_url": broker_url}) as sender:
        for compression in ("zlib", "bzip2", "lzma"):
            sender.message(body, compression=compression)
        sender.message(b"not compressed at all", headers={"compression": "application/x-gzip"})
        sender.message(body, headers={"compression": "application/x-unheard-of"})
        sender.send("task-sent", **TASK)
    _wait_for_events(exporter, task_sent=7)
    assert _dropped(exporter) == {"undecodable": 2}
    assert exporter.value("celery_exporter_receiver_reconnects_total") == 0


def test_bodies_that_are_no_events(broker_url: str, exporter: ExporterProcess) -> None:
    """Whatever else a body holds, it is counted by what is wrong with it, and the good events around it survive."""
    good = b'{"type": "task-sent", "timestamp": 1.7e9, "uuid": "%d", "name": "sent.task", "queue": "letters"}'
    custom = b'{"type": "shop-order-paid", "timestamp": 1.7e9, "hostname": "sender@localhost", "order": 7}'
    undecodable = [
        b'{"type": ',
        b"",
        b"\xff\xfe",
        b"[",
        b'{"type": "task-sent", "uuid": "1", "timestamp": 1}}',
    ]
    invalid = [b"null", b"7", b'"task-sent"', b"{}", b'{"type": null}', b'{"type": "task-sent"}']
    with EventSender({"broker_url": broker_url}) as sender:
        for number, body in enumerate([*undecodable, *invalid, b"[]", custom]):
            sender.message(body)
            sender.message(good % number)
        sender.message(b"[null, 7, %s, %s, [], {}]" % (good % 100, custom))
        sender.send("worker-elect", id="1", cver=1, topic="t", action="a")
        sender.send("task-custom", uuid="1", step=3)
        sender.send("worker-heartbeat", freq=2.0)
    _wait_for_events(exporter, task_sent=len(undecodable) + len(invalid) + 3, worker_heartbeat=1, other=4)
    assert _dropped(exporter) == {"undecodable": len(undecodable), "invalid": len(invalid) + 4}
    assert exporter.value("celery_exporter_receiver_reconnects_total") == 0
    assert "Traceback" not in exporter.stderr
    assert exporter.stderr.count("event dropped") == 2  # one line a reason and minute
