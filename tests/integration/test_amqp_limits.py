"""Messages over AMQP that py-amqp could not take in, or should not: each costs only itself."""

from struct import pack
from typing import Any

import amqp
import pytest

from celery_metrics_exporter.receivers import MAX_MESSAGE_BYTES
from tests.integration.conftest import Vhost
from tests.integration.receiving import Received, receiving
from tests.waiting import wait_for

pytestmark = pytest.mark.needs("rabbitmq")

both = pytest.mark.parametrize("universal", [False, True], ids=["amqp", "universal"])

EVENT = b'{"type": "worker-offline"}'


def _text(value: bytes) -> bytes:
    return bytes((len(value),)) + value


def _table(kind: bytes, value: bytes) -> bytes:
    """A table with one field."""
    content = _text(b"x") + kind + value
    return pack(">I", len(content)) + content


def _nested(depth: int) -> bytes:
    table = _table(b"t", b"\1")
    for _ in range(depth):
        table = _table(b"F", table)
    return table


#: Flags of the properties, and these, of messages that py-amqp raises at.
ODD = {
    "no UTF-8 in a name": (1 << 15, _text(b"\xff\xfe")),
    "a time after the year 9999": (1 << 6, pack(">Q", 2**62)),
    "milliseconds as time": (1 << 6, pack(">Q", 1_800_000_000_000)),
    "a time in the headers": (1 << 13, _table(b"T", pack(">Q", 2**62))),
    "headers in headers": (1 << 13, _nested(2000)),
}


class _Raw(amqp.Message):
    """A message with these bytes as properties."""

    def __init__(self, body: bytes, flags: int, values: bytes) -> None:
        super().__init__(body)
        self._raw = pack(">H", flags) + values

    def _serialize_properties(self) -> bytes:
        return self._raw


def _publish(vhost: Vhost, *messages: Any) -> None:
    """Publish these, an event after each."""
    host, _, path = vhost.url.partition("://")[2].rpartition("@")[2].partition("/")
    user, _, password = vhost.url.partition("://")[2].rpartition("@")[0].partition(":")
    with amqp.Connection(host, userid=user, password=password, virtual_host=path) as connection:
        channel = connection.channel()
        for message in messages:
            channel.basic_publish(message, "celeryev", "task.multi")
            good = amqp.Message(EVENT, content_type="application/json", content_encoding="utf-8")
            channel.basic_publish(good, "celeryev", "worker.offline")


def _wait_for_events(received: Received, number: int) -> None:
    wait_for(lambda: len(received.bodies) == number, timeout=20, what=lambda: f"{number} events: {received}")


@both
@pytest.mark.parametrize("body", [b"", EVENT], ids=["empty", "event"])
def test_properties_that_cannot_be_read(rabbitmq_vhost: Vhost, body: bytes, universal: bool) -> None:
    """Such a message is dropped, and the connection stays, where py-amqp by itself would raise."""
    with receiving(rabbitmq_vhost.url, universal=universal) as received:
        _publish(rabbitmq_vhost, *(_Raw(body, flags, values) for flags, values in ODD.values()))
        _wait_for_events(received, len(ODD))
        assert received.reasons == ["undecodable"] * len(ODD)
        assert received.connections == 1


@both
def test_messages_that_are_too_large(rabbitmq_vhost: Vhost, universal: bool) -> None:
    """A body beyond the limit is never put together; one of just the limit is."""
    fits = amqp.Message(b" " * MAX_MESSAGE_BYTES, content_type="application/json")
    large = amqp.Message(b" " * (MAX_MESSAGE_BYTES + 1), content_type="application/json")
    with receiving(rabbitmq_vhost.url, universal=universal) as received:
        _publish(rabbitmq_vhost, large, fits, large)
        _wait_for_events(received, 4)
        assert [len(body) for body in received.bodies] == [
            len(EVENT),
            MAX_MESSAGE_BYTES,
            len(EVENT),
            len(EVENT),
        ]
        assert received.reasons == ["oversized"] * 2
        assert received.connections == 1
