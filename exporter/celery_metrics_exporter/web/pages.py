"""The pages: /metrics, /-/healthy, /-/ready and, at /, the status page.

Owns what they say; the status page itself is made in ``status_page``. Knows a registry and a status object;
must not know: sockets, celery, events, collectors, receivers. Nothing here talks to the network.
"""

import gzip
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol
from urllib.parse import parse_qs
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import gzip_accepted

from celery_metrics_exporter.exposition.text import Encoder
from celery_metrics_exporter.status_page import StatusPage
from celery_metrics_exporter.status_page.snapshot import Snapshot

NAME = "celery-exporter"
_PLAIN = "text/plain; charset=utf-8"

# 13 MB of exposition (115,000 lines, names of 1,250 tasks) take 0.06 s and become 1.03 MB; with 3: 0.07 s and 1.07 MB,
# with 6: 0.15 s and 0.95 MB, with gzip's default, 9: 0.31 s and 0.89 MB.
_GZIP_LEVEL = 1


class Status(Protocol):
    """What the probes and the status page tell. A verdict comes with one line of text that says why."""

    def healthy(self) -> tuple[bool, str]:
        """Whether this process works; an outage of the broker does not make it unhealthy."""

    def ready(self) -> tuple[bool, str]:
        """Whether events flow."""

    def overview(self) -> Snapshot:
        """What the status page shows."""


class _Answer(NamedTuple):
    status: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = (("Content-Type", _PLAIN),)


class Pages:
    """The WSGI application: exact paths, GET and HEAD."""

    def __init__(self, registry: CollectorRegistry, status: Status, telemetry_path: str) -> None:
        self._registry = registry
        self._encoder = Encoder()
        self._status_page = StatusPage(status, telemetry_path)
        self._pages: dict[str, Callable[[WSGIEnvironment], _Answer]] = {
            "/": self._landing,
            "/-/healthy": lambda _: _verdict(status.healthy()),
            "/-/ready": lambda _: _verdict(status.ready()),
            telemetry_path: self._metrics,
        }

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
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
        headers = (("Content-Type", content_type), ("Vary", "Accept, Accept-Encoding"))
        return _compressed(_Answer("200 OK", body, headers), environ)

    def _landing(self, environ: WSGIEnvironment) -> _Answer:
        return _compressed(_Answer("200 OK", self._status_page.body(), self._status_page.headers), environ)


def _compressed(answer: _Answer, environ: WSGIEnvironment) -> _Answer:
    """The answer, as small as the client takes it."""
    if not gzip_accepted(environ.get("HTTP_ACCEPT_ENCODING", "")):
        return answer
    headers = (*answer.headers, ("Content-Encoding", "gzip"))
    return _Answer(answer.status, gzip.compress(answer.body, _GZIP_LEVEL), headers)


def _verdict(verdict: tuple[bool, str]) -> _Answer:
    good, text = verdict
    return _Answer("200 OK" if good else "503 Service Unavailable", _utf8(_one_line(text) + "\n"))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")  # a lone surrogate in an error's text fails no probe
