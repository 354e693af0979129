"""Clients of the exporter that speak TLS, well or badly."""

import http.client
import ssl
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from celery_metrics_exporter.web.server import WebServer
from tests.serving import (
    TIMEOUT_S,
    Reply,
    ask,
    raw_client,
    url_of,
)


@contextmanager
def secured(url: str, context: ssl.SSLContext) -> Iterator[http.client.HTTPSConnection]:
    """Connect once with TLS, for several requests."""
    connection = http.client.HTTPSConnection(urlsplit(url).netloc, context=context, timeout=TIMEOUT_S)
    try:
        yield connection
    finally:
        connection.close()


def get(server: WebServer, context: ssl.SSLContext, path: str = "/-/ready") -> Reply:
    """Ask over a connection of its own."""
    with secured(url_of(server), context) as connection:
        return ask(connection, path)


@contextmanager
def handshaken(server: WebServer, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    """Make a TLS connection and no request."""
    with (
        raw_client(url_of(server)) as sock,
        context.wrap_socket(sock, server_hostname="localhost") as wrapped,
    ):
        yield wrapped


def refused(server: WebServer, context: ssl.SSLContext) -> bool:
    """Whether the server lets this client not in, be it in the handshake or right after."""
    try:
        return get(server, context).status != 200
    except (ssl.SSLError, ConnectionError, http.client.RemoteDisconnected):
        return True


def spoken(server: WebServer, context: ssl.SSLContext) -> tuple[str | None, str]:
    """The version and the cipher suite that server and client agree upon."""
    with handshaken(server, context) as sock:
        cipher = sock.cipher()
        assert cipher is not None
        return sock.version(), cipher[0]


def only(context: ssl.SSLContext, version: ssl.TLSVersion, ciphers: str = "") -> ssl.SSLContext:
    """Let a client speak one version, old ones too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = version
        context.maximum_version = version
    if ciphers:
        context.set_ciphers(ciphers)
    return context
