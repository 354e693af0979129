"""Addresses: what is bound, what its URL is, and the one line when it cannot be."""

import socket
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from celery_metrics_exporter.config.config import ListenAddress
from celery_metrics_exporter.web.listening import ListenError, listen
from celery_metrics_exporter.web.server import WebServer
from tests.serving import FixedStatus, fetch, serving


def has_ipv6() -> bool:
    """Tell whether this machine has an IPv6 loopback address."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")


@pytest.fixture
def taken() -> Iterator[int]:
    """A port of 127.0.0.1 on which somebody else listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()[1]


def healthy(url: str) -> bool:
    """Ask a server over this URL how it is."""
    return fetch(url, "/-/healthy").status == 200


def test_port_0_gives_the_real_port() -> None:
    """The system chooses the port and `urls` tells it."""
    with serving(addresses=(ListenAddress("127.0.0.1", 0),)) as server:
        (url,) = server.urls
        assert url.startswith("http://127.0.0.1:")
        assert not url.endswith(":0")
        assert healthy(url)


def test_every_address_is_served() -> None:
    """Two addresses give two URLs, in their order, and both answer."""
    with serving(addresses=(ListenAddress("127.0.0.1", 0), ListenAddress("127.0.0.2", 0))) as server:
        first, second = server.urls
        assert first.startswith("http://127.0.0.1:")
        assert second.startswith("http://127.0.0.2:")
        assert healthy(first)
        assert healthy(second)


@needs_ipv6
def test_ipv6_address() -> None:
    """An IPv6 address is served and stands in brackets in its URL."""
    with serving(addresses=(ListenAddress("::1", 0),)) as server:
        (url,) = server.urls
        assert url.startswith("http://[::1]:")
        assert healthy(url)


@needs_ipv6
@pytest.mark.parametrize("host", ["", "::"])
def test_every_interface_is_ipv4_and_ipv6(host: str) -> None:
    """The wildcard answers on both protocols on one port; its URL says localhost."""
    with serving(addresses=(ListenAddress(host, 0),)) as server:
        (url,) = server.urls
        assert url.startswith("http://localhost:")
        port = url.rpartition(":")[2]
        assert healthy(f"http://127.0.0.1:{port}")
        assert healthy(f"http://[::1]:{port}")


def test_every_interface_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no IPv6 the wildcard is IPv4 alone."""
    monkeypatch.setattr(socket, "has_ipv6", False)
    with listen(ListenAddress("", 0)) as sock:
        assert sock.family == socket.AF_INET
        assert sock.getsockname()[0] == "0.0.0.0"  # noqa: S104 - what is expected


def test_name_is_ipv4_first() -> None:
    """A name with addresses of both kinds gives IPv4, which scrapers reach everywhere."""
    with listen(ListenAddress("localhost", 0)) as sock:
        assert sock.getsockname()[0] == "127.0.0.1"


def test_port_in_use(taken: int) -> None:
    """A port that somebody else has is said in one line, with what to do."""
    with pytest.raises(ListenError) as caught:
        listen(ListenAddress("127.0.0.1", taken))
    assert str(caught.value) == (
        f"cannot listen on 127.0.0.1:{taken}: "
        "address already in use; choose another with --web.listen-address"
    )


def test_port_in_use_on_one_protocol(taken: int) -> None:
    """The wildcard does not silently take IPv6 alone when IPv4's port is in use."""
    with pytest.raises(ListenError, match=f"cannot listen on :{taken}: address already in use"):
        listen(ListenAddress("", taken))


@pytest.mark.parametrize(
    ("host", "port", "line"),
    [
        ("192.0.2.77", 9808, "cannot listen on 192.0.2.77:9808: no such address on this machine"),
        ("2001:db8::7", 9808, "cannot listen on [2001:db8::7]:9808: no "),
        ("no-such-host.invalid", 9808, "cannot listen on no-such-host.invalid:9808: no such host"),
        ("a..b", 9808, "cannot listen on a..b:9808: not an address"),
        ("127.0.0.1:9808", 0, "cannot listen on [127.0.0.1:9808]:0: no such host"),
    ],
)
def test_bad_addresses(host: str, port: int, line: str) -> None:
    """An address that cannot be had is one clear line that names the option."""
    with pytest.raises(ListenError) as caught:
        listen(ListenAddress(host, port))
    assert str(caught.value).startswith(line)
    assert "--web.listen-address" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nothing_is_served_when_one_address_fails(taken: int) -> None:
    """All addresses are bound before any is served: after a failure the first is free again."""
    with listen(ListenAddress("127.0.0.1", 0)) as sock:
        free = sock.getsockname()[1]
    server = WebServer(
        [ListenAddress("127.0.0.1", free), ListenAddress("127.0.0.1", taken)],
        CollectorRegistry(),
        FixedStatus(),
    )
    with pytest.raises(ListenError):
        server.start()
    assert server.urls == ()
    listen(ListenAddress("127.0.0.1", free)).close()
    server.stop()


def test_a_stopped_server_frees_its_port() -> None:
    """A new server can have the port at once, although old connections linger in TIME_WAIT."""
    with serving() as server:
        (url,) = server.urls
        assert healthy(url)
    port = int(url.rpartition(":")[2])
    with serving(addresses=(ListenAddress("127.0.0.1", port),)) as again:
        assert again.urls == (url,)
        assert healthy(url)
