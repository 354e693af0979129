"""Stopping the server: quickly, whatever its clients do, and without cutting an answer short."""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from celery_metrics_exporter.web.config_file import WebConfigFile
from celery_metrics_exporter.web.http1 import Limits
from celery_metrics_exporter.web.server import WebServer
from tests.serving import (
    LOOPBACK,
    TIMEOUT_S,
    Big,
    FixedStatus,
    Slow,
    connected,
    fetch,
    raw_client,
    registry_of,
    serving,
    url_of,
)
from tests.waiting import wait_for
from tests.web_files import WebFiles, users

PATIENT = Limits(head=60.0, answer=60.0, stall=60.0, idle=60)
HALF_A_HEAD = b"GET /metrics HTTP/1.1\r\nHost: a\r\nX-Slow: "


@pytest.mark.parametrize("count", [1, 6])
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="silent"),
        pytest.param(b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n", id="kept"),
        pytest.param(HALF_A_HEAD, id="half a head"),
        pytest.param(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", id="missing body"),
        pytest.param(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", id="not reading"),
    ],
)
def test_stop_in_spite_of_clients(data: bytes, count: int) -> None:
    """The server stops in 2 s (busy machines: 4) whatever its clients do, and leaves no thread behind."""
    before = set(threading.enumerate())
    server = WebServer(LOOPBACK, registry_of(Big()), FixedStatus(), limits=PATIENT)
    server.start()
    with ExitStack() as clients:
        for _ in range(count):
            clients.enter_context(raw_client(url_of(server), data))
        assert count == 6 or fetch(url_of(server), "/-/ready").status == 200
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 4
    wait_for(lambda: set(threading.enumerate()) <= before, timeout=TIMEOUT_S, what="the end of all threads")


def test_answer_under_way_is_finished_at_stop() -> None:
    """A scrape that is being answered when the server is told to stop gets its whole answer."""
    slow = Slow()
    with serving(registry_of(slow)) as server, connected(url_of(server)) as connection:
        connection.request("GET", "/metrics")
        assert slow.begun.wait(TIMEOUT_S)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        wait_for(refused(url_of(server)), timeout=TIMEOUT_S, what="a server that takes no more connections")
        slow.go_on.set()
        with connection.getresponse() as response:
            assert b"\nslow 1.0\n" in response.read()
        stopping.join()


def test_stop_in_spite_of_a_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a check of bcrypt that takes long nor the logins that wait for it hold up the end."""
    begun, go_on = threading.Event(), threading.Event()

    def check(_password: bytes, _hash: bytes) -> bool:
        begun.set()
        return not go_on.wait(TIMEOUT_S)

    monkeypatch.setattr(
        "celery_metrics_exporter.web.users.Users.__init__.__kwdefaults__",
        {"check": check, "cpu_seconds": float},
    )
    path = WebFiles.create(tmp_path).write(users("alice"))
    before = set(threading.enumerate())
    server = WebServer(LOOPBACK, registry_of(Big()), FixedStatus(), config_file=WebConfigFile(str(path)))
    server.start()
    login = b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YWxpY2U6eA==\r\n\r\n"
    with raw_client(url_of(server), login):
        assert begun.wait(TIMEOUT_S)
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 4
        go_on.set()
    wait_for(lambda: set(threading.enumerate()) <= before, timeout=TIMEOUT_S, what="the end of all threads")


def refused(url: str) -> Callable[[], bool]:
    """Make a condition that holds when nobody listens there."""

    def condition() -> bool:
        try:
            with raw_client(url):
                return False
        except OSError:
            return True

    return condition
