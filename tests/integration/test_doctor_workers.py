"""Doctor with a broker that lets it in: real workers, no workers, workers elsewhere, and what they do wrong."""

import io
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any

import celery

from celery_metrics_exporter.config.config import Config, EventQueue
from celery_metrics_exporter.doctor import run_doctor
from celery_metrics_exporter.status_page.findings import Level
from tests.integration.asking import ANSWERS, PidboxNode
from tests.integration.conftest import Vhost
from tests.integration.doctoring import NOT_APPLICABLE, Examination, examine, shows
from tests.integration.event_sender import EventSender
from tests.integration.known_tasks import APP, application, environment
from tests.integration.servers import HOST, CeleryWorker, RabbitMQ, Sentinels, Valkey
from tests.integration.test_deaf import SwallowingFront
from tests.waiting import wait_for

StartWorker = Callable[..., CeleryWorker]

LIVELY = ("--without-gossip", "--without-mingle", "--heartbeat-interval", "1")
#: Of listening: a task that has no task-sent is counted once it has waited for that for 2 s.
HELD_S = 4.0
HEARTBEAT = {"freq": 2.0, "active": 0, "processed": 0, "loadavg": [0.1, 0.1, 0.1], "sw_ident": "py-celery"}


def node(url: str, name: str = "node@localhost", **answers: object) -> PidboxNode:
    """A worker that answers, and sends no events; ``answers`` are beside the usual ones."""
    return PidboxNode(url, name=name, answers={**ANSWERS, "registered": ["shop.pay"], **answers})


@contextmanager
def again_and_again(act: Callable[[], None]) -> Iterator[None]:
    """Do something several times a second meanwhile, from a thread."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(0.1):
            act()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def publishing(url: str, *, task_sent: bool = True, task: str = "known.add") -> Iterator[None]:
    """Publish tasks meanwhile."""
    client = application({"broker_url": url, "task_send_sent_event": task_sent})
    with (
        client.connection_for_write() as connection,
        again_and_again(lambda: client.send_task(task, (1, 1), connection=connection)),
    ):
        yield


def start(start_worker: StartWorker, url: str, **settings: Any) -> CeleryWorker:
    """A real worker of the known tasks."""
    return start_worker(APP, pool="solo", env=environment({"broker_url": url}), arguments=LIVELY, **settings)


def lines_of(url: str) -> list[str]:
    """What doctor writes for people, of whom nobody sits at a terminal."""
    out = io.StringIO()
    with redirect_stdout(out):
        run_doctor(Config(broker_url=url), as_json=False, wait=1.5, colour=False)
    return out.getvalue().splitlines()


def _states(lines: list[str]) -> list[str]:
    """The states of all checks, in their order."""
    states = [line.partition(" ")[0] for line in lines]
    return [state for state in states if state in set(Level)]


def test_health(broker_url: str, start_worker: StartWorker) -> None:
    """With a worker that works and a client that publishes, all is ok; the text says what the document says."""
    worker = start(start_worker, broker_url)
    kind = broker_url.partition("://")[0]
    with publishing(broker_url):
        found = examine(broker_url, wait=1.5, until=lambda found: not found.troubles)
        wait_for(
            lambda: _states(lines_of(broker_url)) == [each["status"] for each in found.document["checks"]],
            timeout=30,
            what=lambda: f"{found.document} in lines; there is {lines_of(broker_url)}",
        )
    assert found.troubles == {}, found.document
    assert found.code == 0
    assert found.skipped == NOT_APPLICABLE[kind]
    assert worker.nodename in found["workers"]["message"]
    assert f"Celery {celery.__version__} (1 worker)" in found["versions"]["message"]
    assert worker.nodename in found["task_events"]["message"]
    assert "1 consumer" in found["queues"]["message"]
    worker.kill()


def test_a_worker_without_task_events(valkey: Valkey, start_worker: StartWorker) -> None:
    """A real worker without -E: not switched on unless the exporter may; off is told by its heartbeats then."""
    worker = start(start_worker, valkey.url, events=False)
    found = examine(valkey.url, enable_events=False)
    found.says("task_events", "skipped", worker.nodename, "--no-enable-events")
    with publishing(valkey.url):
        found = examine(valkey.url, wait=4.0, enable_events=False, until=shows("task_events", "failed"))
    assert "-E" in found.says("task_events", "failed", "no task events", worker.nodename)["remedy"]
    assert found.code == 1
    assert "task events enabled" not in worker.output
    found = examine(valkey.url, until=lambda found: found.status("task_events") != "skipped")
    assert "worker_send_task_events" in found.says("task_events", "warning", worker.nodename)["remedy"]
    assert found.code == 0
    examine(valkey.url, until=shows("task_events", "ok")).says("task_events", "ok", worker.nodename)
    with publishing(valkey.url, task_sent=False):
        found = examine(valkey.url, wait=HELD_S, until=shows("task_sent", "warning"))
    remedy = found.says("task_sent", "warning", "known.add", "task-sent is off: ")["remedy"]
    assert "task_send_sent_event" in remedy
    with publishing(valkey.url, task_sent=False), publishing(valkey.url):
        found = examine(valkey.url, wait=HELD_S, until=shows("task_sent", "warning"))
        found.says("task_sent", "warning", "known.add", "for some of its publishers")
    with publishing(valkey.url, task="known.nobody"):
        found = examine(valkey.url, until=shows("applications", "warning"))
    found.says("applications", "warning", "known.nobody", "does not know them")
    worker.kill()


def test_no_worker(broker_url: str) -> None:
    """Nobody answers and nobody is heard."""
    found = examine(broker_url, wait=0.5)
    assert "broker_url" in found.says("workers", "failed", "No worker is up")["remedy"]
    assert found.code == 1
    found.says("arrival", "ok", "our own")
    found.says("elsewhere", "warning" if broker_url.startswith("redis") else "failed")
    assert {"versions", "clocks", "task_events", "task_sent", "applications"} <= found.skipped
    assert "no worker" in examine(broker_url, wait=0.3, remote_control=False)["clocks"]["message"]


def test_another_database(valkey: Valkey) -> None:
    """Celery is in database 1, we look into 0: the printed setting is the right one."""
    with node(f"redis://{HOST}:{valkey.port}/1"), valkey.client() as client:
        client.execute_command("SELECT", 1)
        found = examine(valkey.url, wait=0.3)
        command = found.says("elsewhere", "failed", "database 1")["command"]
        found.says("workers", "failed")
        option, url = command.split()
        assert option == "--broker-url"
        again = examine(url, until=shows("workers", "warning"))
        again.says("workers", "warning", "node@localhost")
        again.says("elsewhere", "ok", "(1)")


def test_a_user_who_may_not_look_into_other_databases(valkey: Valkey) -> None:
    """What cannot be known is said, with the rights that let it be known."""
    with valkey.client() as client:
        client.execute_command(
            "ACL",
            "SETUSER",
            "doctor",
            "on",
            ">secret-word",
            "+@all",
            "-info",
            "-select",
            "-config",
            "~*",
            "&*",
        )
        url = f"redis://doctor:secret-word@{HOST}:{valkey.port}/0"
        found = examine(url, wait=0.3)
        for check in ("elsewhere", "buffers"):
            line = found.says(check, "skipped", "no permissions")["command"]
            client.execute_command(*line.split())
        found = examine(url, wait=0.3)
        assert not {"elsewhere", "buffers"} & found.skipped


def test_another_prefix(valkey: Valkey) -> None:
    """The application has a global_keyprefix, we have none: the printed option is the right one."""
    application_options = {"global_keyprefix": "shop:"}
    with PidboxNode(valkey.url, transport_options=application_options):
        found = examine(valkey.url, wait=0.3)
        command = found.says("elsewhere", "failed", "'shop:'")["command"]
        name, value = command.split()[1].split("=")
        again = examine(valkey.url, transport_options={name: value}, until=shows("workers", "warning"))
        again.says("workers", "warning", "node@localhost")


def test_clocks(valkey: Valkey) -> None:
    """One worker an hour behind, whose zone is wrong, and one ahead; then all by the same."""
    settings = {"broker_url": valkey.url}
    with EventSender(settings, hostname="late@a") as late, EventSender(settings, hostname="fine@b") as fine:

        def beat(first: float, second: float) -> None:
            # A forged time: the dispatcher would write its own.
            for name, offset in (("late@a", first), ("fine@b", second)):
                event = {
                    "type": "worker-heartbeat",
                    "hostname": name,
                    "timestamp": time.time() + offset,
                    "pid": 1,
                }
                body = json.dumps({**event, **HEARTBEAT, "sw_ver": "5.6.1", "utcoffset": 0, "clock": 1})
                (late if name == "late@a" else fine).message(body.encode(), routing_key="worker.heartbeat")

        with again_and_again(lambda: beat(-3600, 0)):
            found = examine(valkey.url, wait=0.5, until=shows("clocks", "warning"))
        assert "NTP" in found.says("clocks", "warning", "late@a (1 h behind)")["remedy"]
        assert "fine@b" not in found["clocks"]["message"]
        assert found.code == 0
        with again_and_again(lambda: beat(30, 30)):
            found = examine(valkey.url, wait=0.5)
        assert "the exporter's machine" in found.says("clocks", "warning", "30 s ahead")["remedy"]
        with again_and_again(lambda: beat(0, 0)):
            found = examine(valkey.url, until=shows("clocks", "ok"))
        found.says("clocks", "ok")
        found.says("versions", "ok", "Celery 5.6.1 (2 workers)")


def test_old_versions_and_namesakes(valkey: Valkey) -> None:
    """A worker of Celery 4.2, and two processes under one name."""
    fields: Mapping[str, Any] = {**HEARTBEAT, "sw_ver": "4.2.1"}
    with EventSender({"broker_url": valkey.url}, hostname="celery@same") as sender:
        pids = iter(range(1_000_000))

        def beat() -> None:
            body = {"type": "worker-heartbeat", "hostname": "celery@same", "timestamp": time.time(), **fields}
            sender.message(
                json.dumps({**body, "pid": next(pids) % 2}).encode(), routing_key="worker.heartbeat"
            )

        with again_and_again(beat):
            found = examine(valkey.url, remote_control=False, until=shows("workers", "warning"))
    found.says("versions", "warning", "before Celery 4.4", "celery@same")
    assert "-n" in found.says("workers", "warning", "same name", "celery@same")["remedy"]


def test_queues_without_consumers(broker_url: str) -> None:
    """Messages wait in a queue that no worker consumes; a queue of --queue is not there."""
    client = application({"broker_url": broker_url})
    with client.connection_for_write() as connection:
        for _ in range(3):
            client.send_task("known.add", (1, 1), queue="forgotten", connection=connection)
    queues: dict[str, Any] = {"queues": ("forgotten", "misspelt")}

    def stuck(found: Examination) -> bool:
        return "that no worker consumes: forgotten" in found["queues"]["message"]

    with node(broker_url):
        found = examine(broker_url, **queues, until=stuck)
    verdict = found.says("queues", "warning", "forgotten", "misspelt")
    assert verdict["command"] == "celery -A proj worker -Q forgotten"
    with node(broker_url, active_queues=[{"name": "forgotten"}]):
        amqp = broker_url.startswith("amqp")  # counts consumers itself, and this one only answers
        found = examine(broker_url, **queues, until=lambda found: stuck(found) == amqp)
    assert stuck(found) == amqp


def test_mixed_applications(valkey: Valkey) -> None:
    """Workers that have no task in common are told; those that share one are not."""
    other = node(valkey.url, "other@localhost", registered=["mail.send", "mail.read"])
    with node(valkey.url), other:
        found = examine(valkey.url, until=shows("applications", "warning"))
        remedy = found.says("applications", "warning", "node@localhost", "other@localhost", "mail.read")[
            "remedy"
        ]
    assert "--event-exchange" in remedy
    with node(valkey.url), node(valkey.url, "other@localhost", registered=["shop.pay [rate_limit=1/m]"]):
        examine(valkey.url, until=lambda found: "2 workers" in found["applications"]["message"]).says(
            "applications", "ok", "2 workers share"
        )
    with PidboxNode(valkey.url, transport_options={"global_keyprefix": "b:"}), node(valkey.url):
        examine(valkey.url, until=shows("applications", "warning")).says(
            "applications", "warning", "several prefixes", "'b:'"
        )


def test_two_workers_of_one_name_answer(valkey: Valkey) -> None:
    """Two answers to one question are two workers."""
    with node(valkey.url), node(valkey.url):
        found = examine(valkey.url, until=shows("workers", "warning"))
        found.says("workers", "warning", "same name", "node@localhost")


def test_events_elsewhere(valkey: Valkey, start_worker: StartWorker) -> None:
    """A worker answers whose application has another event exchange; the option brings its events."""
    settings = {"broker_url": valkey.url, "event_exchange": "ours"}
    worker = start_worker(APP, pool="solo", env=environment(settings), arguments=LIVELY)
    found = examine(valkey.url)
    assert (
        "--event-exchange"
        in found.says("workers", "warning", "1 worker answered, but no event of them arrives")["remedy"]
    )
    found = examine(valkey.url, event_queue=EventQueue(exchange="ours"), until=shows("workers", "ok"))
    found.says("workers", "ok", worker.nodename)
    worker.kill()


def test_events_that_cannot_be_read(valkey: Valkey) -> None:
    """Pickled events are never opened: their sender is to send JSON."""
    with (
        EventSender({"broker_url": valkey.url}) as sender,
        again_and_again(
            lambda: sender.message(
                b"\x80\x04N.", content_type="application/x-python-serialize", content_encoding="binary"
            )
        ),
    ):
        found = examine(valkey.url, wait=0.5, remote_control=False)
    assert "event_serializer" in found.says("arrival", "failed", "cannot be read")["remedy"]


def test_a_broker_that_delivers_nothing(valkey: Valkey) -> None:
    """Everything is answered, and no event comes, not even our own."""
    with SwallowingFront(valkey.port) as front:
        found = examine(f"redis://{HOST}:{front.port}/0", wait=0.5)
    found.says("arrival", "failed", "not even the event that was sent to ourselves")


def test_a_durable_event_queue(rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost) -> None:
    """The durable queue is made, but not consumed: an exporter that runs keeps its events. Other flags are told."""
    durable = EventQueue(durable=True, exclusive=False)
    found = examine(rabbitmq_vhost.url, wait=0.3, event_queue=durable)
    found.says("event_queue", "ok", "durable")
    found.says("subscribe", "ok", "left to the exporter")
    found.says("arrival", "ok", "our own")
    queue = f"queues/{rabbitmq_vhost.name}/celeryev.celery-exporter.single"
    count: Any = rabbitmq.api(
        "POST", f"{queue}/get", {"count": 9, "ackmode": "ack_requeue_false", "encoding": "auto"}
    )
    assert [message["routing_key"] for message in count] == ["exporter.probe"]
    other = EventQueue(durable=True, exclusive=False, ttl=7.0)
    found = examine(rabbitmq_vhost.url, wait=0.3, event_queue=other)
    finding = found.says("subscribe", "failed", "has x-message-ttl 5000, not 7000")
    assert finding["command"].startswith("rabbitmqctl delete_queue -p ")
    assert finding["command"].endswith(" celeryev.celery-exporter.single")


def test_a_small_output_buffer(valkey: Valkey) -> None:
    """A limit that a burst exceeds; the printed line repairs it."""
    with valkey.client() as client:
        client.config_set("client-output-buffer-limit", "pubsub 65536 32768 5")
        found = examine(valkey.url, wait=0.3)
        line = found.says("buffers", "warning", "disconnected")["command"]
        words = line.split("'")
        client.execute_command(*words[0].split(), words[1])
        examine(valkey.url, wait=0.3).says("buffers", "ok", "limit 32 MB")
        client.config_set("client-output-buffer-limit", "pubsub 2097152 65536 5")
        with (
            EventSender({"broker_url": valkey.url}) as sender,
            again_and_again(
                lambda: sender.message(
                    json.dumps({"type": "big", "hostname": "x", "text": "y" * 100_000}).encode()
                )
            ),
        ):
            found = examine(valkey.url, wait=1.0)
        found.says("buffers", "warning", "stalls for")


def test_a_lost_connection(valkey: Valkey) -> None:
    """An operator ends our connection while we listen."""
    with (
        valkey.client() as client,
        again_and_again(lambda: client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")),
    ):
        found = examine(valkey.url, wait=2.0)
    found.says("arrival", "failed", "reconnect")


def test_a_replica(sentinels: Sentinels) -> None:
    """Workers do not publish to a replica."""
    found = examine(f"redis://{HOST}:{sentinels.replica.port}/0", wait=0.3, remote_control=False)
    assert "sentinel://" in found.says("read", "warning", "replica")["remedy"]
