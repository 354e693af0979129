"""From the payloads on Redis' channels to bodies: kombu's envelope, unpacked the short way where it is plain.

Owns: the shape of a plain envelope. Must not know: connections, events, metrics.

Source of the facts: ``kombu/transport/virtual/base.py`` (``Channel.prepare_message``, ``Message``, ``Base64``). kombu
decodes the JSON of an envelope, makes a ``Message`` of it and takes that through four callbacks, which costs more than
all that we do with the events. msgspec reads the few fields that matter, and the base64 of the body on the way: 3 us
for three events in a list, where decoding the base64 alone takes the standard library 7 us.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from kombu.utils.json import loads

from exporter.receivers import MAX_MESSAGE_BYTES
from exporter.receivers.bodies import Bodies

if TYPE_CHECKING:
    from exporter.receivers import Sink

#: Messages that are remembered to find their repetitions, which follow at once.
_REMEMBERED: Final = 1000


class _Properties(msgspec.Struct, frozen=True, gc=False):
    body_encoding: str | None = None


class _Headers(msgspec.Struct, frozen=True, gc=False):
    compression: str | None = None


class _Envelope(msgspec.Struct, frozen=True, gc=False, rename="kebab"):
    body: bytes  # from base64
    content_type: str
    content_encoding: str
    properties: _Properties
    headers: _Headers | None = None


class _Tag(msgspec.Struct, frozen=True, gc=False):
    delivery_tag: str


class _Tagged(msgspec.Struct, frozen=True, gc=False):
    properties: _Tag


_envelope = msgspec.json.Decoder(_Envelope).decode
_tagged = msgspec.json.Decoder(_Tagged).decode


class Envelopes:
    """Feeds a sink with the bodies in envelopes."""

    def __init__(self, channel: Any, sink: Sink, serializer: str) -> None:
        """Args:
        channel: kombu's, which knows how to unpack whatever is not plain.
        sink: takes the bodies.
        serializer: see ``Bodies``.
        """
        self._channel = channel
        self._sink = sink
        self._bodies = Bodies(sink, serializer)

    def take(self, data: bytes) -> None:
        """Feed the body in a payload, or drop what has none."""
        if len(data) > MAX_MESSAGE_BYTES:
            self._sink.drop("oversized", f"{len(data)} bytes")
            return
        try:
            envelope = _envelope(data)
        except (msgspec.MsgspecError, RecursionError):
            self._take_as_kombu_does(data)
            return
        if (
            envelope.content_type == "application/json"
            and envelope.content_encoding == "utf-8"
            and envelope.properties.body_encoding == "base64"
            and (envelope.headers is None or envelope.headers.compression is None)
        ):
            self._sink.feed(envelope.body)
        else:
            self._take_as_kombu_does(data)

    def _take_as_kombu_does(self, data: bytes) -> None:
        try:
            message = self._channel.message_to_python(loads(data))
        except Exception as error:  # noqa: BLE001 - an odd envelope makes kombu raise anything
            self._sink.drop("undecodable", f"envelope: {type(error).__name__}: {error}")
            return
        for _kind, reason, _trace in message.errors:  # of decompression; there is one at most
            self._bodies.unreadable(message, reason)
            return
        self._bodies.take(message)


class UniqueEnvelopes(Envelopes):
    """The same where kombu publishes each message to two channels (its option sentinel_fanout_compat)."""

    def __init__(self, channel: Any, sink: Sink, serializer: str) -> None:
        """See :class:`Envelopes`."""
        super().__init__(channel, sink, serializer)
        self._seen: dict[str, None] = {}

    def take(self, data: bytes) -> None:
        """Feed the body in a payload unless it came before; kombu tags every message."""
        try:
            tag = _tagged(data).properties.delivery_tag
        except (msgspec.MsgspecError, RecursionError):
            super().take(data)
            return
        if tag in self._seen:
            return
        self._seen[tag] = None
        if len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]
        super().take(data)
