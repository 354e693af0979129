"""Requests as RFC 9112 has them: which are refused, with which status, and what is said to HEAD."""

import logging

import pytest

from tests.serving import fetch, raw_client, read_until_closed, serving, url_of

HEAD = b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n"
ODD_HOSTS = (
    *(
        b"[::1",
        b"::1]",
        b"[x]",
        b"[1.2.3.4]",
        b"[::1]x",
        b"[::1]:x",
        b"[v1.x]",
        b"a:-1",
        b"a:80:80",
        b"a:123456",
    ),
    *(b"a b", b"a,b", b"a, b", b"a\\b", b"a|b", b"<a>", b"u:p@a", b"a@b", b'"a"', b"\xc3\xa9"),
)


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(b"GET http://[::1/ HTTP/1.1\r\nHost: a\r\n\r\n", id="target with half a bracket"),
        pytest.param(b"GET http://[x]/ HTTP/1.1\r\nHost: a\r\n\r\n", id="target with no address in brackets"),
        pytest.param(b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", id="target of another scheme"),
        pytest.param(b"GET http:/-/healthy HTTP/1.1\r\nHost: a\r\n\r\n", id="target without a host"),
        *[
            pytest.param(
                b"GET http://%s/-/healthy HTTP/1.1\r\nHost: a\r\n\r\n" % host,
                id=f"host {host!r} in the target",
            )
            for host in ODD_HOSTS
        ],
        *[
            pytest.param(b"GET /-/healthy HTTP/1.1\r\nHost: %s\r\n\r\n" % host, id=f"host {host!r}")
            for host in ODD_HOSTS
        ],
        pytest.param(b"GET http://:80/-/healthy HTTP/1.1\r\nHost: a\r\n\r\n", id="target with a port alone"),
        pytest.param(b"GET http://a#x HTTP/1.1\r\nHost: a\r\n\r\n", id="target with a fragment"),
        pytest.param(b"GET /-/healthy#x HTTP/1.1\r\nHost: a\r\n\r\n", id="path with a fragment"),
        pytest.param(b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", id="NUL in the target"),
        pytest.param(b"GET metrics HTTP/1.1\r\nHost: a\r\n\r\n", id="target without a slash"),
        pytest.param(b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", id="CONNECT"),
        pytest.param(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", id="the server itself"),
        pytest.param(b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", id="target that is not ASCII"),
        pytest.param(b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", id="two spaces"),
        pytest.param(b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", id="a space first"),
        pytest.param(
            b"GET /-/healthy HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n",
            id="first line of headers begins with a space",
        ),
        pytest.param(
            b"GET /-/healthy HTTP/1.1\r\n\tX: a\r\nHost: a\r\n\r\n",
            id="first line of headers begins with a tab",
        ),
        pytest.param(HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", id="two lengths"),
        pytest.param(HEAD + b"Content-Length: 1, 2\r\n\r\nxx", id="two lengths in one line"),
        pytest.param(HEAD + b"Content-Length: +1\r\n\r\nx", id="length with a plus"),
        pytest.param(HEAD + b"Content-Length: -1\r\n\r\nx", id="length with a minus"),
        pytest.param(HEAD + b"Content-Length: 1_0\r\n\r\n" + b"x" * 10, id="length with an underscore"),
        pytest.param(HEAD + b"Content-Length: 0x1\r\n\r\nx", id="hexadecimal length"),
        pytest.param(HEAD + b"Content-Length: \xd9\xa1\r\n\r\nx", id="length in other digits"),
        pytest.param(HEAD + b"Content-Length: \r\n\r\n", id="empty length"),
        pytest.param(b"GET /-/healthy HTTP/1.1\r\n\r\n", id="no host"),
        pytest.param(HEAD + b"Host: b\r\n\r\n", id="two hosts"),
        pytest.param(HEAD + b"X: a\rb\r\n\r\n", id="CR in a value"),
        pytest.param(HEAD + b"X\r: a\r\n\r\n", id="CR in a name"),
        pytest.param(HEAD + b"X: a\0b\r\n\r\n", id="NUL in a value"),
        pytest.param(HEAD + b"X\0: a\r\n\r\n", id="NUL in a name"),
        pytest.param(HEAD + b"X : a\r\n\r\n", id="space behind a name"),
        pytest.param(HEAD + b": a\r\n\r\n", id="no name"),
        pytest.param(HEAD + b"X: a\r\n b\r\n\r\n", id="value that goes on after a space"),
        pytest.param(HEAD + b"X: a\r\n\tb\r\n\r\n", id="value that goes on after a tab"),
        pytest.param(HEAD + b"X: a\r\n \r\nY: b\r\n\r\n", id="value that goes on with nothing"),
        pytest.param(
            HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            id="two ends of a body",
        ),
        pytest.param(
            b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="chunks before HTTP/1.1"
        ),
        pytest.param(HEAD + b"nonsense\r\n\r\n", id="no colon"),
        pytest.param(HEAD + b"X: a\nY: b\r\n\r\n", id="LF alone"),
        pytest.param(HEAD[:-2] + b"\n\r\n", id="LF alone at the end"),
    ],
)
def test_bad_request_is_a_400_and_no_more(request_bytes: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """It is refused once, the connection ends, and nothing of it is in the log."""
    with caplog.at_level(logging.INFO), serving() as server:
        with raw_client(url_of(server), request_bytes) as client:
            answer = read_until_closed(client)
        assert fetch(url_of(server), "/-/healthy").status == 200
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.endswith(b"\r\n\r\nBad Request\n")
    assert answer.count(b"HTTP/1.1") == 1
    assert caplog.records == []


@pytest.mark.parametrize("size", [1, 7])
def test_request_in_pieces_is_judged_alike(size: int) -> None:
    """Where a request is cut on its way makes no difference, neither for a good one nor for a bad one."""
    for request, status in (
        (HEAD + b"Connection: close\r\n\r\n", b"200"),
        (HEAD + b"X: a\nY: b\r\n\r\n", b"400"),
    ):
        with serving() as server, raw_client(url_of(server)) as client:
            for start in range(0, len(request), size):
                try:
                    client.sendall(request[start : start + size])
                except ConnectionError:
                    break
            assert read_until_closed(client).split(b" ", 2)[1] == status


@pytest.mark.parametrize(
    ("rest", "status"),
    [
        (b"/-/healthy HTTP/1.1\r\n\r\n", 400),
        (b"/-/healthy HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400),
        (b"/-/healthy HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n", 413),
        (b"/-/healthy HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"/" + b"a" * 20_000, 414),
        (b"/absent HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 404),
    ],
)
def test_error_for_head_has_no_body(rest: bytes, status: int) -> None:
    """A client that asks with HEAD is told what is wrong by the status alone."""
    with serving() as server, raw_client(url_of(server), b"HEAD " + rest) as client:
        head, end, body = read_until_closed(client).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert (end, body) == (b"\r\n\r\n", b"")


@pytest.mark.parametrize(
    ("target", "status"),
    [(b"http://a:9808/-/healthy?x=1", b"200"), (b"HTTPS://[::1]/absent", b"404"), (b"http://a", b"200")],
)
def test_whole_url_is_understood(target: bytes, status: bytes) -> None:
    """A request may name the whole URL (RFC 9112, 3.2.2)."""
    request = b"GET " + target + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    with serving() as server, raw_client(url_of(server), request) as client:
        assert read_until_closed(client).split(b" ", 2)[1] == status


def test_upgrade_is_ignored() -> None:
    """A client that offers another protocol goes on with this one."""
    request = HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    last = HEAD + b"Connection: close\r\n\r\n"
    with serving() as server, raw_client(url_of(server), request * 2 + last) as client:
        assert read_until_closed(client).count(b"HTTP/1.1 200 OK\r\n") == 3


@pytest.mark.parametrize(
    "coding",
    [
        b"gzip",
        b"identity",
        b"gzip, chunked",
        b"chunked, gzip",
        b"chunked, chunked",
        b"chunked;a=b",
        b"xchunked",
        b"",
    ],
)
def test_unknown_transfer_encoding_is_not_implemented(coding: bytes) -> None:
    """How such a body ends is not known: it is refused."""
    request = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: %s\r\n\r\n" % coding
    with serving() as server, raw_client(url_of(server), request) as client:
        assert read_until_closed(client).startswith(b"HTTP/1.1 501 Not Implemented\r\n")


def test_body_is_asked_for() -> None:
    """A client that waits for leave to send its body gets it, then its answer."""
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    with serving() as server, raw_client(url_of(server), head) as client:
        assert client.recv(100) == b"HTTP/1.1 100 \r\n\r\n"
        client.sendall(b"x")
        assert read_until_closed(client).startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")


@pytest.mark.parametrize(
    "host", [b"", b"a", b"a_b.c-d:9808", b"1.2.3.4:80", b"[::1]:9808", b"[fe80::1%25eth0]", b"a:"]
)
def test_host_that_a_client_may_send(host: bytes) -> None:
    """Names, addresses of both kinds and nothing at all are fine, with a port or without one."""
    request = b"GET /-/healthy HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % host
    with serving() as server, raw_client(url_of(server), request) as client:
        assert read_until_closed(client).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("name", "value", "gets"),
    [
        ("Accept-Encoding", "gzip", "gzip"),
        ("Accept-Encoding", "deflate, GZIP;q=0.001", "gzip"),
        ("Accept-Encoding", "gzip;q=0", None),
        ("Accept-Encoding", "gzip ; Q=0.000, deflate", None),
        ("Accept", "application/openmetrics-text", "application/openmetrics-text"),
        ("Accept", "application/openmetrics-text;q=0", "text/plain"),
        ("Accept", "application/openmetrics-text;version=1.0.0;q=0.0,text/plain;q=0.5", "text/plain"),
    ],
)
def test_quality_of_0_is_obeyed(name: str, value: str, gets: str | None) -> None:
    """What a client says that it does not want, it does not get (RFC 9110, 12.4.2)."""
    with serving() as server:
        reply = fetch(url_of(server), "/metrics", headers={name: value})
    got = reply.headers.get("Content-Encoding" if name == "Accept-Encoding" else "Content-Type")
    assert (got.partition(";")[0] if got else None) == gets
