"""Parse the bytes of an AMQP connection: feed the bodies of plain messages, pass every other frame on.

A plain message is what Celery sends: one for our consumer, in JSON, not compressed, with its body in one frame. All
other frames, those of unusual and large messages too, go to py-amqp in their order.

Source of the facts: the AMQP 0-9-1 specification, 2.3.5 (frames), 4.2.6 (content) and 1.8.3 (``basic.deliver``), and
``amqp/abstract_channel.py`` (``dispatch_method``: a body is decoded by its content encoding). All events of one sender
have the same bytes as properties: they are parsed once and then remembered. A message takes 1 us this way; looking for
each property in the bytes takes 1.7 us, and py-amqp's framing alone 12 us.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct, pack
from typing import Any, Final

import amqp
from amqp import spec
from amqp.exceptions import UnexpectedFrame

from celery_metrics_exporter.receivers import MAX_MESSAGE_BYTES, Sink

#: Type, channel and payload, as in py-amqp.
Frame = tuple[int, int, bytes]

#: A frame that is longer is an error. RabbitMQ's frames have 128 KB at most unless it is configured otherwise.
_ENDLESS_BYTES: Final = 2 * MAX_MESSAGE_BYTES
#: Senders whose properties are remembered, and the most bytes of each: one megabyte in all.
_REMEMBERED: Final = 4_000
_REMEMBERED_BYTES: Final = 250

_METHOD, _HEADER, _BODY = 1, 2, 3  # types of frames
_END: Final = 0xCE
#: Bytes before a payload (type, channel and size), and those together with the end octet after it.
_HEAD_BYTES: Final = 7
_AROUND_BYTES: Final = 8
#: Bytes of a content header's frame before the properties: the head, then class, weight and size of the body.
_BEFORE_PROPERTIES_BYTES: Final = 19

_frame: Final = Struct(">BHI").unpack_from
_start: Final = Struct(">3sI").unpack_from  # type and channel together; size
_header: Final = Struct(">3sI4xQ").unpack_from  # the same; size of the body
_tag: Final = Struct(">Q").unpack_from


class DeliveryParser:
    """Takes the bytes of a connection in pieces of any size."""

    def __init__(self, sink: Sink, pass_on: Callable[[Frame], object], *, channel: int, tag: str) -> None:
        """Args:
        sink: takes the bodies of plain messages.
        pass_on: takes every other frame. After it raised, the parser must not be used any more.
        channel: number of our consumer's channel.
        tag: our consumer's name.
        """
        self._sink = sink
        self._pass_on = pass_on
        # How frames of our channel begin.
        self._method = pack(">BH", _METHOD, channel)
        self._header = pack(">BH", _HEADER, channel)
        self._body = pack(">BH", _BODY, channel)
        name = tag.encode()
        self._signature = pack(">HHB", *spec.Basic.Deliver, len(name)) + name
        self._deliver = Struct(f">3sI{len(self._signature)}s")
        self._plain: set[bytes] = set()
        self._pieces: list[bytes] = []
        self._missing = 0

    def take(self, piece: bytes) -> None:
        """Feed all bodies, and pass on all frames, that are complete with this piece.

        Raises:
            amqp.exceptions.UnexpectedFrame: the bytes are not AMQP.
            Exception: whatever ``pass_on`` raises.
        """
        pieces = self._pieces
        if pieces:
            pieces.append(piece)
            self._missing -= len(piece)
            if self._missing > 0:
                return
            piece = self.give_back()
        at, needed = self._parse(piece)
        if needed - at > _ENDLESS_BYTES:
            raise UnexpectedFrame(f"a frame of more than {_ENDLESS_BYTES} bytes")
        if at < len(piece):
            pieces.append(piece[at:])
            self._missing = needed - len(piece)

    def give_back(self) -> bytes:
        """Return, and forget, the bytes that were not parsed yet. They begin with a whole frame or a whole message."""
        rest = b"".join(self._pieces)
        self._pieces.clear()
        return rest

    def _parse(self, data: bytes) -> tuple[int, int]:
        """Parse as far as possible; returns where the rest begins, and up to where data is needed to continue."""
        head, method, signature, message = (
            self._deliver.unpack_from,
            self._method,
            self._signature,
            self._message,
        )
        at, end, needed = 0, len(data), 0
        last = end - self._deliver.size
        while at <= last:
            start, size, signed = head(data, at)
            after = at + size + _AROUND_BYTES
            if signed == signature and start == method:
                at, needed = message(data, at, after, end)
                if needed:
                    return at, needed
            elif after > end:
                return at, after
            else:
                at = self._pass(data, at)
        # Too short for a plain message, but not for a heartbeat.
        while at + _AROUND_BYTES <= end:
            start, size = _start(data, at)
            if at + size + _AROUND_BYTES > end:
                return at, at + size + _AROUND_BYTES
            at = self._pass(data, at)
        return at, at + _AROUND_BYTES

    def _message(self, data: bytes, at: int, after: int, end: int) -> tuple[int, int]:
        """Feed the message whose first frame begins ``at``, or pass that frame on.

        Returns:
            Where the next frame begins, and 0; or ``at``, and up to where data is needed.
        """
        if after + _BEFORE_PROPERTIES_BYTES > end:
            return at, after + _BEFORE_PROPERTIES_BYTES
        start, size, length = _header(data, after)
        if start == self._header and 0 < length <= MAX_MESSAGE_BYTES:
            content = after + size + _AROUND_BYTES
            if content + _HEAD_BYTES > end:
                return at, content + _HEAD_BYTES
            properties = data[after + _BEFORE_PROPERTIES_BYTES : content]  # with the end octet
            if properties in self._plain or self._is_plain(data[after + _HEAD_BYTES : content]):
                start, size = _start(data, content)
                if start == self._body and size == length:
                    stop = content + _HEAD_BYTES + size
                    if stop >= end:
                        return at, stop + 1
                    if data[stop] != _END or data[after - 1] != _END:
                        raise _no_end()
                    self._sink.feed(data[content + _HEAD_BYTES : stop])
                    return stop + 1, 0
        return self._pass(data, at), 0

    def _pass(self, data: bytes, at: int) -> int:
        """Pass on the complete frame that begins ``at``; returns where the next one begins."""
        kind, channel, size = _frame(data, at)
        stop: int = at + _HEAD_BYTES + size
        if data[stop] != _END:
            raise _no_end()
        self._pass_on((kind, channel, data[at + _HEAD_BYTES : stop]))
        return stop + 1

    def _is_plain(self, header: bytes) -> bool:
        """Whether a message with this content header (with its end octet) is plain; remembers it if so."""
        if header[-1] != _END:
            raise _no_end()
        message = amqp.Message()
        try:
            message.inbound_header(header[:-1])
        except Exception:  # noqa: BLE001 - odd properties make py-amqp raise anything
            return False
        properties = message.properties
        if (
            properties.get("content_type") != "application/json"
            or properties.get("content_encoding", "utf-8") != "utf-8"
            or (properties.get("application_headers") or {}).get("compression")
        ):
            return False
        values = header[_BEFORE_PROPERTIES_BYTES - _HEAD_BYTES :]
        if len(values) <= _REMEMBERED_BYTES:
            if len(self._plain) >= _REMEMBERED:
                self._plain.clear()
            self._plain.add(values)
        return True


class TaggedDeliveryParser(DeliveryParser):
    """Tells the delivery tag of each message whose body it feeds."""

    def __init__(self, *arguments: Any, note: Callable[[int], object], channel: int, tag: str) -> None:
        """``note`` takes the tag, after the body was fed; for the others see :class:`DeliveryParser`."""
        super().__init__(*arguments, channel=channel, tag=tag)
        self._note = note

    def _message(self, data: bytes, at: int, after: int, end: int) -> tuple[int, int]:
        rest, needed = super()._message(data, at, after, end)
        if rest > after:  # fed, and not passed on
            self._note(*_tag(data, at + _HEAD_BYTES + len(self._signature)))
        return rest, needed


def _no_end() -> UnexpectedFrame:
    return UnexpectedFrame("a frame without its end octet")
