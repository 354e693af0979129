"""How often trouble is logged: what strangers cause once a minute, what lasts once."""

import logging

import pytest
import redis
from redis.sentinel import MasterNotFoundError

from celery_metrics_exporter.errors import one_line
from celery_metrics_exporter.logs import OutageLog, ThrottledLog
from tests.pipeline import FakeTime

log = logging.getLogger("celery_metrics_exporter.test")


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, object]]:
    """Level, message and fields of each record so far."""
    return [(record.levelname, record.getMessage(), vars(record).get("fields")) for record in caplog.records]


def test_one_line_a_minute_of_each_kind(caplog: pytest.LogCaptureFixture) -> None:
    """What is held back is counted in the next line of its kind."""
    time = FakeTime()
    throttled = ThrottledLog(log, time.clock().monotonic)
    for _ in range(59):
        throttled.log(logging.WARNING, "refused", client="a")
        throttled.log(logging.WARNING, "dropped", reason="b")
        time.elapsed += 1
    assert lines(caplog) == [
        ("WARNING", "refused", {"client": "a", "since_last_line": 1}),
        ("WARNING", "dropped", {"reason": "b", "since_last_line": 1}),
    ]
    caplog.clear()
    time.elapsed += 1
    throttled.log(logging.WARNING, "refused", client="c")
    throttled.log(logging.WARNING, "refused", client="d")
    assert lines(caplog) == [("WARNING", "refused", {"client": "c", "since_last_line": 59})]


def test_what_is_held_back_is_seen_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever asks for debug lines gets all of them."""
    caplog.set_level(logging.DEBUG, log.name)
    throttled = ThrottledLog(log)
    for number in range(3):
        throttled.log(logging.WARNING, "refused", number=number)
    assert [level for level, _, _ in lines(caplog)] == ["WARNING", "DEBUG", "DEBUG"]


def test_texts_of_strangers_are_short_and_plain(caplog: pytest.LogCaptureFixture) -> None:
    """Texts and bytes are cut and escaped, other values stand as they are."""
    ThrottledLog(log).log(
        logging.WARNING, "dropped", text="\x1b\n" * 500, body=b"\xff\0" * 500, number=1.5, none=None
    )
    ((_, _, shown),) = lines(caplog)
    assert isinstance(shown, dict)
    assert (shown["number"], shown["none"]) == (1.5, None)
    for name in ("text", "body"):
        assert len(shown[name]) == 200
        assert shown[name].isascii()
        assert shown[name].isprintable()


def test_an_outage_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """Its beginning, another reason and its end are told, whatever is repeated at debug alone."""
    caplog.set_level(logging.DEBUG, log.name)
    outage = OutageLog(log, "cannot read", "can read again", broker="b")
    outage.recover()
    for error in (TimeoutError("1\n2"), TimeoutError("1 2"), OSError("3"), OSError("3")):
        outage.fail(error)
    outage.recover()
    outage.recover()
    outage.fail(OSError("3"))
    assert lines(caplog) == [
        ("WARNING", "cannot read", {"broker": "b", "error": "TimeoutError: 1 2"}),
        ("DEBUG", "still cannot read", None),
        ("WARNING", "cannot read", {"broker": "b", "error": "OSError: 3"}),
        ("DEBUG", "still cannot read", None),
        ("INFO", "can read again", {"broker": "b"}),
        ("WARNING", "cannot read", {"broker": "b", "error": "OSError: 3"}),
    ]


@pytest.mark.parametrize(
    "new",
    [
        "<a.B object at 0x7f{:010x}>",
        "queue celeryev.5c0ad0b5-8a3c-4a4f-9a5d-{:012x}",
        "<A(<b.C(x=<d at 0x{:x}>)>)>",
        "id: {:024x}",
    ],
)
def test_what_is_new_each_time_is_no_reason(caplog: pytest.LogCaptureFixture, new: str) -> None:
    """Addresses of objects and ids of queues do not make a line of each attempt; the words around them do."""
    caplog.set_level(logging.INFO, log.name)
    outage = OutageLog(log, "cannot read")
    for number in range(20):
        outage.fail(OSError(f"refused {new.format(number)} here"))
    outage.fail(ValueError(f"refused {new.format(1)} here"))
    outage.fail(ValueError(f"refused {new.format(2)} there"))
    assert len(lines(caplog)) == 3


def test_an_error_with_objects_in_it() -> None:
    """redis-py's message for Sentinels shows clients; what is left names the servers and what is wrong with each."""
    sentinels = [redis.Redis(host="one.example", port=port, username="u", password="p") for port in (1, 2)]
    error = MasterNotFoundError(
        f"No master for 'x' : {sentinels[0]} - auth:Error, {sentinels[1]} - {object()}"
    )
    assert one_line(error) == (
        "MasterNotFoundError: No master for 'x' : one.example:1 - auth:Error, one.example:2 - object"
    )
    assert one_line(ValueError("<a> < b")) == "ValueError: <a> < b"
    connection = "<redis.connection.Connection(host=one,port=1,db=0)>"
    older = f"<redis.client.Redis(<redis.connection.ConnectionPool({connection})>)>"
    assert one_line(ValueError(f"{older} - refused")) == "ValueError: one:1 - refused"
    assert "at 0x" not in one_line(ValueError("<" * 50_000 + "a at 0x1" + ">" * 50_000))


def test_an_error_in_one_line() -> None:
    """Its class and its words, whatever they are."""
    assert one_line(ValueError(" a\n\tb ")) == "ValueError: a b"
    assert one_line(TimeoutError()) == "TimeoutError"
