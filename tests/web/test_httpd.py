"""The server below the pages: clients that stall, flood, vanish or lie, and stopping in spite of them."""

import logging
import socket
import time
from contextlib import ExitStack

import pytest

from celery_metrics_exporter.web.httpd import Limits
from tests.serving import (
    TIMEOUT_S,
    Big,
    Slow,
    ask,
    connected,
    fetch,
    raw_client,
    read_until_closed,
    registry_of,
    serving,
    url_of,
)
from tests.waiting import wait_for

PATIENT = Limits(threads=3, head=60.0, answer=60.0, stall=60.0, idle=60)
SWIFT = Limits(threads=2, head=0.3, answer=0.5, stall=0.3, idle=1, tick=0.1)
HALF_A_HEAD = b"GET /metrics HTTP/1.1\r\nHost: a\r\nX-Slow: "


@pytest.mark.parametrize(
    ("data", "count"), [pytest.param(b"", 20, id="silent"), pytest.param(HALF_A_HEAD, 2, id="half a head")]
)
def test_stuck_clients_do_not_block_a_scrape(data: bytes, count: int) -> None:
    """Clients that send nothing take no thread, a handful in mid-request leaves one: a scrape is served at once."""
    with serving(limits=PATIENT) as server, ExitStack() as stuck:
        for _ in range(count):
            stuck.enter_context(raw_client(url_of(server), data))
        started = time.monotonic()
        assert fetch(url_of(server), "/metrics").status == 200
        assert time.monotonic() - started < 5


def test_more_stuck_clients_than_threads_delay_a_scrape_only() -> None:
    """Clients in mid-request are told 408 after their time, and the scrape behind them is served."""
    with serving(limits=SWIFT) as server, ExitStack() as stuck:
        clients = [stuck.enter_context(raw_client(url_of(server), HALF_A_HEAD)) for _ in range(6)]
        assert fetch(url_of(server), "/metrics").status == 200
        for client in clients:
            assert read_until_closed(client).startswith(b"HTTP/1.1 408 Request Timeout\r\n")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(HALF_A_HEAD, id="half a head"),
        pytest.param(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", id="missing body"),
        pytest.param(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", id="not reading"),
    ],
)
def test_stuck_clients_have_to_hurry_while_a_scrape_waits(data: bytes) -> None:
    """Clients that would hold every thread for a minute are cut when somebody else waits for one."""
    limits = Limits(threads=3, head=60.0, answer=60.0, stall=60.0, idle=60, hurry=0.2, tick=0.1)
    with serving(registry_of(Big()), limits=limits) as server, ExitStack() as stuck:
        for _ in range(9):
            stuck.enter_context(raw_client(url_of(server), data))
        assert fetch(url_of(server), "/-/healthy").status == 200


def test_slow_client_is_let_be_while_nobody_waits() -> None:
    """A client that holds a thread which nobody else needs has its whole time."""
    limits = Limits(threads=2, head=60.0, hurry=0.1, tick=0.05)
    with serving(limits=limits) as server, raw_client(url_of(server), HALF_A_HEAD) as client:
        until = time.monotonic() + 5 * (limits.hurry + limits.tick)
        wait_for(lambda: time.monotonic() > until, timeout=TIMEOUT_S, what="some time")
        client.sendall(b"x\r\nConnection: close\r\n\r\n")
        assert read_until_closed(client).startswith(b"HTTP/1.1 200 OK\r\n")


def test_client_that_drips_is_cut() -> None:
    """A client that sends a byte whenever it would time out still has to finish its head in time."""
    with serving(limits=SWIFT) as server, raw_client(url_of(server), HALF_A_HEAD) as client:
        client.setblocking(False)

        def cut() -> bool:
            try:
                client.send(b"x")
                return client.recv(100) == b""
            except BlockingIOError:
                return False
            except ConnectionError:
                return True

        wait_for(cut, timeout=TIMEOUT_S, what="the end of a connection that drips")


@pytest.mark.parametrize("greed", [0, 1000])
def test_client_that_does_not_take_its_answer_is_cut(greed: int) -> None:
    """A client that reads nothing, or a little now and then, does not keep a thread beyond the limits."""
    limits = Limits(
        threads=1, stall=0.3 if greed == 0 else 60.0, answer=60.0 if greed == 0 else 0.5, tick=0.1
    )
    with serving(registry_of(Big()), limits=limits) as server:
        request = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"
        with raw_client(url_of(server), request) as client, ExitStack() as others:
            client.setblocking(False)
            probe = others.enter_context(
                raw_client(url_of(server), b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n")
            )
            probe.setblocking(False)

            def answered() -> bytes:
                try:
                    if greed:
                        client.recv(greed)
                except (BlockingIOError, ConnectionError):
                    pass
                try:
                    return probe.recv(1000)
                except BlockingIOError:
                    return b""

            answer = wait_for(answered, timeout=TIMEOUT_S, what="the only thread to come free")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


def test_idle_connections_end() -> None:
    """A connection without a request is closed after the idle time, before the first request and after it."""
    with serving(limits=SWIFT) as server:
        with raw_client(url_of(server)) as client:
            assert read_until_closed(client) == b""
        with raw_client(url_of(server), b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n") as client:
            assert b"all threads work\n" in read_until_closed(client)


def test_too_many_connections_cost_the_oldest() -> None:
    """A flood of idle connections makes room for newer ones: the longest waiting one goes, requests are served."""
    with serving(limits=Limits(threads=2, connections=5)) as server, ExitStack() as flood:
        oldest = flood.enter_context(raw_client(url_of(server)))
        for _ in range(5):
            flood.enter_context(raw_client(url_of(server)))
        assert read_until_closed(oldest) == b""
        assert fetch(url_of(server), "/-/healthy").status == 200


def test_kept_connection_serves_again() -> None:
    """Requests one after the other, even sent at once, are answered over one connection."""
    with serving() as server:
        with connected(url_of(server)) as connection:
            assert ask(connection, "/-/healthy").status == 200
            port = connection.sock.getsockname()[1]
            assert ask(connection, "/absent").status == 404
            assert ask(connection, "/-/ready").status == 200
            assert connection.sock.getsockname()[1] == port
        pipelined = b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n" * 2
        last = b"GET /-/ready HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        with raw_client(url_of(server), pipelined + last) as client:
            assert read_until_closed(client).count(b"HTTP/1.1 200 OK\r\n") == 3


def test_http_10_is_understood() -> None:
    """An old client without Host and keep-alive gets its answer and the end of the connection."""
    with serving() as server, raw_client(url_of(server), b"GET /-/healthy HTTP/1.0\r\n\r\n") as client:
        assert read_until_closed(client).endswith(b"\r\n\r\nall threads work\n")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", b"413"),
        (b"GET / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", b"413"),
        (b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\nHost: a\n\n", b"400"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
        (b"GET / HTTP/2.0\r\n\r\n", b"505"),
        (b"GET /../metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"404"),
    ],
)
def test_bad_requests_are_refused(request_bytes: bytes, status: bytes) -> None:
    """What is too large or no request is refused with a status of its own, and ends the connection."""
    with serving() as server, raw_client(url_of(server), request_bytes) as client:
        assert read_until_closed(client).split(b" ", 2)[1] == status
        assert fetch(url_of(server), "/-/healthy").status == 200


def test_chunked_body_is_no_second_request() -> None:
    """A body in chunks, which cheroot leaves unread, is not taken for the next request."""
    inner = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(inner), inner)
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    with serving() as server, raw_client(url_of(server), head + body) as client:
        answer = read_until_closed(client)
    assert answer.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
    assert answer.count(b"HTTP/1.1") == 1


def test_clients_that_vanish_are_no_errors(caplog: pytest.LogCaptureFixture) -> None:
    """A client that resets its connection in the middle of the answer leaves no warning and no dead thread."""
    slow = Slow()
    with caplog.at_level(logging.INFO), serving(registry_of(slow), limits=Limits(threads=1)) as server:
        with raw_client(url_of(server), b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n") as client:
            assert slow.begun.wait(TIMEOUT_S)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        slow.go_on.set()
        assert fetch(url_of(server), "/metrics").status == 200
    assert caplog.records == []
