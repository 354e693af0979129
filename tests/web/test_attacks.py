"""The real exporter's port under attack: it goes on serving, at once. Its broker is nowhere, which does not matter."""

import os
import resource
import socket
import ssl
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.command import COMMAND
from tests.integration.servers import HOST, ExporterProcess
from tests.integration.tls_clients import secured
from tests.serving import ask, connected, fetch, raw_client, read_until_closed, serving, url_of
from tests.waiting import wait_for
from tests.web.floods import HALF_A_BODY, HALF_A_HEAD, HALF_A_HELLO, Flood, many_files
from tests.web_files import WebFiles

TIMEOUT_S = 60.0
NOWHERE = ("--broker-url", f"redis://{HOST}:1/0")


@contextmanager
def attacked(folder: Path, *options: str, files: int = 1024) -> Iterator[ExporterProcess]:
    """An exporter that may open so many files."""
    limited = ("sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", *COMMAND)
    with (
        many_files(),
        ExporterProcess(folder / "exporter", (*NOWHERE, *options), command=limited) as exporter,
    ):
        yield exporter


def seconds_for(url: str, path: str, context: ssl.SSLContext | None) -> float:
    """How long a new client waits for its answer."""
    began = time.monotonic()
    with connected(url) if context is None else secured(url, context) as connection:
        assert ask(connection, path).status == 200
    return time.monotonic() - began


@pytest.mark.parametrize("count", [110, 240, 1000])
@pytest.mark.parametrize("tls", [False, True])
def test_half_sent_requests_delay_nobody(tmp_path: Path, count: int, *, tls: bool) -> None:
    """While many clients send half a request, or half a hello, again and again, others are answered within a second."""
    files = WebFiles.create(tmp_path)
    options = ("--web.config.file", str(files.write_tls())) if tls else ()
    context = files.client() if tls else None
    with (
        attacked(tmp_path, *options) as exporter,
        Flood(exporter.url, count, HALF_A_HELLO if tls else HALF_A_HEAD) as flood,
    ):
        wait_for(lambda: flood.sent >= count, timeout=TIMEOUT_S, what=lambda: f"the flood: {flood.sent}")
        for path in ("/-/healthy", "/metrics"):
            assert statistics.median(seconds_for(exporter.url, path, context) for _ in range(7)) < 1


@pytest.mark.parametrize("data", [b"", HALF_A_HEAD, HALF_A_BODY])
@pytest.mark.parametrize(("files", "count"), [(64, 200), (256, 500)])
def test_clients_beyond_few_descriptors_delay_nobody(
    tmp_path: Path, files: int, count: int, data: bytes
) -> None:
    """Where few connections fit, those that have waited longest make room for others steadily, not once a second."""
    with attacked(tmp_path, files=files) as exporter, Flood(exporter.url, count, data) as flood:
        wait_for(lambda: flood.sent >= count, timeout=TIMEOUT_S, what=lambda: f"the flood: {flood.sent}")
        for path in ("/-/healthy", "/metrics"):
            assert statistics.median(seconds_for(exporter.url, path, None) for _ in range(5)) < 2
        assert (exporter.value("celery_exporter_web_connections_cut_total", reason="waiting") or 0) > 100


def test_connections_beyond_all_descriptors_do_not_end_the_port(tmp_path: Path) -> None:
    """After 2,000 connections, more than the exporter may open files, the port serves as before."""
    with attacked(tmp_path) as exporter:
        with ExitStack() as clients:
            for _ in range(2000):
                clients.enter_context(raw_client(exporter.url))
        for path in ("/-/healthy", "/metrics"):
            assert fetch(exporter.url, path).status == 200
        assert "Traceback" not in exporter.stderr


def test_port_outlives_a_lack_of_descriptors(caplog: pytest.LogCaptureFixture) -> None:
    """Where the process can open nothing any more, clients wait until it can; one line tells it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack, serving() as server:
        clients = [stack.enter_context(socket.socket()) for _ in range(3)]
        host, _, port = url_of(server).removeprefix("http://").rpartition(":")
        fillers: list[int] = []
        highest = max(int(file.name) for file in Path("/proc/self/fd").iterdir())
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
        try:
            with suppress(OSError):
                while True:
                    fillers.append(os.open(os.devnull, os.O_RDONLY))
            for client in clients:
                client.settimeout(TIMEOUT_S)
                client.connect((host, int(port)))
            wait_for(lambda: caplog.records, timeout=TIMEOUT_S, what="a line that tells it")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for filler in fillers:
                os.close(filler)
        for client in clients:
            client.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert read_until_closed(client).endswith(b"all threads work\n")
        assert server._server._count["descriptors"] > 0
    (record,) = caplog.records
    assert record.getMessage() == "connections cannot be accepted"
    assert getattr(record, "fields", {})["error"] == "Too many open files"
