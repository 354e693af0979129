"""A management API that is none: whatever answers, one short error comes of it, in time and without secrets."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import trustme

from celery_metrics_exporter.queues.readers import management_api
from celery_metrics_exporter.queues.readers.management_api import ListedQueue, ManagementApi, ManagementError
from tests.integration.servers import HOST, Certificates

SECRET = "known-to-nobody"
TIMEOUT = 0.5


class Answering:
    """Listens on 127.0.0.1 and answers everything with the same bytes; ``dripping`` follows them again and again."""

    def __init__(
        self, answer: bytes, *, dripping: bytes | None = None, context: ssl.SSLContext | None = None
    ) -> None:
        self._answer = answer
        self._dripping = dripping
        self._context = context
        self.asked = b""
        self._stop = threading.Event()
        self._listener = socket.create_server((HOST, 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close everything."""
        self._stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(OSError):
                client, _ = self._listener.accept()
                with client, self._secured(client) as connection:
                    self.asked = connection.recv(65536)
                    connection.sendall(self._answer)
                    while self._dripping is not None and not self._stop.wait(0.02):
                        connection.sendall(self._dripping)

    def _secured(self, client: socket.socket) -> socket.socket:
        return client if self._context is None else self._context.wrap_socket(client, server_side=True)


StartAnswering = Callable[..., Answering]


@pytest.fixture
def answering() -> Iterator[StartAnswering]:
    """Start servers, which are stopped after the test."""
    with contextlib.ExitStack() as stack:

        def start(
            answer: bytes, *, dripping: bytes | None = None, context: ssl.SSLContext | None = None
        ) -> Answering:
            server = Answering(answer, dripping=dripping, context=context)
            stack.callback(server.stop)
            return server

        yield start


def api(server: Answering, *, scheme: str = "http", tls: object = None) -> ManagementApi:
    """The API at this server."""
    url = f"{scheme}://user:{SECRET}@{HOST}:{server.port}/rabbit"
    return ManagementApi(url, "/", credentials=("guest", "guest"), tls=tls, timeout=TIMEOUT)


def answer(body: bytes, *, status: str = "200 OK", kind: str = "application/json") -> bytes:
    """A whole answer."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


LIST = b"""[
    {"name": "mail", "messages_ready": 2, "messages_unacknowledged": 1, "arguments": {"x-expires": 1}, "new": [1]},
    {"name": "orders", "type": "quorum", "exclusive": null, "arguments": []}
]"""
QUEUES = [
    ("mail", "classic", None, 2, 1, True),
    ("orders", "quorum", None, None, None, False),
]


def seen(queues: list[ListedQueue]) -> list[tuple[object, ...]]:
    """What was read of each queue."""
    return [(q.name, q.type, q.exclusive, q.ready, q.unacked, q.expires) for q in queues]


def test_a_list(answering: StartAnswering) -> None:
    """Only the fields in use are read, below the prefix of the URL, with its user; nothing else is asked for."""
    server = answering(answer(LIST))
    assert seen(api(server).queues()) == QUEUES
    request = server.asked.decode()
    assert request.startswith("GET /rabbit/api/queues/%2F?disable_stats=true&enable_queue_totals=true")
    assert "Authorization: Basic dXNlcjprbm93bi10by1ub2JvZHk=\r\n" in request


def test_a_list_in_chunks(answering: StartAnswering) -> None:
    """An answer whose length nobody knew before is read too."""
    chunk = b"%x\r\n%b\r\n" % (len(LIST), LIST)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert seen(api(answering(head + chunk + b"0\r\n\r\n")).queues()) == QUEUES
    with pytest.raises(
        ManagementError, match="does not answer in HTTP: peer closed connection without sending complete"
    ):
        api(answering(head + chunk[:-20])).queues()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (answer(b"<html>", kind="text/html"), "answers with text/html that is not a list of queues"),
        (answer(LIST[:-20]), "answers with application/json that is not a list of queues"),
        (answer(LIST)[:-20], "does not answer in HTTP: peer closed connection without sending complete"),
        (answer(b""), "answers with application/json that is not a list of queues"),
        (answer(b'[{"name": "\xff"}]'), "answers with application/json that is not a list of queues"),
        (answer(b'[{"name": "a", "messages_ready": "2"}]'), "that is not a list of queues: Expected"),
        (answer(b'{"items": []}'), "that is not a list of queues: Expected"),
        (answer(b"[" * 100_000), "that is not a list of queues"),
        (answer(b"{}", status="301 Moved Permanently"), "answers 301 Moved Permanently"),
        (answer(b"<html>", status="502 Bad Gateway", kind="text/html"), "answers 502 Bad Gateway"),
        (
            answer(b'{"error": "x", "reason": "Login failed"}', status="401 Unauthorized"),
            r"answers 401 Unauthorized \(Login failed\)",
        ),
        (answer(b'{"reason": 5}', status="404 Not Found"), "answers 404 Not Found"),
        (b"AMQP\x00\x00\x09\x01", "does not answer in HTTP: peer unexpectedly closed connection"),
        (b"220 mail.example ESMTP\r\n\r\n", "does not answer in HTTP: illegal status line"),
        (
            b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 1000,
            "does not answer in HTTP: peer unexpectedly closed connection",
        ),
    ],
)
def test_other_answers(answering: StartAnswering, content: bytes, message: str) -> None:
    """Anything but a list of queues is named in one short line without the password."""
    with pytest.raises(ManagementError, match=message) as raised:
        api(answering(content)).queues()
    text = str(raised.value)
    assert len(text) < 250
    assert text.isprintable()
    assert SECRET not in text


def test_an_answer_too_long(answering: StartAnswering, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that does not end is not kept in memory."""
    monkeypatch.setattr(management_api, "LONGEST_ANSWER_BYTES", 100_000)
    server = answering(b"HTTP/1.1 200 OK\r\n\r\n", dripping=b"[" * 60_000)
    with pytest.raises(ManagementError, match="longer than 100000 bytes"):
        api(server).queues()


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n["])
@pytest.mark.parametrize("dripping", [b"", b"x"])
def test_an_answer_too_late(answering: StartAnswering, start: bytes, dripping: bytes) -> None:
    """An answer that comes slowly, or not at all, is waited for no longer than the timeout."""
    server = answering(start, dripping=dripping)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        api(server).queues()
    assert time.monotonic() - began < 2 * TIMEOUT


def test_nobody_there(answering: StartAnswering) -> None:
    """A port on which nobody listens is an error of the system."""
    server = answering(b"")
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        api(server).queues()


def test_tls(answering: StartAnswering, certificates: Certificates) -> None:
    """https is verified with the authority of the broker's TLS settings, unless these verify nothing."""
    server = answering(answer(LIST), context=certificates.server_context())
    trusting: dict[str, object] = {"ca_certs": str(certificates.ca_file), "cert_reqs": ssl.CERT_REQUIRED}
    assert seen(api(server, scheme="https", tls=trusting).queues()) == QUEUES
    assert seen(api(server, scheme="https", tls={"cert_reqs": ssl.CERT_NONE}).queues()) == QUEUES
    for distrusting in (None, True, {"cert_reqs": ssl.CERT_REQUIRED}):
        with pytest.raises(ssl.SSLCertVerificationError):
            api(server, scheme="https", tls=distrusting).queues()


def test_tls_names(answering: StartAnswering, certificates: Certificates) -> None:
    """A certificate for another name is refused."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("elsewhere.example").configure_cert(context)
    server = answering(answer(LIST), context=context)
    with authority.cert_pem.tempfile() as ca_file, pytest.raises(ssl.SSLCertVerificationError):
        api(server, scheme="https", tls={"ca_certs": ca_file}).queues()


def test_a_client_certificate(answering: StartAnswering, certificates: Certificates) -> None:
    """The client certificate for the broker is shown to the API too."""
    server = answering(answer(LIST), context=certificates.server_context(verify_client=True))
    tls = {
        "ca_certs": str(certificates.ca_file),
        "certfile": str(certificates.client_cert_file),
        "keyfile": str(certificates.client_key_file),
    }
    assert seen(api(server, scheme="https", tls=tls).queues()) == QUEUES
