"""The web server: /metrics, /-/healthy, /-/ready and a landing page.

Owns the pages and what they say. Knows a registry and a status object; must not know: celery, events,
collectors, receivers. Nothing here talks to the network beyond the client that asks.
"""

import gzip
import html
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import NamedTuple, Protocol
from urllib.parse import parse_qs, quote
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import gzip_accepted

from exporter import __version__
from exporter.config import ListenAddress
from exporter.exposition import Encoder
from exporter.httpd import HttpServer, Limits
from exporter.listening import ListenError, listen, reachable_at

__all__ = ("ListenError", "Status", "WebServer")

_NAME = "celery-exporter"
_PLAIN = "text/plain; charset=utf-8"
_GRACE_S = 0.9  # for answers under way when stopping; twice that is the longest stop

# 13 MB of exposition (115,000 lines, names of 1,250 tasks) take 0.06 s and become 1.03 MB; with 3: 0.07 s and 1.07 MB,
# with 6: 0.15 s and 0.95 MB, with gzip's default, 9: 0.31 s and 0.89 MB.
_GZIP_LEVEL = 1


class Status(Protocol):
    """What the probes tell. Each answer is a verdict and one line of text that says why."""

    def healthy(self) -> tuple[bool, str]:
        """Whether this process works; an outage of the broker does not make it unhealthy."""

    def ready(self) -> tuple[bool, str]:
        """Whether events flow."""


class WebServer:
    """Serves the pages on every address until it is stopped."""

    def __init__(
        self,
        addresses: Sequence[ListenAddress],
        registry: CollectorRegistry,
        status: Status,
        *,
        telemetry_path: str = "/metrics",
        limits: Limits | None = None,
    ) -> None:
        self._addresses = tuple(addresses)
        self._pages = _Pages(registry, status, telemetry_path)
        self._limits = limits or Limits()
        self._servers: tuple[HttpServer, ...] = ()
        self._urls: tuple[str, ...] = ()

    @property
    def urls(self) -> tuple[str, ...]:
        """``http://host:port`` with the real port, one per address; () until started."""
        return self._urls

    def start(self) -> None:
        """Listen on all addresses, then serve in background threads.

        Raises:
            ListenError: one of the addresses cannot be had; then none is served.
        """
        with ExitStack() as bound:
            sockets = [bound.enter_context(listen(address.host, address.port)) for address in self._addresses]
            bound.pop_all()
        self._urls = tuple(
            f"http://{reachable_at(sock, address.host)}"
            for sock, address in zip(sockets, self._addresses, strict=True)
        )
        self._servers = tuple(HttpServer(sock, self._pages, _NAME, self._limits) for sock in sockets)
        for server in self._servers:
            server.launch()

    def stop(self) -> None:
        """Stop within 2 s, whatever clients do; answers under way may end."""
        halts = [
            threading.Thread(target=server.halt, args=(_GRACE_S,), name="web-halt", daemon=True)
            for server in self._servers
        ]
        for halt in halts:
            halt.start()
        for halt in halts:
            halt.join()


class _Answer(NamedTuple):
    status: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = (("Content-Type", _PLAIN),)


class _Pages:
    """The WSGI application: exact paths, GET and HEAD."""

    def __init__(self, registry: CollectorRegistry, status: Status, telemetry_path: str) -> None:
        self._registry = registry
        self._encoder = Encoder()
        self._status = status
        self._telemetry_path = telemetry_path
        self._pages: dict[str, Callable[[WSGIEnvironment], _Answer]] = {
            "/": self._landing,
            "/-/healthy": lambda _: _verdict(status.healthy()),
            "/-/ready": lambda _: _verdict(status.ready()),
            telemetry_path: self._metrics,
        }

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        page = self._pages.get(environ["PATH_INFO"])
        method = environ["REQUEST_METHOD"]
        if page is None:
            answer = _Answer("404 Not Found", b"no such page; see /\n")
        elif method not in {"GET", "HEAD"}:
            headers = (("Content-Type", _PLAIN), ("Allow", "GET, HEAD"))
            answer = _Answer("405 Method Not Allowed", b"use GET or HEAD\n", headers)
        else:
            try:
                answer = page(environ)
            except OSError as error:
                # cheroot takes it for the client's connection and says nothing (HTTPConnection.communicate).
                raise RuntimeError(f"{environ['PATH_INFO']} failed: {error}") from error
        start_response(
            answer.status,
            [
                *answer.headers,
                ("Content-Length", str(len(answer.body))),
                ("X-Content-Type-Options", "nosniff"),
            ],
        )
        return () if method == "HEAD" else (answer.body,)

    def _metrics(self, environ: WSGIEnvironment) -> _Answer:
        encode, content_type = self._encoder.choose(environ.get("HTTP_ACCEPT", ""))
        names = parse_qs(environ.get("QUERY_STRING", "")).get("name[]")
        body = encode(self._registry.restricted_registry(names) if names else self._registry)
        headers = [("Content-Type", content_type), ("Vary", "Accept, Accept-Encoding")]
        if gzip_accepted(environ.get("HTTP_ACCEPT_ENCODING", "")):
            body = gzip.compress(body, _GZIP_LEVEL)
            headers.append(("Content-Encoding", "gzip"))
        return _Answer("200 OK", body, tuple(headers))

    def _landing(self, _: WSGIEnvironment) -> _Answer:
        lines = [
            f"<p>{name}: <strong>{'yes' if good else 'no'}</strong>, {html.escape(_one_line(text))}</p>"
            for name, (good, text) in (("Healthy", self._status.healthy()), ("Ready", self._status.ready()))
        ]
        links = [
            f'<li><a href="{html.escape(quote(path))}">{html.escape(path)}</a>: {what}</li>'
            for path, what in (
                (self._telemetry_path, "metrics for Prometheus"),
                ("/-/healthy", "whether this process works"),
                ("/-/ready", "whether events flow"),
            )
        ]
        page = _LANDING.format(
            name=_NAME, version=html.escape(__version__), lines="\n".join(lines), links="\n".join(links)
        )
        headers = (
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"),
        )
        return _Answer("200 OK", _utf8(page), headers)


_LANDING = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{name}</title>
<style>body {{ font-family: sans-serif; margin: 2rem; max-width: 50rem; line-height: 1.5 }}</style>
</head>
<body>
<h1>{name} {version}</h1>
{lines}
<ul>
{links}
</ul>
</body>
</html>
"""


def _verdict(verdict: tuple[bool, str]) -> _Answer:
    good, text = verdict
    return _Answer("200 OK" if good else "503 Service Unavailable", _utf8(_one_line(text) + "\n"))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")  # a lone surrogate in an error's text fails no probe
