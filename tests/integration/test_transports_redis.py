"""Each way to a Redis that kombu knows, with the receiver that Redis has of its own and with the universal one."""

import json
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kombu
import pytest

from celery_metrics_exporter.config.config import BrokerTls
from tests.integration.event_sender import EventSender
from tests.integration.receiving import Received, receiving
from tests.integration.servers import HOST, Certificates, Sentinels, Valkey
from tests.waiting import wait_for

PASSWORD = "p@ss:w/rd"
QUOTED = "p%40ss%3Aw%2Frd"
#: The numbers of the test with Sentinels that come without sentinel_fanout_compat, and with it.
PLAIN = (1, 2, 3, 4) if kombu.VERSION < (5, 4) else (1, 2, 4)
COMPATIBLE = PLAIN if kombu.VERSION < (5, 7) else (1, 2, 3, 4)


@pytest.fixture(autouse=True)
def quick_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the universal receiver look at the time more often."""
    monkeypatch.setattr("celery_metrics_exporter.receivers.kombu.TICK_SECONDS", 0.1)


def check(
    url: str, *, options: Mapping[str, Any] | None = None, ssl: Any = None, tls: BrokerTls | None = None
) -> None:
    """Both receivers get the events that Celery sends this way, each once.

    ``options`` are kombu's transport options; ``ssl`` and ``tls`` say the same to Celery and to the exporter.
    """
    options = options or {}
    celery = {"broker_url": url, "broker_transport_options": options, "broker_use_ssl": ssl}
    with (
        receiving(url, transport_options=options, tls=tls) as fast,
        receiving(url, transport_options=options, tls=tls, universal=True) as universal,
        EventSender(celery) as sender,
    ):
        sender.send("task-sent", uuid="1", name="sent.task", queue="letters")
        sender.send("worker-heartbeat", freq=2.0)
        sender.send("task-sent", uuid="2", name="sent.task", queue="letters")
        for received in (fast, universal):
            received.wait_for_types("task-sent", "worker-heartbeat", "task-sent")
            assert received.drops == []
            assert received.connections == 1
        assert fast.bodies == universal.bodies


@pytest.mark.parametrize(
    ("database", "options"),
    [
        (0, {}),
        (5, {}),
        (0, {"global_keyprefix": "shop:"}),
        (3, {"global_keyprefix": "{shop}."}),
        (0, {"fanout_prefix": False}),
        (3, {"fanout_prefix": "/shop-{db}."}),
        (0, {"fanout_patterns": False}),
        (0, {"fanout_patterns": False, "fanout_prefix": False}),
        (0, {"client_name": "the-exporter"}),
        (0, {"socket_keepalive": True, "health_check_interval": 0}),
    ],
    ids=str,
)
def test_databases_and_prefixes(valkey: Valkey, database: int, options: Mapping[str, Any]) -> None:
    """Wherever kombu publishes, by the number of the database and its transport options, there we listen."""
    url = f"redis://{HOST}:{valkey.port}/{database}"
    check(url, options=options)


def test_password(tmp_path: Path) -> None:
    """A password that a URL must quote, for the default user and for another."""
    with Valkey(tmp_path / "valkey", password=PASSWORD) as server:
        with server.client() as client:
            client.acl_setuser("worker", enabled=True, passwords=["+" + PASSWORD], categories=["+@all"])
            client.execute_command("ACL", "SETUSER", "worker", "~*", "&*")
        for user in ("", "worker"):
            url = f"redis://{user}:{QUOTED}@{HOST}:{server.port}/0"
            check(url)


def test_tls(tmp_path: Path, certificates: Certificates) -> None:
    """rediss:// with an authority of its own."""
    ca_file = str(certificates.ca_file)
    ssl = {"ssl_cert_reqs": "required", "ssl_ca_certs": ca_file}
    with Valkey(tmp_path / "valkey", tls=certificates) as server:
        check(server.url, ssl=ssl, tls=BrokerTls(ca_file=ca_file))


@pytest.mark.parametrize("protocol", [2, 3])
def test_unix_socket(tmp_path: Path, protocol: int) -> None:
    """redis+socket:// with both versions of the protocol, which only such a URL can ask for."""
    path = tmp_path / "s"
    with Valkey(tmp_path / "valkey", config={"unixsocket": str(path)}):
        url = f"redis+socket://{path}?protocol={protocol}"
        check(url)


def tagged(number: int) -> str:
    """A heartbeat as kombu publishes it, with a number in the event and in the tag of the message."""
    body = b64encode(json.dumps({"type": "worker-heartbeat", "number": number}).encode()).decode()
    properties = {"body_encoding": "base64", "delivery_info": {}, "delivery_tag": str(number)}
    content = {"content-type": "application/json", "content-encoding": "utf-8"}
    return json.dumps({**content, "body": body, "headers": {}, "properties": properties})


def wait_for_numbers(received: Received, *numbers: int) -> None:
    """Wait for events with exactly these numbers."""
    wait_for(
        lambda: [event["number"] for event in received.events] == list(numbers),
        timeout=10,
        what=lambda: f"{numbers}: {received}",
    )


def test_sentinel(sentinels: Sentinels) -> None:
    """Both receivers find the master and its successor, and count each message once, on whichever channel it comes.

    With sentinel_fanout_compat kombu 5.7 publishes to the channel of kombu < 5.4 as well, which has no number in its
    name.
    """
    url, options = sentinels.url, {"master_name": sentinels.master_name}
    compat = {**options, "sentinel_fanout_compat": True}

    def send(number: int, options: Mapping[str, Any]) -> None:
        with EventSender({"broker_url": url, "broker_transport_options": options}) as sender:
            sender.send("worker-heartbeat", number=number)

    with (
        receiving(url, transport_options=options) as plain,
        receiving(url, transport_options=compat) as compatible,
        receiving(url, transport_options=compat, universal=True) as universal,
    ):
        send(1, options)
        send(2, compat)
        with sentinels.master.client() as client:
            client.publish("/{db}.celeryev/worker.heartbeat", tagged(3))
        send(4, compat)
        wait_for_numbers(plain, *PLAIN)
        for received in (compatible, universal):
            wait_for_numbers(received, *COMPATIBLE)
        sentinels.fail_over()
        for received in (plain, compatible, universal):
            received.wait_up(connections=2, timeout=30)
        send(5, compat)
        wait_for_numbers(plain, *PLAIN, 5)
        for received in (compatible, universal):
            wait_for_numbers(received, *COMPATIBLE, 5)
