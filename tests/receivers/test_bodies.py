"""What becomes of a message before its body is decoded: size, compression, content type; in both receivers alike."""

import bz2
import json
import lzma
import pickle
import tracemalloc
import zlib
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import amqp
import pytest
from kombu import Connection
from kombu.transport.pyamqp import Channel as AmqpChannel

from celery_metrics_exporter.receivers import MAX_MESSAGE_BYTES
from celery_metrics_exporter.receivers.bodies import (
    MAX_FOREIGN_BYTES,
    Bodies,
    OversizedError,
    decompress,
    keep_bodies_raw,
)
from celery_metrics_exporter.receivers.envelopes import Envelopes, UniqueEnvelopes
from tests.integration.receiving import Received

EVENT = b'{"type": "task-sent", "uuid": "1"}'
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "application/x-gzip": zlib.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}

Send = Callable[..., None]


class _AmqpChannel:
    """As much of a channel as makes messages."""

    Message = AmqpChannel.Message


def _fast(received: Received, serializer: str) -> Send:
    envelopes = Envelopes(received, serializer)
    return lambda body, **message: envelopes.take(json.dumps(_envelope(body, **message)).encode())


def _virtual(received: Received, serializer: str) -> Send:
    channel, bodies = Connection("memory://").channel(), Bodies(received, serializer)
    keep_bodies_raw(channel)
    return lambda body, **message: _consume(channel.message_to_python(_envelope(body, **message)), bodies)


def _amqp(received: Received, serializer: str) -> Send:
    channel: Any = _AmqpChannel()
    bodies = Bodies(received, serializer)
    keep_bodies_raw(channel)

    def send(body: bytes, *, kind: str = "application/json", encoding: str = "utf-8", **headers: Any) -> None:
        raw = amqp.Message(body, content_type=kind, content_encoding=encoding, application_headers=headers)
        raw.delivery_info = {}
        _consume(channel.Message(raw, channel=None), bodies)

    return send


def _envelope(
    body: bytes, *, kind: str = "application/json", encoding: str = "utf-8", **headers: Any
) -> dict[str, Any]:
    return {
        "body": b64encode(body).decode(),
        "content-type": kind,
        "content-encoding": encoding,
        "headers": headers,
        "properties": {"body_encoding": "base64", "delivery_tag": "x", "delivery_info": {}},
    }


def _consume(message: Any, bodies: Bodies) -> None:
    """What ``kombu.messaging.Consumer`` does with a message."""
    if message.errors:
        bodies.unreadable(message, message.errors[0][1])
    else:
        bodies.take(message)


WAYS = {"redis": _fast, "virtual": _virtual, "amqp": _amqp}
each_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


@each_way
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_compressed_bodies(way: Callable[..., Send], compression: str) -> None:
    """What fits is unfolded, in several parts too; what is damaged or cut off is dropped."""
    received = Received()
    send, pack = way(received, "json"), COMPRESSIONS[compression]
    send(pack(EVENT), compression=compression)
    send(pack(EVENT[:9]) + pack(EVENT[9:]), compression=compression)
    send(pack(EVENT)[:-9], compression=compression)
    send(EVENT, compression=compression)
    assert received.bodies == [EVENT, EVENT]
    assert received.reasons == ["undecodable"] * 2


@each_way
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_bomb_is_not_unfolded(way: Callable[..., Send], compression: str) -> None:
    """Some kilobytes that unfold to 80 MB are dropped as oversized, and never take much more than the limit."""
    received = Received()
    send, bomb = way(received, "json"), COMPRESSIONS[compression](bytes(80_000_000))
    tracemalloc.start()
    send(bomb, compression=compression)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert received.reasons == ["oversized"]
    assert peak < 3 * MAX_MESSAGE_BYTES


@each_way
@pytest.mark.parametrize("compression", ["zstd", "application/x-brotli", "x", 7, ["gzip"], {"a": 1}])
def test_other_compressions_are_refused(way: Callable[..., Send], compression: Any) -> None:
    """What cannot be bounded, or is unknown, is dropped."""
    received = Received()
    way(received, "json")(zlib.compress(EVENT), compression=compression)
    assert (received.reasons, received.bodies) == (["undecodable"], [])


class Trap:
    """A pickle of this makes a file when it is loaded."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Any, ...]:
        """Say how it is made again."""
        return (Path.touch, (self._file,))


@each_way
@pytest.mark.parametrize("serializer", ["json", "pickle", "yaml"])
def test_pickle_is_never_loaded(way: Callable[..., Send], serializer: str, tmp_path: Path) -> None:
    """Whatever a message calls itself and whatever is configured, what its pickle would do is not done."""
    file = tmp_path / "loaded"
    received = Received()
    send = way(received, serializer)
    kinds = [
        "application/x-python-serialize",
        "application/data",
        "text/plain",
        "pickle",
        "application/x-yaml",
    ]
    for kind in kinds:
        send(pickle.dumps(Trap(file)), kind=kind)
    assert (received.reasons, received.bodies) == (["undecodable"] * len(kinds), [])
    assert not file.exists()


@each_way
def test_yaml_is_loaded_only_where_it_is_configured(way: Callable[..., Send], tmp_path: Path) -> None:
    """Without the setting it is refused; with it no object is made, and no alias unfolds without bound."""
    file = tmp_path / "loaded"
    trap = f"!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [{file}]]"
    bomb = "a0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    for serializer, bodies, reasons in (
        ("json", [], ["undecodable"] * 3),
        ("yaml", [b'{"type": "x"}'], ["undecodable", "oversized"]),
    ):
        received = Received()
        send = way(received, serializer)
        for body in ("type: x", trap, bomb):
            send(body.encode(), kind="application/x-yaml")
        assert (received.bodies, received.reasons) == (bodies, reasons)
    assert not file.exists()


@each_way
def test_codecs_are_not_called_by_name(way: Callable[..., Send]) -> None:
    """A content encoding such as zlib, which kombu would look up among Python's codecs, unfolds nothing."""
    received = Received()
    send = way(received, "json")
    for kind in ("application/text", "application/data", "application/x-none-such"):
        send(zlib.compress(EVENT), kind=kind, encoding="zlib")
    assert (received.reasons, received.bodies) == (["undecodable"] * 3, [])


@each_way
def test_sizes(way: Callable[..., Send]) -> None:
    """A body beyond the limit is dropped without being read, one in another form than JSON earlier."""
    received = Received()
    send = way(received, "msgpack")
    send(b" " * (MAX_MESSAGE_BYTES + 1))
    send(b" " * (MAX_FOREIGN_BYTES + 1), kind="application/x-msgpack")
    send(b"\xa1x", kind="application/x-msgpack")
    assert received.reasons == ["oversized"] * 2
    assert received.bodies == [b'"x"']


@pytest.mark.parametrize(
    "content", [{}, [], None, 7, "x", {"properties": {}}, {"properties": {"delivery_tag": 1}, "body": 5}]
)
def test_odd_messages_cost_only_themselves(content: Any) -> None:
    """What kombu cannot make a message of is an unreadable one, where kombu raises and the connection is lost."""
    received = Received()
    channel, bodies = Connection("memory://").channel(), Bodies(received, "json")
    keep_bodies_raw(channel)
    _consume(channel.message_to_python(content), bodies)
    assert received.reasons == ["undecodable"]


def test_kombu_still_makes_messages_this_way() -> None:
    """A sealed channel hides the compression from kombu; should kombu change, this says so."""
    for channel in (Connection("memory://").channel(), _AmqpChannel()):
        before = channel.Message
        keep_bodies_raw(channel)
        assert issubclass(channel.Message, before)
        assert channel.Message is not before
    assert Connection("memory://").channel().Message is not channel.Message


def test_repetitions_are_remembered_by_short_tags_only() -> None:
    """A tag of a megabyte is not kept; its message is fed each time that it comes."""
    received = Received()
    envelopes = UniqueEnvelopes(received, "json")
    for tag in ("x", "x", "y" * 1_000_000, "y" * 1_000_000):
        content = _envelope(EVENT)
        content["properties"]["delivery_tag"] = tag
        envelopes.take(json.dumps(content).encode())
    assert received.bodies == [EVENT] * 3


def test_many_small_streams() -> None:
    """A body of thousands of compressed parts is no message."""
    with pytest.raises(OversizedError):
        decompress(bz2.compress(b"") * 1000, "bzip2", 1000)
