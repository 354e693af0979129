"""A management API that echoes requests, as proxies and debugging servers do: no form of the credentials gets out."""

import contextlib
import json
import re
import socket
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from urllib.error import HTTPError
from urllib.parse import quote, quote_plus
from urllib.request import urlopen

import pytest

from tests.integration.conftest import Vhost
from tests.integration.doctoring import examine
from tests.integration.servers import HOST, ExporterProcess
from tests.waiting import wait_for

StartExporter = Callable[..., ExporterProcess]

USER, PASSWORD = "watch", "p/ss w\u00f6rd+1=x"
TOKEN = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
#: The token, and the password however it is written.
FORMS = (
    PASSWORD,
    quote(PASSWORD, safe=""),
    quote(PASSWORD, safe="").lower(),
    quote_plus(PASSWORD),
    ascii(PASSWORD)[1:-1],
    repr(PASSWORD.encode())[2:-1],
    TOKEN,
    TOKEN.rstrip("="),
    TOKEN.replace("+", "-").replace("/", "_"),
)
#: What must not be seen: nor parts of the token.
HIDDEN = (*FORMS, TOKEN[10:18], TOKEN[-10:-2])
ECHOES = {
    "reason": b"HTTP/1.1 400 %s\r\nContent-Length: 0\r\n\r\n",
    "status": b"%s\r\n\r\n",
    "json": b"HTTP/1.1 400 Bad\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
    "kind": b"HTTP/1.1 200 OK\r\nContent-Type: text/%s\r\nContent-Length: 2\r\n\r\n{}",
}


class Echo:
    """Listens on 127.0.0.1, and answers with what it was asked and with the password in other forms."""

    def __init__(self, how: str) -> None:
        self._how = how
        self._listener = socket.create_server((HOST, 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close it."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with client:
                    client.sendall(self._answer(client.recv(65536)))

    def _answer(self, asked: bytes) -> bytes:
        (header,) = re.findall(rb"(?i)^(authorization: .*?)\r$", asked, re.MULTILINE)
        said = b" ".join((header, *(form.encode("latin-1") for form in FORMS)))
        if self._how == "json":
            body = json.dumps({"reason": said.decode("latin-1")}).encode()
            return ECHOES["json"] % (len(body), body)
        return ECHOES[self._how] % said


@pytest.fixture(params=ECHOES)
def echo(request: pytest.FixtureRequest) -> Iterator[Echo]:
    """One that echoes in this place."""
    server = Echo(request.param)
    yield server
    server.stop()


def seen_at(url: str) -> str:
    """A page, whatever its status."""
    try:
        with urlopen(url, timeout=5) as answer:  # noqa: S310 - http on 127.0.0.1
            return str(answer.read(), "utf-8")
    except HTTPError as error:
        with error:
            return str(error.read(), "utf-8")


def test_nothing_secret_is_logged_or_shown(
    rabbitmq_vhost: Vhost, start_exporter: StartExporter, echo: Echo
) -> None:
    """Neither the log at debug, with its tracebacks, nor a page has any form of the password."""
    url = f"http://{USER}:{quote(PASSWORD, safe='')}@{HOST}:{echo.port}"
    arguments = (
        "--management-url",
        url,
        "--sample-interval",
        "0.2",
        "--log.level",
        "debug",
    )
    exporter = start_exporter("--broker-url", rabbitmq_vhost.url, *arguments)
    wait_for(lambda: "still cannot" in exporter.stderr, timeout=30, what=exporter.process.describe)
    pages = [seen_at(exporter.url.replace("/metrics", path)) for path in ("/", "/-/ready", "/metrics")]
    for text in (exporter.stderr, *pages):
        assert [secret for secret in HIDDEN if secret in text] == []
    assert "***" in exporter.stderr


def test_doctor_says_nothing_secret(rabbitmq_vhost: Vhost, echo: Echo) -> None:
    """Its document holds none either."""
    url = f"http://{USER}:{quote(PASSWORD, safe='')}@{HOST}:{echo.port}"
    found = examine(rabbitmq_vhost.url, management_url=url)
    assert found.status("read") == "failed"
    text = json.dumps(found.document, ensure_ascii=False) + json.dumps(found.document)
    assert [secret for secret in HIDDEN if secret in text] == []
