"""Two exporters on one durable queue: one gets every event, the other takes over when it is gone."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from celery_metrics_exporter.config.config import RECEIVERS
from tests.integration.conftest import Vhost
from tests.integration.durable import DURABLE, events_at_stop, start_both, wait_until_acknowledged
from tests.integration.event_sender import EventSender
from tests.integration.known_counts import wait_until_receiving
from tests.integration.servers import ExporterProcess, RabbitMQ
from tests.serving import fetch
from tests.waiting import wait_for

StartExporter = Callable[..., ExporterProcess]

STANDBY = "celery_exporter_receiver_standby"
SENT = "celery_task_sent_total"
PAUSE_S = 0.005
#: A process that hangs is found by heartbeats of 8 s, of which two and some may be missed.
TAKEOVER_S = 40.0


class Publishing:
    """Sends task-sent events until it is told to stop; :attr:`number` of them were sent."""

    def __init__(self, url: str) -> None:
        self.number = 0
        self._url = url
        self._stop = threading.Event()

    def run(self) -> None:
        """Send."""
        with EventSender({"broker_url": self._url}) as sender:
            while not self._stop.wait(PAUSE_S):
                sender.send("task-sent", uuid=f"u{self.number}", name="sent.task", queue="letters")
                self.number += 1

    def stop(self) -> None:
        """Send no more."""
        self._stop.set()


@contextmanager
def publishing(url: str) -> Iterator[Publishing]:
    """Events that go on until the end of the block."""
    sender = Publishing(url)
    thread = threading.Thread(target=sender.run)
    thread.start()
    try:
        yield sender
    finally:
        sender.stop()
        thread.join()


def counted(exporter: ExporterProcess) -> float:
    """Number of events that it counted."""
    return exporter.total(SENT)


def wait_until_all(exporter: ExporterProcess, number: float) -> None:
    """Wait until it has counted so many."""
    wait_for(
        lambda: counted(exporter) >= number,
        timeout=15,
        what=lambda: f"{number} events, there are {counted(exporter)}: {exporter.process.describe()}",
    )


def check_active(exporter: ExporterProcess) -> None:
    """It says that it receives events."""
    ready = fetch(exporter.url, "/-/ready")
    assert (ready.status, ready.text) == (200, "receiving events\n")
    assert exporter.value(STANDBY) == 0


@pytest.mark.parametrize("receiver", RECEIVERS)
def test_the_standby_splits_nothing(
    rabbitmq_vhost: Vhost, start_exporter: StartExporter, receiver: str
) -> None:
    """The first exporter counts every event and the second none, which is ready and says what it is."""
    active, standby = start_both(start_exporter, rabbitmq_vhost.url)
    with publishing(rabbitmq_vhost.url) as sender:
        wait_until_all(active, 200)
    wait_until_all(active, sender.number)
    assert counted(active) == sender.number
    assert counted(standby) == 0
    check_active(active)
    ready = fetch(standby.url, "/-/ready")
    assert (ready.status, ready.text) == (
        200,
        "standby: another exporter receives the events, this one takes over when it is gone\n",
    )
    assert standby.value(STANDBY) == 1
    assert "On standby" in fetch(standby.url, "/").text
    for exporter in (active, standby):
        assert "level=warning" not in exporter.stderr


@pytest.mark.parametrize("receiver", RECEIVERS)
def test_a_takeover_in_good_order(
    rabbitmq_vhost: Vhost, start_exporter: StartExporter, receiver: str
) -> None:
    """When the active exporter stops in the middle of the stream, each event is counted by one of the two."""
    active, standby = start_both(start_exporter, rabbitmq_vhost.url)
    with publishing(rabbitmq_vhost.url) as sender:
        wait_until_all(active, 200)
        active.stop()
        wait_until_receiving(standby)
        wait_until_all(standby, 100)
    seen = events_at_stop(active)
    wait_until_all(standby, sender.number - seen)
    assert seen + counted(standby) == sender.number
    check_active(standby)


@pytest.mark.parametrize("receiver", RECEIVERS)
def test_a_takeover_after_a_kill(
    rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, start_exporter: StartExporter, receiver: str
) -> None:
    """What a killed exporter had fetched and not handled is counted by the standby, as is all that follows."""
    active, standby = start_both(start_exporter, rabbitmq_vhost.url)
    with publishing(rabbitmq_vhost.url) as first:
        wait_until_all(active, 50)
    wait_until_all(active, first.number)
    wait_until_acknowledged(rabbitmq, rabbitmq_vhost)
    active.pause()
    with publishing(rabbitmq_vhost.url) as second:
        wait_for(lambda: second.number >= 200, timeout=15, what="events for an exporter that does not run")
        active.kill()
        wait_until_receiving(standby)
    wait_until_all(standby, second.number)
    assert counted(standby) == second.number
    check_active(standby)


def test_a_takeover_after_a_hang(
    rabbitmq: RabbitMQ, rabbitmq_vhost: Vhost, start_exporter: StartExporter
) -> None:
    """An exporter that stands still is replaced, and counts nothing of what it had fetched when it goes on."""
    active, standby = start_both(start_exporter, rabbitmq_vhost.url)
    with publishing(rabbitmq_vhost.url) as first:
        wait_until_all(active, 50)
    wait_until_all(active, first.number)
    wait_until_acknowledged(rabbitmq, rabbitmq_vhost)
    active.pause()
    with publishing(rabbitmq_vhost.url) as second:
        wait_until_receiving(standby, timeout=TAKEOVER_S)
    wait_until_all(standby, second.number)
    active.resume()
    active.process.wait_until(
        lambda: "standby: another exporter receives the events" in active.stderr,
        timeout=30,
        what="an exporter that has become the standby",
    )
    assert counted(active) == first.number
    assert counted(standby) == second.number
    check_active(standby)
    assert active.value(STANDBY) == 1


def test_a_third_one_waits_as_well(rabbitmq_vhost: Vhost, start_exporter: StartExporter) -> None:
    """Of two standbys one takes over, and says so with the first event; the other one waits on."""
    active, standby = start_both(start_exporter, rabbitmq_vhost.url)
    third = start_exporter("--broker-url", rabbitmq_vhost.url, *DURABLE)
    third.process.wait_until(lambda: 'msg="standby: ' in third.stderr, timeout=20, what="a standby")
    active.kill()
    with publishing(rabbitmq_vhost.url):
        wait_for(lambda: counted(standby) + counted(third) > 50, timeout=15, what="events at one of the two")
    assert sorted(exporter.value(STANDBY) or 0.0 for exporter in (standby, third)) == [0, 1]
    assert min(counted(standby), counted(third)) == 0
