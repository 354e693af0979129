"""AMQP frames: written as py-amqp writes them, cut apart however they come."""

import pytest
from amqp import spec
from amqp.exceptions import UnexpectedFrame
from amqp.serialization import dumps

from celery_metrics_exporter.queues.readers import amqp_frames as frames

LONGEST = 131_072
HEARTBEAT = b"\x08\0\0\0\0\0\0\xce"
DECLARE_OK = frames.method(7, spec.Queue.DeclareOk, dumps("sll", ("mail", 3_000_000_000, 2)))
NOT_FOUND = dumps("BsBB", (404, "NOT_FOUND - no queue 'ü'", *spec.Queue.Declare))
CLOSE = frames.method(8, spec.Channel.Close, NOT_FOUND)


def test_questions() -> None:
    """Questions have the bytes that py-amqp would send."""
    arguments = dumps("BsbbbbbF", (0, "mail", True, False, False, False, False, {}))
    assert frames.passive_declare(3, "mail") == frames.method(3, spec.Queue.Declare, arguments)
    assert frames.open_channel(3) == frames.method(3, spec.Channel.Open, dumps("s", ("",)))
    nothing = dumps("BsBB", (0, "", 0, 0))
    assert frames.close(3, spec.Channel.Close) == frames.method(3, spec.Channel.Close, nothing)
    assert frames.method(3, spec.Channel.CloseOk) == b"\x01\0\x03\0\0\0\x04\0\x14\0\x29\xce"


@pytest.mark.parametrize("size", [1, 2, 7, 8, 30, 1000])
def test_answers_in_pieces(size: int) -> None:
    """Frames are found wherever the stream of bytes is cut; heartbeats are no answers."""
    stream = HEARTBEAT + DECLARE_OK + HEARTBEAT + CLOSE + DECLARE_OK
    buffer = bytearray()
    found = []
    for start in range(0, len(stream), size):
        buffer += stream[start : start + size]
        found += list(frames.parse(buffer, LONGEST))
    assert not buffer
    assert [(channel, method) for channel, method, _ in found] == [
        (7, spec.Queue.DeclareOk),
        (8, spec.Channel.Close),
        (7, spec.Queue.DeclareOk),
    ]
    assert frames.counts(found[0][2]) == (3_000_000_000, 2)
    assert frames.reason(found[1][2]) == (404, "NOT_FOUND - no queue 'ü'", spec.Queue.Declare)


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        DECLARE_OK[:-1] + b"\0",
        b"\x01\0\x01\0\0\0\x02\0\0\xce",  # too short for a method
        b"\x02\0\x01\0\0\0\x04\0\0\0\0\xce",  # a message's header, which nobody asked for
        b"\x01\0\x01\xff\xff\xff\xff\0",
    ],
)
def test_garbage(garbage: bytes) -> None:
    """What is no frame, or longer than was agreed, ends the connection; the answers before it are told."""
    answers = frames.parse(bytearray(DECLARE_OK + garbage), LONGEST)
    assert next(answers)[0] == 7
    with pytest.raises(UnexpectedFrame):
        next(answers)


def test_names() -> None:
    """A name is at most 255 bytes of UTF-8, not empty, and without line ends, which RabbitMQ leaves out."""
    assert frames.is_queue_name("ü")
    assert frames.is_queue_name("x" * 255)
    for name in ("", "x" * 256, "ü" * 128, "a\nb", "a\rb", "\ud800"):
        assert not frames.is_queue_name(name)
