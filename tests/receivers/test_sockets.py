"""Pauses between reads: after a little, never while more waits, and with TLS too."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
import trustme

from celery_metrics_exporter.receivers.sockets import BUSY_BYTES, PAUSE_SECONDS, ReadPauses

HOST = "pauses.test"


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that are made, which take no time."""
    made: list[float] = []
    monkeypatch.setattr("time.sleep", made.append)
    return made


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection, ours first."""
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        yield ours, theirs


@pytest.fixture
def tls_ends(ends: tuple[socket.socket, socket.socket]) -> Iterator[tuple[socket.socket, socket.socket]]:
    """The same over TLS."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.num_tickets = 0
    authority.issue_cert(HOST).configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    ours = client.wrap_socket(ends[0], server_hostname=HOST, do_handshake_on_connect=False)
    shaking = threading.Thread(target=ours.do_handshake)
    shaking.start()
    theirs = server.wrap_socket(ends[1], server_side=True)
    shaking.join(5)
    with closing(ours), closing(theirs):
        yield ours, theirs


def test_a_pause_after_little(ends: tuple[socket.socket, socket.socket], slept: list[float]) -> None:
    """A read that was worth its wakeup is followed by another at once."""
    pauses = ReadPauses(ends[0])
    for size in (1, BUSY_BYTES - 1, BUSY_BYTES, 4 * BUSY_BYTES):
        pauses.wait_after(size)
    assert slept == [PAUSE_SECONDS] * 2


def test_no_pause_before_the_next_record(
    tls_ends: tuple[socket.socket, socket.socket], slept: list[float]
) -> None:
    """With TLS each small message is a record, and each record a read: there is one pause after the last of them."""
    ours, theirs = tls_ends
    pauses = ReadPauses(ours)
    for number in range(2):
        for _ in range(50):
            theirs.sendall(b"message")
        reads = 0
        while len(slept) == number:
            pauses.wait_after(len(ours.recv(BUSY_BYTES)))
            reads += 1
        assert reads == 50
