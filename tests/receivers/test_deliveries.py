"""Cutting AMQP frames out of a stream: whatever its pieces are, the same comes of it as with py-amqp alone."""

import random
import tracemalloc
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from struct import pack
from typing import Any

import amqp
import pytest
from amqp import method_framing
from amqp.exceptions import UnexpectedFrame
from kombu import Consumer
from kombu.transport import pyamqp

from celery_metrics_exporter.receivers.amqp_limits import limit_messages
from celery_metrics_exporter.receivers.bodies import Bodies, keep_bodies_raw
from celery_metrics_exporter.receivers.deliveries import DeliveryParser, Frame, TaggedDeliveryParser
from tests.integration.receiving import Received

CHANNEL = 3
TAG = "None4"
EVENT = b'{"type": "worker-heartbeat"}'
METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8


@pytest.fixture(autouse=True)
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let messages be large at 500 bytes."""
    for module in ("amqp_limits", "bodies", "deliveries"):
        monkeypatch.setattr(f"celery_metrics_exporter.receivers.{module}.MAX_MESSAGE_BYTES", 500)


def frame(kind: int, payload: bytes, channel: int = CHANNEL) -> bytes:
    """A frame."""
    return pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def text(value: str) -> bytes:
    """A short string."""
    return bytes((len(value),)) + value.encode()


def deliver(key: str = "task.multi", *, tag: str = TAG, channel: int = CHANNEL, number: int = 7) -> bytes:
    """The first frame of a message."""
    payload = pack(">HH", 60, 60) + text(tag) + pack(">QB", number, 0) + text("celeryev") + text(key)
    return frame(METHOD, payload, channel)


def header(size: int, raw: bytes | None = None, *, channel: int = CHANNEL, **properties: Any) -> bytes:
    """The second one; ``raw`` flags and properties if they are none that py-amqp would write."""
    usual = {"content_type": "application/json", "content_encoding": "utf-8", "delivery_mode": 1}
    message = amqp.Message(b"", **{"application_headers": {"hostname": "w@h"}, **usual, **properties})
    values = message._serialize_properties() if raw is None else raw
    return frame(HEADER, pack(">HHQ", 60, 0, size) + values, channel)


def message(body: bytes = EVENT, *between: bytes, pieces: int = 1, **more: Any) -> bytes:
    """All frames of a message, whose body comes in so many of them, with other frames in between."""
    step = -(-len(body) // pieces) or 1
    bodies = [frame(BODY, body[start : start + step]) for start in range(0, len(body), step)]
    return b"".join(each + b"".join(between) for each in (deliver(), header(len(body), **more), *bodies))


HEARTBEAT_FRAME = frame(HEARTBEAT, b"", channel=0)
BLOCKED = frame(METHOD, pack(">HH", 10, 60) + text("low on memory"), channel=0)
ELSEWHERE = deliver(channel=1, tag="other") + header(len(EVENT), channel=1) + frame(BODY, EVENT, channel=1)
GZIP: dict[str, Any] = {"application_headers": {"compression": "application/x-gzip"}}

#: What may come, by what it is.
STREAMS = {
    "plain": message() + message(b'{"another": 1}', application_headers={"hostname": "v@h"}),
    "heartbeats": HEARTBEAT_FRAME + message() + HEARTBEAT_FRAME * 2 + message() + HEARTBEAT_FRAME,
    "frames within": message(EVENT, HEARTBEAT_FRAME) + message(EVENT, BLOCKED, ELSEWHERE) + message(),
    "another channel": ELSEWHERE + message() + ELSEWHERE,
    "another consumer": message()
    + deliver(tag="None5")
    + header(len(EVENT))
    + frame(BODY, EVENT)
    + message(),
    "the same name on another channel": deliver(channel=1)
    + header(len(EVENT), channel=1)
    + frame(BODY, EVENT, channel=1)
    + message(),
    "in parts": message(EVENT * 3, pieces=3) + message() + message(EVENT, HEARTBEAT_FRAME, pieces=2),
    "empty": message(b"") + message() + message(b"", content_type="x"),
    "an empty frame": deliver() + header(len(EVENT)) + frame(BODY, b"") + frame(BODY, EVENT) + message(),
    "compressed": message(zlib.compress(EVENT), **GZIP) + message(EVENT, **GZIP) + message(),
    "other types": b"".join(
        message(body, content_type=kind)
        for body, kind in (
            (b"\xa1x", "application/x-msgpack"),
            (EVENT, "text/plain"),
            (EVENT, "application/jso"),
        )
    ),
    "other encodings": b"".join(
        message('{"größer": 1}'.encode(name if name != "binary" else "utf-8"), content_encoding=name)
        for name in ("latin-1", "binary", "utf-8", "utf-16")
    ),
    "no properties": deliver() + header(len(EVENT), raw=b"\0\0") + frame(BODY, EVENT) + message(),
    "only a type": deliver()
    + header(len(EVENT), raw=pack(">H", 1 << 15) + text("application/json"))
    + frame(BODY, EVENT),
    "unreadable": deliver() + header(len(EVENT), raw=b"\x80\0\2\xff\xfe") + frame(BODY, EVENT) + message(),
    "unreadable and more": deliver()
    + header(len(EVENT), raw=pack(">H", 1 << 15 | 1 << 6) + text("application/json") + pack(">Q", 2**62))
    + frame(BODY, EVENT)
    + message(),
    "large": message(b" " * 501)
    + message()
    + message(b" " * 900, pieces=3)
    + message(b'"' + b" " * 498 + b'"'),
    "words of the protocol": message(frame(BODY, EVENT))
    + message(deliver() + header(3))
    + message(b"\xce" * 40),
}


def frames_of(stream: bytes) -> Iterator[Frame]:
    """Cut whole frames."""
    while stream:
        size = int.from_bytes(stream[3:7])
        yield stream[0], int.from_bytes(stream[1:3]), stream[7 : 7 + size]
        stream = stream[8 + size :]


class Broker:
    """A connection of kombu's with a consumer, without a socket; keeps what becomes of its messages."""

    def __init__(self) -> None:
        self.received = received = Received()
        self.sent = 0
        connection = pyamqp.Connection()
        connection.on_inbound_frame = method_framing.frame_handler(connection, connection.on_inbound_method)
        connection.frame_writer = self._write
        limit_messages(connection)
        channel = pyamqp.Channel(connection, CHANNEL)
        pyamqp.Channel(connection, 1)
        keep_bodies_raw(channel)
        bodies = Bodies(received, "msgpack")
        consumer = Consumer(channel, on_message=bodies.take, on_decode_error=bodies.unreadable)
        channel.callbacks[TAG] = consumer._receive_callback
        self.connection = connection

    def take(self, frame: Frame) -> object:
        """As py-amqp does."""
        return self.connection.on_inbound_frame(frame)

    @property
    def result(self) -> tuple[list[bytes], list[str], int]:
        """Bodies, reasons of drops, and how many frames were sent to the broker."""
        return self.received.bodies, self.received.reasons, self.sent

    def _write(self, *_: object) -> None:
        self.sent += 1


def by_py_amqp(stream: bytes) -> tuple[list[bytes], list[str], int]:
    """What comes of a stream without our help."""
    broker = Broker()
    for each in frames_of(stream):
        broker.take(each)
    return broker.result


def by_us(pieces: Iterable[bytes]) -> tuple[tuple[list[bytes], list[str], int], bytes]:
    """What comes of a stream in pieces, and what is left of it."""
    broker = Broker()
    parser = DeliveryParser(broker.received, broker.take, channel=CHANNEL, tag=TAG)
    for piece in pieces:
        parser.take(piece)
    return broker.result, parser.give_back()


def in_pieces(stream: bytes, size: Callable[[], int]) -> Iterator[bytes]:
    """Cut a stream at any place."""
    at = 0
    while at < len(stream):
        step = size()
        yield stream[at : at + step]
        at += step


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_the_same_as_with_py_amqp(stream: bytes) -> None:
    """Bodies, drops and answers to the broker are the same and in the same order, in one piece or byte by byte."""
    expected = by_py_amqp(stream)
    assert any(expected)
    assert by_us([stream]) == (expected, b"")
    assert by_us(in_pieces(stream, lambda: 1)) == (expected, b"")


def test_everything_in_random_pieces() -> None:
    """One stream of all of them, whichever comes first."""
    chance = random.Random(5)
    for longest in (3, 20, 100, 500, 5_000) * 3:
        streams = list(STREAMS.values())
        chance.shuffle(streams)
        stream = b"".join(streams)
        found, rest = by_us(in_pieces(stream, partial(chance.randint, 1, longest)))
        assert (found, rest) == (by_py_amqp(stream), b"")


class Log(Received):
    """What is fed and what is passed on, in one order."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[bytes | Frame] = []

    def feed(self, body: bytes) -> None:
        """Keep it."""
        self.entries.append(body)


def logged(*pieces: bytes) -> tuple[list[bytes | Frame], bytes]:
    """What is fed and passed on of these pieces, and what is left."""
    log = Log()
    parser = DeliveryParser(log, log.entries.append, channel=CHANNEL, tag=TAG)
    for piece in pieces:
        parser.take(piece)
    return log.entries, parser.give_back()


def test_tags_are_those_of_the_bodies() -> None:
    """Each body that is fed has its delivery tag noted after it, wherever the stream is cut; no other message has."""
    plain = header(len(EVENT)) + frame(BODY, EVENT)
    passed = header(len(EVENT), content_type="text/plain") + frame(BODY, EVENT)
    numbers = (1, 2, 3, 2**40, 2**64 - 1)
    messages = [deliver(number=number) + (passed if number == 3 else plain) for number in numbers]
    stream = b"".join((*messages[:2], HEARTBEAT_FRAME, *messages[2:]))
    for cut in range(len(stream)):
        entries: list[Any] = []
        log = Log()
        log.entries = entries
        parser = TaggedDeliveryParser(log, lambda _: None, note=entries.append, channel=CHANNEL, tag=TAG)
        for piece in (stream[:cut], stream[cut:]):
            parser.take(piece)
        assert entries == [part for number in numbers if number != 3 for part in (EVENT, number)]


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_every_place_to_cut(stream: bytes) -> None:
    """Two pieces give what the whole gives; what is left after the first is no part of what was done with."""
    whole, rest = logged(stream)
    assert rest == b""
    for place in range(1, len(stream)):
        first, left = logged(stream[:place])
        assert stream[:place].endswith(left)
        assert first == whole[: len(first)]
        assert logged(stream[:place], stream[place:]) == (whole, b"")
        assert [*first, *logged(left + stream[place:])[0]] == whole


def test_plain_messages_are_not_passed_on() -> None:
    """The fast way is taken by whatever Celery sends; a sender's properties are read once."""
    assert logged(STREAMS["plain"] + message())[0] == [EVENT, b'{"another": 1}', EVENT]


def test_giving_the_stream_back() -> None:
    """Wherever we stop, py-amqp goes on with what we give back, and nothing is lost or doubled."""
    stream = b"".join(STREAMS[name] for name in ("plain", "in parts", "frames within", "compressed"))
    expected = by_py_amqp(stream)
    for place in range(0, len(stream), 7):
        broker = Broker()
        parser = DeliveryParser(broker.received, broker.take, channel=CHANNEL, tag=TAG)
        parser.take(stream[:place])
        for each in frames_of(parser.give_back() + stream[place:]):
            broker.take(each)
        assert broker.result == expected


@pytest.mark.parametrize("number", range(8))
def test_a_wrong_end(number: int) -> None:
    """A frame that does not end as it must is the end of the connection; what came before it is taken."""
    frames = [deliver(), header(len(EVENT)), frame(BODY, EVENT)] * 2 + [HEARTBEAT_FRAME, BLOCKED]
    frames[number] = frames[number][:-1] + b"\xcd"
    log = Log()
    parser = DeliveryParser(log, log.entries.append, channel=CHANNEL, tag=TAG)
    with pytest.raises(UnexpectedFrame):
        parser.take(b"".join(frames))
    assert log.entries[:number] == [EVENT] * (number // 3) + [(8, 0, b"")] * (number == 7)


@pytest.mark.parametrize(
    ("number", "kind"), [(0, BODY), (0, 9), (1, METHOD), (1, BODY), (1, 9), (2, METHOD), (2, 9)]
)
def test_frames_of_the_wrong_type(number: int, kind: int) -> None:
    """Frames that follow each other in no order end the connection as they do with py-amqp."""
    frames = [deliver(), header(len(EVENT)), frame(BODY, EVENT)]
    frames[number] = bytes((kind,)) + frames[number][1:]
    for take in (by_py_amqp, lambda stream: by_us([stream])):
        with pytest.raises(UnexpectedFrame):
            take(b"".join(frames) + message())


@pytest.mark.parametrize("number", range(5))
def test_a_frame_without_end(number: int) -> None:
    """Gigabytes that a frame announces are not waited for."""
    frames = [deliver(), header(len(EVENT)), frame(BODY, EVENT), HEARTBEAT_FRAME, BLOCKED]
    cut = frames[number]
    frames[number:] = [cut[:3] + b"\xff\xff\xff\xfe" + cut[7:] + bytes(30)]
    log = Log()
    parser = DeliveryParser(log, log.entries.append, channel=CHANNEL, tag=TAG)
    tracemalloc.start()
    with pytest.raises(UnexpectedFrame):
        parser.take(b"".join(frames))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_large_frames_in_many_pieces_are_joined_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame of 16 MB in pieces of 16 KB costs one copy and not a thousand."""
    for module in ("amqp_limits", "deliveries"):
        monkeypatch.setattr(f"celery_metrics_exporter.receivers.{module}.MAX_MESSAGE_BYTES", 16 * 1024 * 1024)
    large = message(b" " * 16 * 1024 * 1024)
    calls = 0

    def counted(*arguments: Any, parse: Any = DeliveryParser._parse) -> Any:
        nonlocal calls
        calls += 1
        return parse(*arguments)

    monkeypatch.setattr(DeliveryParser, "_parse", counted)
    entries, rest = logged(*in_pieces(large, lambda: 16 * 1024))
    assert ([len(body) for body in entries], rest) == ([16 * 1024 * 1024], b"")
    assert calls < 5


def test_what_is_remembered_of_senders_is_bounded() -> None:
    """Any number of senders, and senders of any length, are right and take little room."""
    log = Log()
    parser = DeliveryParser(log, log.entries.append, channel=CHANNEL, tag=TAG)
    for number in range(6_000):
        parser.take(message(application_headers={"hostname": f"w{number}@h"}))
    parser.take(message(application_headers={"hostname": "x" * 10_000}))
    assert log.entries == [EVENT] * 6_001
    assert 0 < len(parser._plain) <= 4_000
    assert max(map(len, parser._plain)) <= 250
