"""What the receiver of Redis makes of the messages on its channels: the same as the universal one, or better."""

import json
import zlib
from base64 import b64encode, encodebytes
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from celery_metrics_exporter.config.config import EventQueue
from celery_metrics_exporter.receivers import MAX_MESSAGE_BYTES
from tests.integration.event_sender import EventSender
from tests.integration.receiving import Received, receiving
from tests.integration.servers import Valkey
from tests.waiting import wait_for

pytestmark = pytest.mark.needs("valkey")

TOPIC = "/0.celeryev/worker.heartbeat"
HEARTBEAT = {"type": "worker-heartbeat", "hostname": "w@h", "timestamp": 1.7e9, "pid": 1}
LAST = b'{"type": "worker-offline"}'


def envelope(plain: bytes, **changes: Any) -> str:
    """An event as kombu publishes it on Redis."""
    content = {
        "body": b64encode(plain).decode(),
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "headers": {"hostname": "w@h"},
        "properties": {"body_encoding": "base64", "delivery_info": {}, "delivery_tag": "x"},
        **changes,
    }
    return json.dumps({name.replace("_", "-"): value for name, value in content.items()})


def publish(valkey: Valkey, *payloads: str | bytes) -> None:
    """Publish these, and a farewell after them."""
    with valkey.client() as client:
        for payload in (*payloads, envelope(LAST)):
            client.publish(TOPIC, payload)


def bodies_before_last(received: Received) -> list[bytes]:
    """Wait until the farewell has come; what came before it."""
    wait_for(lambda: received.bodies[-1:] == [LAST], timeout=10, what=lambda: f"the farewell: {received}")
    return received.bodies[:-1]


JSON = json.dumps(HEARTBEAT).encode()
WITHOUT_ENCODING: Mapping[str, Any] = {"body_encoding": None, "delivery_info": {}, "delivery_tag": "y"}

LATIN_1 = '{"type": "größer"}'.encode("latin-1")
#: Envelopes that are not plain, and the bodies in them; None where nothing can or may be made of it.
ODD: tuple[tuple[str, bytes | None], ...] = (
    (envelope(b"", body=JSON.decode(), properties=WITHOUT_ENCODING), JSON),
    (envelope(b"", body="bnVsbA==", properties=WITHOUT_ENCODING), b"bnVsbA=="),
    (envelope(b"", body="größer", properties=WITHOUT_ENCODING), "größer".encode()),
    (envelope(b"", body=encodebytes(JSON).decode()), JSON),
    (envelope(b"", body=None), None),
    (envelope(b"", body=5, properties=WITHOUT_ENCODING), None),
    (envelope(b"", body=[1, 2], properties=WITHOUT_ENCODING), None),
    (envelope(b""), b""),
    (envelope(JSON, headers=None), JSON),
    (envelope(JSON, more={"than": ["is", {"known": 1}]}), JSON),
    (
        envelope('{"type": "größer"}'.encode("latin-1"), content_encoding="latin-1"),
        LATIN_1,
    ),  # found out later
    (envelope(JSON, content_encoding=None), JSON),
    (envelope(JSON, content_encoding="binary"), JSON),
    (envelope(JSON, content_encoding="none-such"), JSON),
    (envelope(JSON, content_encoding=["utf-8"]), JSON),
    (
        envelope(
            msgspec.msgpack.encode(HEARTBEAT), content_type="application/x-msgpack", content_encoding="binary"
        ),
        JSON,
    ),
    (envelope(JSON, content_type="application/x-yaml"), None),
    (envelope(JSON, content_type="application/x-python-serialize"), None),
    (envelope(JSON, content_type="application/data"), None),
    (envelope(JSON, content_type=None), None),
    (envelope(zlib.compress(JSON), headers={"compression": "application/x-gzip"}), JSON),
    (envelope(JSON, headers={"compression": "application/x-gzip"}), None),
    (envelope(JSON, headers={"compression": "application/x-none-such"}), None),
    (envelope(JSON, headers={"compression": 7}), None),
)


def test_envelopes_that_are_not_plain(valkey: Valkey) -> None:
    """What is odd and harmless is taken, and anything else is dropped: by both receivers alike."""
    events = EventQueue(serializer="msgpack")
    with (
        receiving(valkey.url, event_queue=events) as fast,
        receiving(valkey.url, event_queue=events, universal=True) as universal,
    ):
        publish(valkey, *(payload for payload, _ in ODD))
        for received in (fast, universal):
            assert bodies_before_last(received) == [body for _, body in ODD if body is not None]
            assert received.reasons == ["undecodable"] * sum(body is None for _, body in ODD)
            assert received.connections == 1


BROKEN = (
    "",
    "null",
    "[]",
    "{}",
    "7",
    "nonsense",
    b"\xff\xfe",
    "[" * 100_000,
    '{"body": 5}',
    envelope(JSON, properties=None),
    envelope(JSON, properties={"body_encoding": "none-such", "delivery_tag": "x"}),
    envelope(JSON, properties={"body_encoding": 64}),
    envelope(JSON, body="no base64!", properties={"body_encoding": "base64"}),
    envelope(JSON, headers=5),
)


def test_broken_envelopes_cost_only_themselves(valkey: Valkey) -> None:
    """Payloads that end kombu's own loop are counted, and the connection stays."""
    good = envelope(JSON)
    with receiving(valkey.url) as received:
        publish(valkey, *(payload for broken in BROKEN for payload in (broken, good)))
        bodies = bodies_before_last(received)
        assert bodies == [JSON] * len(BROKEN)
        assert received.reasons == ["undecodable"] * len(BROKEN)
        assert received.connections == 1


def test_broken_envelopes_and_the_universal_receiver(valkey: Valkey) -> None:
    """Broken envelopes that kombu would raise about cost only themselves there too."""
    broken = ("{}", "[]", "null", "7", envelope(JSON, properties=None), envelope(JSON, headers=5))
    with receiving(valkey.url, universal=True) as received:
        publish(valkey, *broken)
        assert bodies_before_last(received) == []
        assert received.reasons == ["undecodable"] * len(broken)
        assert received.connections == 1


def test_messages_that_are_too_large(valkey: Valkey) -> None:
    """A message up to the limit is taken, one beyond it is dropped without being decoded; others are not touched."""
    fits = b'"' + b"x" * (MAX_MESSAGE_BYTES // 4 * 3 - 1000) + b'"'
    small = zlib.compress(b" " * (MAX_MESSAGE_BYTES + 1))
    with receiving(valkey.url) as received:
        with valkey.client() as client:
            client.config_set("client-output-buffer-limit", "pubsub 0 0 0")
        publish(
            valkey,
            envelope(fits),
            " " * (MAX_MESSAGE_BYTES + 1),
            envelope(JSON),
            envelope(small, headers={"compression": "application/x-gzip"}),
            envelope(small, headers={"compression": "application/x-brotli"}),
        )
        assert bodies_before_last(received) == [fits, JSON]
        assert received.reasons == ["oversized", "oversized", "undecodable"]
        assert received.connections == 1


def test_a_message_without_end(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that would take all memory is given up with the connection, before it is complete."""
    monkeypatch.setattr("celery_metrics_exporter.receivers.redis._ENDLESS_BYTES", 1_000_000)
    with receiving(valkey.url) as received:
        publish(valkey, " " * 3_000_000)
        received.wait_up(connections=2)
        assert received.reasons == ["oversized"]
        publish(valkey)
        bodies_before_last(received)


@pytest.mark.parametrize("universal", [False, True], ids=["redis", "universal"])
def test_a_routing_key(valkey: Valkey, universal: bool) -> None:
    """The broker is asked for these events alone."""
    with (
        receiving(valkey.url, routing_key="worker.#", universal=universal) as received,
        EventSender({"broker_url": valkey.url}) as sender,
    ):
        for kind in ("task-sent", "worker-heartbeat", "task-sent", "worker-offline"):
            sender.send(kind)
        received.wait_for_types("worker-heartbeat", "worker-offline")
