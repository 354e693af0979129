"""A running web server and plain clients for it, for the tests of `web` and of what lies below."""

import http.client
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric, UnknownMetricFamily
from prometheus_client.registry import Collector

from celery_metrics_exporter.config.config import Config, ListenAddress
from celery_metrics_exporter.events.stream_state import StreamReading
from celery_metrics_exporter.status_page import StatusPage
from celery_metrics_exporter.status_page.snapshot import Snapshot
from celery_metrics_exporter.web.config_file import WebConfigFile
from celery_metrics_exporter.web.http1 import Limits
from celery_metrics_exporter.web.server import WebServer

TIMEOUT_S = 20.0
LOOPBACK = (ListenAddress("127.0.0.1", 0),)

#: An exporter that listens and has nothing to tell yet.
SEEN = Snapshot(
    now=1_700_000_060.0,
    since=1_700_000_000.0,
    config=Config(broker_url="redis://broker/0"),
    broker_name="redis://broker/0",
    subscription=StreamReading(connected=True, delivering=True, lasting=60.0),
)


@dataclass(slots=True)
class FixedStatus:
    """A status that says what it is told to say."""

    health: tuple[bool, str] = (True, "all threads work")
    readiness: tuple[bool, str] = (True, "events flow")
    seen: Snapshot = SEEN

    def healthy(self) -> tuple[bool, str]:
        """Whether the process works."""
        return self.health

    def ready(self) -> tuple[bool, str]:
        """Whether events flow."""
        return self.readiness

    def overview(self) -> Snapshot:
        """What the status page shows."""
        return self.seen


def page_of(seen: Snapshot, health: tuple[bool, str] = (True, "healthy")) -> str:
    """The status page that shows this."""
    return StatusPage(lambda: seen, lambda: health, "/metrics").body().decode()


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


class Big(Collector):
    """A collector whose exposition is larger than the buffers of any socket."""

    def collect(self) -> Iterable[Metric]:
        """One family with 20 MB of documentation."""
        yield UnknownMetricFamily("big", "x" * 20_000_000, value=1)


class Slow(Collector):
    """A collector that begins to collect and ends when it is told to."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.times = 0

    def describe(self) -> Iterable[Metric]:
        """Tell no names, so that registering does not collect."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Wait, then give one family."""
        self.times += 1
        self.begun.set()
        assert self.go_on.wait(TIMEOUT_S)
        yield UnknownMetricFamily("slow", "A family that took long.", value=1)


def registry_of(collector: Collector) -> CollectorRegistry:
    """A registry with this collector alone."""
    registry = CollectorRegistry()
    registry.register(collector)
    return registry


def url_of(server: WebServer) -> str:
    """Name the server's only address."""
    (url,) = server.urls
    return url


def connections_of(server: WebServer) -> int:
    """How many connections it has open."""
    return len(server._server._open)


@contextmanager
def serving(
    registry: CollectorRegistry | None = None,
    status: FixedStatus | None = None,
    *,
    addresses: tuple[ListenAddress, ...] = LOOPBACK,
    telemetry_path: str = "/metrics",
    config_file: Path | WebConfigFile | None = None,
    limits: Limits | None = None,
) -> Iterator[WebServer]:
    """Run a web server on a free port of 127.0.0.1, or on ``addresses``; stopped at the end."""
    server = WebServer(
        addresses,
        registry or CollectorRegistry(),
        status or FixedStatus(),
        telemetry_path=telemetry_path,
        config_file=WebConfigFile(str(config_file)) if isinstance(config_file, Path) else config_file,
        limits=limits,
    )
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def connected(url: str) -> Iterator[http.client.HTTPConnection]:
    """Connect once, for several requests."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT_S)
    try:
        yield connection
    finally:
        connection.close()


def ask(
    connection: http.client.HTTPConnection,
    path: str,
    *,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Send one request over a connection and read the whole answer."""
    connection.request(method, path, body=body, headers=dict(headers or {}))
    with connection.getresponse() as response:
        return Reply(response.status, response.read(), dict(response.headers.items()))


def fetch(
    url: str,
    path: str,
    *,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Send one request over a connection of its own."""
    with connected(url) as connection:
        return ask(connection, path, method=method, body=body, headers=headers)


@contextmanager
def raw_client(url: str, data: bytes = b"") -> Iterator[socket.socket]:
    """Connect without HTTP, and send ``data`` as it is."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=TIMEOUT_S) as sock:
        sock.sendall(data)
        yield sock


def read_until_closed(sock: socket.socket) -> bytes:
    """Read what the server still sends before it ends the connection."""
    received = bytearray()
    try:
        while data := sock.recv(65536):
            received += data
    except ConnectionResetError:
        pass
    return bytes(received)
