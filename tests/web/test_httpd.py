"""The server below the pages: clients that stall, flood, vanish or lie, and stopping in spite of them."""

import asyncio
import gc
import logging
import os
import socket
import time
from contextlib import ExitStack

import pytest

from benchmarks.usage import held_memory
from celery_metrics_exporter.web.http1 import Limits
from tests.serving import (
    TIMEOUT_S,
    Big,
    Slow,
    ask,
    connected,
    connections_of,
    fetch,
    raw_client,
    read_until_closed,
    registry_of,
    serving,
    url_of,
)
from tests.waiting import wait_for

PATIENT = Limits(head=60.0, answer=60.0, stall=60.0, idle=60)
SWIFT = Limits(head=0.3, answer=0.5, stall=0.3, idle=1)
HALF_A_HEAD = b"GET /metrics HTTP/1.1\r\nHost: a\r\nX-Slow: "
PROBE = b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n"
SCRAPE = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="silent"),
        pytest.param(HALF_A_HEAD, id="half a head"),
        pytest.param(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", id="missing body"),
        pytest.param(SCRAPE, id="not reading"),
    ],
)
def test_stuck_clients_do_not_block_a_scrape(data: bytes) -> None:
    """Clients that send nothing, or half a request, or do not take their answer, hold up nobody."""
    with serving(registry_of(Big()), limits=PATIENT) as server, ExitStack() as stuck:
        for _ in range(20):
            stuck.enter_context(raw_client(url_of(server), data))
        started = time.monotonic()
        assert fetch(url_of(server), "/-/healthy").status == 200
        assert fetch(url_of(server), "/metrics").status == 200
        assert time.monotonic() - started < 5


def test_half_a_request_is_told_so() -> None:
    """Clients in mid-request are told 408 after their time, and the scrape behind them is served."""
    with serving(limits=SWIFT) as server, ExitStack() as stuck:
        clients = [stuck.enter_context(raw_client(url_of(server), HALF_A_HEAD)) for _ in range(6)]
        assert fetch(url_of(server), "/metrics").status == 200
        for client in clients:
            assert read_until_closed(client).startswith(b"HTTP/1.1 408 Request Timeout\r\n")


def test_slow_client_has_its_time() -> None:
    """A client that sends its request bit by bit is answered, as long as it is done in time."""
    with serving(limits=PATIENT) as server, raw_client(url_of(server)) as client:
        for byte in HALF_A_HEAD:
            client.sendall(bytes([byte]))
            assert fetch(url_of(server), "/-/healthy").status == 200
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
    """A client that reads nothing, or a little now and then, does not keep its answer in memory beyond the limits."""
    limits = Limits(stall=60.0, answer=0.5) if greed else Limits(stall=0.3, answer=60.0)
    with (
        serving(registry_of(Big()), limits=limits) as server,
        raw_client(url_of(server), SCRAPE) as client,
    ):
        received = len(client.recv(100))

        def is_cut() -> bool:
            nonlocal received
            received += len(client.recv(greed)) if greed else 0
            return not connections_of(server)

        wait_for(is_cut, timeout=TIMEOUT_S, what="the end of a connection that does not read")
        assert received + len(read_until_closed(client)) < 20_000_000


def test_few_answers_are_kept_for_clients_that_do_not_read() -> None:
    """However many clients do not take their pages, so much of them is kept in memory, the newest ones."""
    limits = Limits(unsent=70_000_000, stall=60.0)
    with serving(registry_of(Big()), limits=limits) as server, ExitStack() as stuck:
        clients = []
        for _ in range(9):
            clients.append(stuck.enter_context(raw_client(url_of(server), SCRAPE)))
            clients[-1].recv(100)
        wait_for(lambda: connections_of(server) == 3, timeout=TIMEOUT_S, what="the end of the oldest answers")
        assert len(read_until_closed(clients[0])) < 20_000_000
        clients[-1].sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert len(read_until_closed(clients[-1])) > 20_000_000


def _ended_tasks() -> list[object]:
    """The ended tasks of asyncio that something still refers to."""
    gc.collect()
    return [each for each in gc.get_objects() if isinstance(each, asyncio.Task) and each.done()]


@pytest.mark.parametrize("scrapes", [True, False])
def test_clients_that_were_cut_leave_nothing_in_memory(*, scrapes: bool) -> None:
    """Neither a page that was not taken nor anything else of a connection is kept, once it was cut."""
    limits = Limits(unsent=1, connections=2, chance=0.01, stall=60.0)
    with serving(registry_of(Big()), limits=limits) as server, ExitStack() as clients:
        before = held_memory(os.getpid())
        for _ in range(20):
            client = clients.enter_context(raw_client(url_of(server), SCRAPE if scrapes else b"GET"))
            if scrapes:
                client.recv(100)
        wait_for(lambda: connections_of(server) <= 2, timeout=TIMEOUT_S, what="the end of the others")
        wait_for(lambda: not _ended_tasks(), timeout=TIMEOUT_S, what=lambda: f"no rest of {_ended_tasks()}")
        assert held_memory(os.getpid()) - before < 200_000_000


def test_scrapes_that_wait_share_a_page() -> None:
    """However many clients ask while a page is made, one more is made for all of them, later than they asked."""
    slow = Slow()
    with serving(registry_of(slow)) as server, ExitStack() as clients:
        first = clients.enter_context(connected(url_of(server)))
        first.request("GET", "/metrics")
        assert slow.begun.wait(TIMEOUT_S)
        later = [clients.enter_context(connected(url_of(server))) for _ in range(5)]
        for client in later:
            client.request("GET", "/metrics")
        wait_for(lambda: connections_of(server) == 6, timeout=TIMEOUT_S, what="all requests")
        assert fetch(url_of(server), "/-/healthy").status == 200
        slow.go_on.set()
        for client in (first, *later):
            with client.getresponse() as response:
                assert b"\nslow 1.0\n" in response.read()
        assert slow.times == 2


def test_idle_connections_end() -> None:
    """A connection without a request is closed after the idle time, before the first request and after it."""
    with serving(limits=SWIFT) as server:
        with raw_client(url_of(server)) as client:
            assert read_until_closed(client) == b""
        with raw_client(url_of(server), b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n") as client:
            assert b"all threads work\n" in read_until_closed(client)


def test_too_many_connections_cost_the_oldest() -> None:
    """A flood of idle connections makes room for newer ones: the longest waiting one goes, requests are served."""
    with serving(limits=Limits(connections=5, chance=0.1)) as server, ExitStack() as flood:
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
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", b"413"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", b"400"),
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
    """A body in chunks, which is left unread, is not taken for the next request."""
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
    with caplog.at_level(logging.INFO), serving(registry_of(slow), limits=Limits()) as server:
        with raw_client(url_of(server), b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n") as client:
            assert slow.begun.wait(TIMEOUT_S)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        slow.go_on.set()
        assert fetch(url_of(server), "/metrics").status == 200
    assert caplog.records == []
