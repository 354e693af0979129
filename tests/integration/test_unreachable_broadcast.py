"""The broker refuses what the exporter asks of the workers, or goes away in that moment."""

from collections.abc import Callable
from urllib.parse import urlsplit

from tests.integration.asking import ANSWERS, PidboxNode
from tests.integration.conftest import Vhost
from tests.integration.cutting_front import CuttingFront
from tests.integration.event_sender import EventSender
from tests.integration.known_counts import wait_until_receiving
from tests.integration.servers import ExporterProcess, RabbitMQ, Valkey
from tests.serving import fetch
from tests.waiting import wait_for

StartExporter = Callable[..., ExporterProcess]

CONNECTED = "celery_exporter_receiver_connected"


def _wait_for_an_event(exporter: ExporterProcess, broker_url: str) -> None:
    with EventSender({"broker_url": broker_url}) as sender:
        sender.send("task-sent", uuid="1", name="sent.task", queue="letters")
    wait_for(
        lambda: exporter.value("celery_task_sent_total", task="sent.task", queue="letters") == 1,
        timeout=5,
        what=lambda: f"an event: {exporter.process.describe()}",
    )


def test_a_broadcast_that_breaks_costs_no_events(broker_url: str, start_exporter: StartExporter) -> None:
    """A line that is cut by a broadcast shows as a lost subscription; the exporter subscribes and asks again.

    kombu.pidbox publishes with ``retry=True``: left to itself it reconnects, for ever if need be, and says nothing.
    """
    port = urlsplit(broker_url).port
    assert port
    with PidboxNode(broker_url) as node, CuttingFront(port, b"celery.pidbox") as front:
        exporter = start_exporter("--broker-url", broker_url.replace(f":{port}/", f":{front.port}/"))
        assert front.was_cut.wait(10), exporter.process.describe()
        wait_for(
            lambda: exporter.value(CONNECTED) == 0,
            timeout=5,
            what=lambda: f"a lost subscription: {exporter.process.describe()}",
        )
        assert fetch(exporter.url, "/-/ready").status == 503
        assert not node.commands
        front.heal()
        wait_until_receiving(exporter, times=2)
        _wait_for_an_event(exporter, broker_url)
        wait_for(lambda: set(node.commands) == set(ANSWERS), timeout=5, what="all questions")
        exporter.kill()


def test_redis_that_lets_us_read_only(valkey: Valkey, start_exporter: StartExporter) -> None:
    """A user who may receive events and not broadcast receives them; the log says what is refused."""
    with valkey.client() as client:
        client.execute_command("ACL", "SETUSER", "reader", "on", ">letmein", "~*", "&/0.celeryev/*", "+@all")
    exporter = start_exporter("--broker-url", valkey.url.replace("://", "://reader:letmein@"))
    wait_until_receiving(exporter)
    _wait_for_an_event(exporter, valkey.url)
    _check_refusal(exporter, "permissions to access")


def test_amqp_that_lets_us_read_only(
    rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, start_exporter: StartExporter
) -> None:
    """A user who may receive events and not broadcast receives them; the log says what is refused."""
    events = r"^celeryev(\..*)?$"
    reads = r"^(celeryev(\..*)?|celery)$"  # the queue of tasks, which RabbitMQ 4.3 hides otherwise
    rabbitmq.add_user("events-only", "letmein")
    rabbitmq.set_permissions(rabbitmq_vhost.name, "events-only", configure=events, write=events, read=reads)
    url = rabbitmq.vhost_url(rabbitmq_vhost.name, user="events-only", password="letmein")
    exporter = start_exporter("--broker-url", url)
    wait_until_receiving(exporter)
    _wait_for_an_event(exporter, rabbitmq_vhost.url)
    _check_refusal(exporter, "celery.pidbox")


def _check_refusal(exporter: ExporterProcess, word: str) -> None:
    assert exporter.value(CONNECTED) == 1
    assert exporter.value("celery_exporter_receiver_reconnects_total") == 0
    (line,) = [line for line in exporter.stderr.splitlines() if "level=warning" in line]
    assert word in line
    exporter.kill()
