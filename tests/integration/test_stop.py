"""A stop in awkward moments: exit code 0, no traceback, and the page is served to the end."""

import signal
import socket
import sys
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.integration.event_sender import EventSender
from tests.integration.known_counts import wait_until_receiving
from tests.integration.servers import HOST, ExporterProcess, Valkey
from tests.waiting import wait_for

StartExporter = Callable[..., ExporterProcess]

#: Twice the five seconds that are promised: a test's machine has other work too.
STOP_S = 10.0
CONNECTED = "celery_exporter_receiver_connected"
REQUEST = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"
#: The exporter with a name service that never answers for one name, as one does whose packets are lost.
DEAF_RESOLVER = """
import socket, sys, threading
known = socket.getaddrinfo
def getaddrinfo(host, *args, **kwargs):
    if host == "broker.invalid":
        print("asked for broker.invalid", file=sys.stderr, flush=True)
        threading.Event().wait()
    return known(host, *args, **kwargs)
socket.getaddrinfo = getaddrinfo
from celery_metrics_exporter.cli.main import main
sys.exit(main(sys.argv[1:]))
"""

#: The exporter, told to end at each line of `threading` by which its main thread waits for that, lock or no lock.
TOLD_WHILE_IT_WAITS = """
import os, signal, sys, threading
from celery_metrics_exporter.app import Exporter
from celery_metrics_exporter.cli.main import main
def tell(*_):
    os.kill(os.getpid(), signal.SIGTERM)
    return tell
def trace(frame, *_):
    waits = frame.f_back is not None and frame.f_back.f_code is Exporter.run.__code__
    return tell if waits and frame.f_code.co_filename == threading.__file__ else None
sys.settrace(trace)
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port whose queue of connections is full: a packet that asks for one more is dropped."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((HOST, 0), backlog=0))
        port = int(listener.getsockname()[1])
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex((HOST, port))
        yield port


def ends_well(exporter: ExporterProcess) -> None:
    """Wait for an end of the right kind."""
    wait_for(lambda: not exporter.process.running, timeout=STOP_S, what="the end of the exporter")
    assert exporter.process.returncode == 0, exporter.process.describe()
    assert "Traceback" not in exporter.stderr


def stop(exporter: ExporterProcess, number: signal.Signals = signal.SIGTERM) -> None:
    """Send the signal, and look at the end."""
    exporter.process.send_signal(number)
    ends_well(exporter)


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_packets_that_are_dropped(start_exporter: StartExporter, full_port: int, scheme: str) -> None:
    """The exporter is asking for a connection, and neither gets it nor is refused."""
    before = _asking(full_port)
    exporter = start_exporter("--broker-url", f"{scheme}://{HOST}:{full_port}/0")
    wait_for(lambda: _asking(full_port) > before, timeout=10, what="a connection that is asked for")
    stop(exporter, signal.SIGINT)


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_name_server_that_does_not_answer(start_exporter: StartExporter, scheme: str) -> None:
    """No thread comes back from the question for the broker's address."""
    exporter = start_exporter(
        "--broker-url", f"{scheme}://broker.invalid/0", command=(sys.executable, "-c", DEAF_RESOLVER)
    )
    wait_for(
        lambda: "asked for broker.invalid" in exporter.stderr, timeout=10, what="a question for the name"
    )
    assert exporter.value(CONNECTED) == 0
    stop(exporter)


def test_signal_when_the_wait_for_it_begins(start_exporter: StartExporter) -> None:
    """The handler runs in the thread that waits for it, whatever lock that holds at the moment."""
    command = (sys.executable, "-c", TOLD_WHILE_IT_WAITS)
    exporter = start_exporter("--broker-url", "memory://", command=command)
    stop(exporter)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_without_end(valkey: Valkey, start_exporter: StartExporter, number: signal.Signals) -> None:
    """Whoever presses Ctrl-C again and again gets the same clean end, also while the interpreter shuts down."""
    exporter = start_exporter("--broker-url", valkey.url)
    wait_until_receiving(exporter)

    def ended() -> bool:
        with suppress(ProcessLookupError):
            exporter.process.send_signal(number)
        return not exporter.process.running

    wait_for(ended, timeout=STOP_S, what="the end of the exporter")
    ends_well(exporter)


def test_big_scrape_and_stuck_clients(valkey: Valkey, start_exporter: StartExporter) -> None:
    """Scrapes of a large page are being made, nobody takes the answers, and 50 clients are stuck in mid-request."""
    exporter = start_exporter("--broker-url", valkey.url)
    wait_until_receiving(exporter)
    with EventSender({"broker_url": valkey.url}) as sender:
        for number in range(1000):
            sender.send("task-sent", uuid=f"u{number}", name=f"task-{number}", queue="celery")
    wait_for(
        lambda: exporter.total("celery_task_sent_total") == 1000,
        timeout=30,
        what="a thousand tasks on the page",
    )
    with ExitStack() as clients:
        for number in range(54):
            client = clients.enter_context(socket.create_connection(_address(exporter), timeout=STOP_S))
            client.sendall(REQUEST if number < 4 else REQUEST[:-2])
        stop(exporter)


def test_page_is_served_until_the_socket_closes(valkey: Valkey, start_exporter: StartExporter) -> None:
    """While the exporter leaves a frozen broker, a scrape still gets the last figures; then connections are refused."""
    exporter = start_exporter("--broker-url", valkey.url)
    wait_until_receiving(exporter)
    valkey.pause()
    exporter.process.send_signal(signal.SIGTERM)
    seen: list[float | None] = []

    def refused() -> bool:
        try:
            seen.append(exporter.value(CONNECTED))
        except (urllib.error.URLError, ConnectionError):
            return True
        return False

    wait_for(refused, timeout=STOP_S, what="a closed socket")
    ends_well(exporter)
    assert seen


def _asking(port: int) -> int:
    """How many wait for a connection to the port to be made, from /proc/net/tcp."""
    with open("/proc/net/tcp") as table:  # noqa: PTH123 - a file of the kernel
        lines = [line.split() for line in table]
    return sum(fields[2].endswith(f":{port:04X}") and fields[3] == "02" for fields in lines[1:])


def _address(exporter: ExporterProcess) -> tuple[str, int]:
    host, port = exporter.url.removeprefix("http://").removesuffix("/metrics").rsplit(":", 1)
    return host, int(port)
