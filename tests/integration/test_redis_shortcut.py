"""The shorter way through kombu's Redis channel: what it relies on is there, and nothing is lost on it."""

import json
from base64 import b64encode
from typing import Any

import pytest
from kombu.transport.redis import Channel, SentinelChannel

from exporter.receivers.redis_shortcut import shorten
from tests.integration.event_sender import EventSender
from tests.integration.known_counts import wait_until_receiving
from tests.integration.servers import ExporterProcess, Valkey
from tests.waiting import wait_for

pytestmark = pytest.mark.needs("valkey")

TOPIC = "/0.celeryev/worker.heartbeat"
HEARTBEAT = {"type": "worker-heartbeat", "hostname": "w@h", "timestamp": 1.7e9, "pid": 1}


class Sink:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.drops: list[str] = []

    def feed(self, body: bytes) -> None:
        """Keep a body."""
        self.bodies.append(body)

    def drop(self, reason: str, detail: str) -> None:
        """Keep a loss."""
        self.drops.append(f"{reason}: {detail}")


@pytest.mark.parametrize("name", ["_receive_one", "_handle_message", "_deliver_fanout_message", "_receive"])
def test_what_it_relies_on_is_there(name: str) -> None:
    """A kombu without these has changed: the shortcut must be looked at again."""
    assert callable(getattr(Channel, name))


def test_other_channels_are_left_alone() -> None:
    """Sentinel's channel drops repeated messages itself, and keeps kombu's whole way."""
    channel = SentinelChannel.__new__(SentinelChannel)
    assert not shorten(channel, Sink())
    assert "_receive_one" not in vars(channel)


def envelope(content: object, **changes: Any) -> str:
    """An event as kombu publishes it on Redis."""
    return json.dumps(
        {
            "body": b64encode(json.dumps(content).encode()).decode(),
            "content-type": "application/json",
            "content-encoding": "utf-8",
            "headers": {"hostname": "w@h"},
            "properties": {"body_encoding": "base64", "delivery_info": {}, "delivery_tag": "x"},
            **changes,
        }
    )


BROKEN = (
    "",
    "null",
    "[]",
    "{}",
    "nonsense",
    "7",
    '{"body": 5}',
    (
        '{"body": "no base64!", "content-type": "application/json", "content-encoding": "utf-8",'
        ' "properties": {"body_encoding": "base64"}}'
    ),
    "[" * 100_000,
)


def heartbeats(exporter: ExporterProcess) -> float | None:
    """Heartbeats counted so far."""
    return exporter.value("celery_exporter_events_total", event="worker-heartbeat")


def test_broken_envelopes_cost_only_themselves(valkey: Valkey, start_exporter: Any) -> None:
    """Payloads that would end kombu's own loop are counted, and the connection stays."""
    exporter = start_exporter("--broker-url", valkey.url)
    wait_until_receiving(exporter)
    with valkey.client() as client:
        for payload in BROKEN:
            client.publish(TOPIC, payload)
            client.publish(TOPIC, envelope(HEARTBEAT))
    wait_for(
        lambda: heartbeats(exporter) == len(BROKEN),
        timeout=10,
        what=lambda: f"{len(BROKEN)} heartbeats, not {heartbeats(exporter)}",
    )
    assert exporter.value("celery_exporter_events_dropped_total", reason="undecodable") == len(BROKEN)
    assert exporter.value("celery_exporter_receiver_reconnects_total") == 0
    assert exporter.value("celery_exporter_receiver_connected") == 1


def test_what_is_not_plain_goes_kombus_way(valkey: Valkey, start_exporter: Any) -> None:
    """Compressed events, as a real producer sends them, and bodies without base64 are counted too."""
    exporter = start_exporter("--broker-url", valkey.url)
    wait_until_receiving(exporter)
    with EventSender({"broker_url": valkey.url}) as sender:
        sender.send("worker-heartbeat", freq=2.0)
    with valkey.client() as client:
        client.publish(
            TOPIC,
            envelope(
                HEARTBEAT,
                body=json.dumps(HEARTBEAT),
                properties={"body_encoding": None, "delivery_info": {}, "delivery_tag": "y"},
            ),
        )
        client.publish(TOPIC, envelope(HEARTBEAT))
    wait_for(lambda: heartbeats(exporter) == 3, timeout=10, what=lambda: f"3, not {heartbeats(exporter)}")
