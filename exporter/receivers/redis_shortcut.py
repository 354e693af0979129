"""A shorter way through kombu's Redis transport for event messages: from the reply of the server to the sink.

Owns: the one place that touches private parts of kombu's Redis channel. Must not know: events, metrics.

kombu decodes the JSON envelope of each message, makes a ``Message`` of it and takes it through four callbacks
(``kombu/transport/redis.py``, ``Channel._receive_one``), which costs more than all that we do with the events. The
subscription, reconnecting and health checks stay kombu's, and so does every message that is not plain JSON.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64
from typing import TYPE_CHECKING, Any

import msgspec
from kombu.transport.redis import Channel
from kombu.utils.json import loads

if TYPE_CHECKING:
    from exporter.receivers import Sink


class _Properties(msgspec.Struct, frozen=True, gc=False):
    body_encoding: str | None = None


class _Headers(msgspec.Struct, frozen=True, gc=False):
    compression: str | None = None


class _Envelope(msgspec.Struct, frozen=True, gc=False, rename="kebab"):
    body: str
    content_type: str | None = None
    content_encoding: str | None = None
    headers: _Headers | None = None
    properties: _Properties | None = None


_decode = msgspec.json.Decoder(_Envelope).decode


def shorten(channel: Any, sink: Sink) -> bool:
    """Let event messages of this channel go to ``sink`` directly; the channel must consume events alone.

    Returns:
        Whether that is possible: only for kombu's plain Redis channel. Sentinel's filters repetitions of its own.
    """
    if type(channel) is not Channel:
        return False

    def receive_one(client: Any) -> bool | None:
        try:
            response = client.parse_response()
        except channel.connection_errors:
            channel._in_listen = None  # as kombu does: subscribe again  # noqa: SLF001
            raise
        if not isinstance(response, list | tuple):
            return None
        if response[0] not in (b"pmessage", "pmessage"):
            channel._handle_message(client, response)  # noqa: SLF001
            return None
        _take(channel, sink, response[2], response[3])
        return True

    channel._receive_one = receive_one  # noqa: SLF001
    return True


def _take(channel: Any, sink: Sink, topic: Any, data: Any) -> None:
    try:
        envelope = _decode(data)
        if _is_plain(envelope):
            sink.feed(a2b_base64(envelope.body))
            return
        message, exchange = loads(data), _exchange(topic)
    except (msgspec.MsgspecError, Base64Error, ValueError, RecursionError) as error:
        sink.drop("undecodable", f"envelope: {error}")
    else:
        channel._deliver_fanout_message(message, exchange)  # noqa: SLF001


def _is_plain(envelope: _Envelope) -> bool:
    return (
        envelope.content_type == "application/json"
        and envelope.content_encoding == "utf-8"
        and envelope.properties is not None
        and envelope.properties.body_encoding == "base64"
        and (envelope.headers is None or envelope.headers.compression is None)
    )


def _exchange(topic: Any) -> str:
    """The exchange in ``/0.celeryev/task.multi``, or in the same without the number of a database."""
    name = topic.decode() if isinstance(topic, bytes) else str(topic)
    if name[:1] == "/":
        name = name.partition(".")[2]
    return name.partition("/")[0]
