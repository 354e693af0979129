"""Connected but deaf on real brokers: found, said, ended by another subscription; and who is never called deaf."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.conftest import Vhost
from tests.integration.event_sender import EventSender
from tests.integration.impatient import IMPATIENT
from tests.integration.known_counts import wait_until_receiving
from tests.integration.servers import HOST, ExporterProcess, RabbitMQ, Valkey
from tests.integration.shaping_front import ShapingFront
from tests.serving import fetch
from tests.waiting import wait_for

#: Not every RabbitMQ takes a queue that is neither exclusive nor durable.
SHARED = ("--no-event-queue-exclusive", "--event-queue-durable")
StartExporter = Callable[..., ExporterProcess]

DELIVERING = "celery_exporter_receiver_delivering"
RECONNECTS = "celery_exporter_receiver_reconnects_total"
DEAF_SECONDS = "celery_exporter_receiver_disconnected_seconds_total"
NEVER = "0", "--broker-url"


class SwallowingFront(ShapingFront):
    """A front of Redis behind which subscriptions hear nothing, though their server answers."""

    swallowing = True

    def _answer(self, client: Any, data: bytes) -> None:
        if not (self.swallowing and b"pmessage" in data):
            super()._answer(client, data)


def _probes(exporter: ExporterProcess) -> float:
    return exporter.value("celery_exporter_events_total", event="exporter-probe") or 0.0


def _wait_for_probes(exporter: ExporterProcess, number: int = 1) -> None:
    wait_for(
        lambda: _probes(exporter) >= number,
        timeout=15,
        what=lambda: f"{number} probes: {exporter.process.describe()}",
    )


def _wait_until_deaf(exporter: ExporterProcess) -> None:
    wait_for(
        lambda: "connected but nothing arrives: no event for" in fetch(exporter.url, "/-/ready").text,
        timeout=15,
        what=lambda: f"a deaf exporter: {exporter.process.describe()}",
    )
    assert fetch(exporter.url, "/-/healthy").status == 200
    assert exporter.value(DELIVERING) == 0


def _wait_until_heard(exporter: ExporterProcess) -> None:
    wait_for(
        lambda: fetch(exporter.url, "/-/ready").status == 200,
        timeout=15,
        what=lambda: f"an exporter that hears: {exporter.process.describe()}",
    )
    assert exporter.value(DELIVERING) == 1


def _check_deafness_was_told_once(exporter: ExporterProcess) -> None:
    for line in ('msg="connected, but no events arrive: subscribing again"', 'msg="events arrive again"'):
        assert exporter.stderr.count(line) == 1, exporter.stderr


def test_redis_that_is_silent(valkey: Valkey, start_exporter: StartExporter) -> None:
    """Without any worker our own events come back, and are neither Celery's nor any worker's."""
    exporter = start_exporter(*NEVER, valkey.url, command=IMPATIENT)
    _wait_for_probes(exporter, 3)
    assert exporter.value(DELIVERING) == 1
    assert exporter.value("celery_exporter_events_total", event="other") == 0
    assert exporter.total("celery_worker_up") == 0
    assert exporter.value(RECONNECTS) == 0
    assert "level=warning" not in exporter.stderr


def test_redis_that_delivers_nothing(valkey: Valkey, start_exporter: StartExporter) -> None:
    """A server that answers and delivers nothing is found; the exporter subscribes anew until something comes."""
    with SwallowingFront(valkey.port) as front:
        exporter = start_exporter(*NEVER, f"redis://{HOST}:{front.port}/0", command=IMPATIENT)
        _wait_until_deaf(exporter)
        wait_for(
            lambda: (exporter.value(RECONNECTS) or 0) >= 2,
            timeout=15,
            what=lambda: f"new subscriptions: {exporter.process.describe()}",
        )
        before = exporter.value(DEAF_SECONDS) or 0.0
        assert before > 1
        front.swallowing = False
        _wait_until_heard(exporter)
        _check_deafness_was_told_once(exporter)
        assert (exporter.value(DEAF_SECONDS) or 0.0) > before
        with EventSender({"broker_url": valkey.url}) as sender:
            sender.send("task-sent", uuid="1", name="sent.task", queue="letters")
        wait_for(lambda: exporter.total("celery_task_sent_total") == 1, timeout=5, what="an event")
        exporter.stop()


def test_rabbitmq_whose_queue_was_unbound(
    rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, start_exporter: StartExporter
) -> None:
    """An operator who unbinds the event queue makes the exporter deaf; it binds one again."""
    exporter = start_exporter(*NEVER, rabbitmq_vhost.url, *SHARED, command=IMPATIENT)
    _wait_for_probes(exporter)
    path = f"bindings/{rabbitmq_vhost.name}/e/celeryev/q"

    def binding() -> str | None:
        found: Any = rabbitmq.api("GET", f"exchanges/{rabbitmq_vhost.name}/celeryev/bindings/source")
        return next((f"{path}/{each['destination']}/{each['properties_key']}" for each in found), None)

    found = wait_for(binding, timeout=10, what="a binding")
    assert found is not None
    rabbitmq.api("DELETE", found.replace("#", "%23"))
    wait_until_receiving(exporter, times=2)
    _wait_until_heard(exporter)
    assert exporter.value(RECONNECTS) == 1
    _check_deafness_was_told_once(exporter)


def test_rabbitmq_whose_exchange_was_deleted(
    rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, start_exporter: StartExporter
) -> None:
    """An event exchange that is gone takes our binding along; the exporter declares it again, as at its start."""
    exporter = start_exporter(*NEVER, rabbitmq_vhost.url, command=IMPATIENT)
    _wait_for_probes(exporter)
    rabbitmq.api("DELETE", f"exchanges/{rabbitmq_vhost.name}/celeryev")
    wait_until_receiving(exporter, times=2)
    _wait_until_heard(exporter)
    _check_deafness_was_told_once(exporter)


def test_two_exporters_on_one_queue(
    rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, start_exporter: StartExporter
) -> None:
    """On a durable queue the active exporter gets all probes; the standby never calls itself deaf for that."""
    active = start_exporter(*NEVER, rabbitmq_vhost.url, *SHARED, command=IMPATIENT)
    wait_until_receiving(active)
    standby = start_exporter(*NEVER, rabbitmq_vhost.url, *SHARED, command=IMPATIENT)
    _wait_for_probes(active, 6)
    for exporter in (active, standby):
        assert exporter.value(RECONNECTS) == 0
        assert "level=warning" not in exporter.stderr
    assert _probes(standby) == 0
    assert standby.value(DELIVERING) is None
    ready = fetch(standby.url, "/-/ready")
    assert (ready.status, ready.text.startswith("standby: ")) == (200, True)


@pytest.mark.parametrize(
    "options",
    [("--no-remote-control",), ("--event-routing-key", "task.#")],
    ids=["no control", "routing key"],
)
def test_nobody_who_asks(valkey: Valkey, start_exporter: StartExporter, options: tuple[str, ...]) -> None:
    """Where our events cannot be sent or would not come back, silence is no deafness, and nothing is claimed."""
    with valkey.client() as client, client.pubsub() as listener:
        listener.psubscribe("/0.celeryev/exporter.*")
        exporter = start_exporter(*NEVER, valkey.url, *options, command=IMPATIENT)
        wait_until_receiving(exporter)
        with EventSender({"broker_url": valkey.url}) as sender:
            sender.send("task-sent", uuid="1", name="sent.task", queue="letters")
        wait_for(lambda: exporter.value(DELIVERING) == 1, timeout=5, what="an event that is evidence")
        wait_for(lambda: exporter.value(DELIVERING) is None, timeout=10, what="no evidence any more")
        assert fetch(exporter.url, "/-/ready").status == 200
        assert exporter.value(RECONNECTS) == 0
        listener.get_message(timeout=1)  # the confirmation
        assert listener.get_message(timeout=0.1) is None


def _check_refusal(exporter: ExporterProcess) -> None:
    wait_for(
        lambda: "cannot probe the event stream: the broker refuses our event" in exporter.stderr,
        timeout=10,
        what=lambda: f"a word about it: {exporter.process.describe()}",
    )
    assert fetch(exporter.url, "/-/ready").status == 200
    assert exporter.value(DELIVERING) is None
    assert exporter.value(RECONNECTS) == 0
    assert exporter.stderr.count("cannot probe the event stream: the broker refuses our event") == 1
    exporter.kill()


def test_redis_that_lets_us_send_nothing(valkey: Valkey, start_exporter: StartExporter) -> None:
    """A user without the right to publish is told so once, and never called deaf."""
    with valkey.client() as client:
        client.execute_command("ACL", "SETUSER", "mute", "on", ">letmein", "~*", "&*", "+@all", "-publish")
    url = valkey.url.replace("://", "://mute:letmein@")
    _check_refusal(start_exporter(*NEVER, url, command=IMPATIENT))


def test_rabbitmq_that_lets_us_send_nothing(
    rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, start_exporter: StartExporter
) -> None:
    """A user without the right to write to the event exchange is told so once, and never called deaf."""
    rabbitmq.add_user("mute", "letmein")
    rabbitmq.set_permissions(rabbitmq_vhost.name, "mute", write=r"^(celeryev\..*|celery\.pidbox)$")
    url = rabbitmq.vhost_url(rabbitmq_vhost.name, user="mute", password="letmein")
    _check_refusal(start_exporter(*NEVER, url, command=IMPATIENT))
