"""TLS on the real server: clients that stall, vanish or speak something else, and stopping in spite of them."""

import logging
import socket
import ssl
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from celery_metrics_exporter.config.config import ListenAddress
from celery_metrics_exporter.web.config_file import WebConfigFile
from celery_metrics_exporter.web.http1 import Limits
from celery_metrics_exporter.web.server import WebServer
from tests.integration.tls_clients import get, handshaken, only, refused, secured
from tests.serving import (
    LOOPBACK,
    TIMEOUT_S,
    Big,
    FixedStatus,
    raw_client,
    read_until_closed,
    registry_of,
    serving,
    url_of,
)
from tests.waiting import wait_for
from tests.web_files import WebFiles

PATIENT = Limits(head=60.0, answer=60.0, stall=60.0, idle=60)
REQUEST = b"GET /-/ready HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def files(tmp_path: Path) -> WebFiles:
    """Certificates in a folder of their own."""
    return WebFiles.create(tmp_path)


@pytest.mark.parametrize("data", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"], ids=len)
def test_stuck_handshakes_do_not_block_a_scrape(files: WebFiles, data: bytes) -> None:
    """Clients that say nothing, or stop in mid-handshake, hold up nobody: a scrape is served."""
    with serving(config_file=files.write_tls(), limits=PATIENT) as server, ExitStack() as stuck:
        for _ in range(20):
            stuck.enter_context(raw_client(url_of(server), data))
        assert get(server, files.client()).status == 200


def test_silent_clients_after_their_handshake_hold_up_nobody(files: WebFiles) -> None:
    """Clients that shook hands and say nothing hold up nobody, and are answered when they ask."""
    with serving(config_file=files.write_tls(), limits=PATIENT) as server, ExitStack() as stuck:
        silent = [stuck.enter_context(handshaken(server, files.client())) for _ in range(9)]
        assert get(server, files.client()).status == 200
        for sock in silent:
            sock.sendall(REQUEST)
            assert sock.recv(100).startswith(b"HTTP/1.1 200")


def test_requests_in_one_record(files: WebFiles) -> None:
    """Requests that were decrypted together are all answered, though the socket has nothing more to read."""
    with serving(config_file=files.write_tls()) as server, handshaken(server, files.client()) as sock:
        sock.sendall(REQUEST * 3)
        received = b""
        while received.count(b"HTTP/1.1 200") < 3:
            received += sock.recv(65536)


def test_plain_http_is_told_so(files: WebFiles) -> None:
    """A client that speaks plain HTTP to the TLS port gets an answer that it can read."""
    with (
        serving(config_file=files.write_tls()) as server,
        raw_client(url_of(server), b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n") as client,
    ):
        answer = read_until_closed(client)
    assert answer.startswith(b"HTTP/1.0 400 ")
    assert answer.endswith(b"this port speaks https, not http\n")


@pytest.mark.parametrize("data", [b"\x00" * 50, b"\x16" * 50, b"\x16\x03\x01\x00\x05hello", b"\x80\x2e\x01"])
def test_nonsense_is_cut(files: WebFiles, data: bytes) -> None:
    """Bytes that are no TLS end the connection, not the server; no HTTP is said to them."""
    limits = Limits(head=0.3)
    with serving(config_file=files.write_tls(), limits=limits) as server:
        with raw_client(url_of(server), data) as client:
            assert b"HTTP" not in read_until_closed(client)
        assert get(server, files.client()).status == 200


def test_plain_request_behind_a_handshake_is_none(files: WebFiles) -> None:
    """What a client sends in plain behind its handshake is not answered."""
    limits = Limits(head=0.3)
    with (
        serving(config_file=files.write_tls(), limits=limits) as server,
        raw_client(url_of(server)) as client,
    ):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = files.client().wrap_bio(incoming, outgoing, server_hostname="localhost")
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                client.sendall(outgoing.read())
                incoming.write(client.recv(65536))
        client.sendall(outgoing.read() + REQUEST)
        assert b"HTTP/1.1" not in read_until_closed(client)


def test_failed_handshakes_fill_no_log(files: WebFiles, caplog: pytest.LogCaptureFixture) -> None:
    """However many handshakes fail, a minute has one line, which names reason and client, and no traceback."""
    with (
        serving(config_file=files.write_tls("min_version: TLS13")) as server,
        caplog.at_level(logging.INFO),
    ):
        for _ in range(5):
            assert refused(server, only(files.client(), ssl.TLSVersion.TLSv1_2))
        with raw_client(url_of(server)):
            pass
    (record,) = caplog.records
    assert record.exc_info is None
    assert getattr(record, "fields", {}) == {
        "reason": "unsupported protocol",
        "client": "127.0.0.1",
        "since_last_line": 1,
    }


@pytest.mark.parametrize("kind", ["silent", "half a handshake", "kept", "not reading"])
def test_stop_in_spite_of_tls_clients(files: WebFiles, kind: str) -> None:
    """The server stops in 2 s (busy machines: 4) whatever its clients do, and leaves no thread behind."""
    before = set(threading.enumerate())
    path = files.write_tls()
    file = WebConfigFile(str(path))
    server = WebServer(LOOPBACK, registry_of(Big()), FixedStatus(), config_file=file, limits=PATIENT)
    server.start()
    with ExitStack() as clients:
        for _ in range(6):
            if kind == "silent":
                clients.enter_context(raw_client(url_of(server)))
            elif kind == "half a handshake":
                clients.enter_context(raw_client(url_of(server), b"\x16\x03\x01\x02\x00\x01"))
            elif kind == "kept":
                clients.enter_context(secured(url_of(server), files.client())).request("GET", "/-/ready")
            else:
                ssl_socket = clients.enter_context(handshaken(server, files.client()))
                ssl_socket.sendall(REQUEST.replace(b"/-/ready", b"/metrics"))
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 4
    wait_for(lambda: set(threading.enumerate()) <= before, timeout=TIMEOUT_S, what="the end of all threads")


def test_goodbye_is_said(files: WebFiles) -> None:
    """A connection that the server ends, ends with TLS' own farewell: nobody could have cut it short."""
    with serving(config_file=files.write_tls()) as server, raw_client(url_of(server)) as sock:
        context = files.client()
        with context.wrap_socket(sock, server_hostname="localhost", suppress_ragged_eofs=False) as client:
            client.sendall(b"GET /-/ready HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            while client.recv(65536):
                pass


def test_ipv6(files: WebFiles) -> None:
    """The handshake's log and everything else works over IPv6 as well."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 on this machine")
    with serving(config_file=files.write_tls(), addresses=(ListenAddress("::1", 0),)) as server:
        context = files.client()
        context.check_hostname = False
        assert get(server, context).status == 200
