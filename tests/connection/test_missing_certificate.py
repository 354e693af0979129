"""A server that ends the connection after our handshake gets us to say what it may want: a client certificate."""

import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from celery_metrics_exporter.config.config import BrokerTls, Config
from celery_metrics_exporter.connection.celery_app import broker_of

HINT = (
    "the broker may demand a client certificate: give it by --broker-tls-cert-file and --broker-tls-key-file"
)
#: SO_LINGER: a close sends a reset.
RESET = struct.pack("ii", 1, 0)


@contextmanager
def ending_server(authority: trustme.CA, *, reset: bool) -> Iterator[int]:
    """The port of a server that shakes hands over TLS, reads what comes, and ends each connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    def serve() -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:  # the end of the test
                return
            with client, context.wrap_socket(client, server_side=True) as secured:
                secured.recv(1024)
                if reset:
                    secured.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("scheme", ["amqps", "rediss"])
def test_the_end_after_a_handshake(scheme: str, tmp_path: Path, *, given: bool, reset: bool) -> None:
    """The error says what may be missing, unless we have shown a certificate."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    ours = authority.issue_cert("exporter")
    ours.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "ours.pem"))
    tls = BrokerTls(
        ca_file=str(tmp_path / "ca.pem"),
        cert_file=str(tmp_path / "ours.pem") if given else None,
        key_file=str(tmp_path / "ours.pem") if given else None,
    )
    with ending_server(authority, reset=reset) as port:
        broker = broker_of(Config(broker_url=f"{scheme}://127.0.0.1:{port}", tls=tls))
        with pytest.raises(Exception, match=r"\w") as caught:
            broker.connect(timeout=5)
    assert (HINT in str(caught.value)) is not given


def _accept_and_end(listening: socket.socket) -> None:
    listening.accept()[0].close()


def test_without_tls() -> None:
    """A server without TLS that just ends the connection wants no certificate."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ending = threading.Thread(target=_accept_and_end, args=(listening,))
        ending.start()
        broker = broker_of(Config(broker_url=f"amqp://127.0.0.1:{listening.getsockname()[1]}"))
        with pytest.raises(OSError, match=r"\w") as caught:
            broker.connect(timeout=5)
        ending.join()
    assert "certificate" not in str(caught.value)
