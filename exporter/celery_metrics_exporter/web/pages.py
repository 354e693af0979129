"""The pages: /metrics, /-/healthy, /-/ready and, at /, the status page.

Owns what they say; the status page itself is made in ``status_page``. Nothing here talks to the network.
"""

import asyncio
import gzip
import threading
from functools import partial
from http import HTTPStatus
from typing import NamedTuple, Protocol
from urllib.parse import parse_qs

from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

from celery_metrics_exporter.exposition.accept import PROTOBUF, best_format, gzip_is_best
from celery_metrics_exporter.exposition.protobuf import Chosen
from celery_metrics_exporter.exposition.text import Encoder
from celery_metrics_exporter.status_page import StatusPage
from celery_metrics_exporter.status_page.snapshot import Snapshot
from celery_metrics_exporter.web.http1 import PLAIN_TEXT, Answer, Request
from celery_metrics_exporter.web.serial_thread import SerialThread

_NO_SNIFFING = ("X-Content-Type-Options", "nosniff")

# 13 MB of exposition (115,000 lines, names of 1,250 tasks) take 0.06 s and become 1.03 MB; with 3: 0.07 s and 1.07 MB,
# with 6: 0.15 s and 0.95 MB, with gzip's default, 9: 0.31 s and 0.89 MB.
_GZIP_LEVEL = 1


class _Wanted(NamedTuple):
    """What a page depends on."""

    path: str
    names: tuple[str, ...]
    form: str
    packed: bool


class Status(Protocol):
    """What the probes and the status page tell. A verdict comes with one line of text that says why."""

    def healthy(self) -> tuple[bool, str]:
        """Whether this process works; an outage of the broker does not make it unhealthy."""

    def ready(self) -> tuple[bool, str]:
        """Whether events flow."""

    def overview(self) -> Snapshot:
        """What the status page shows."""


class Pages:
    """Exact paths, GET and HEAD. What takes long is made in ``thread``, so that the probes never wait for it."""

    def __init__(
        self, registry: CollectorRegistry, status: Status, telemetry_path: str, thread: SerialThread
    ) -> None:
        self._registry = registry
        self._encoder = Encoder()
        self._status_page = StatusPage(status.overview, status.healthy, telemetry_path)
        self._thread = thread
        self._probes = {"/-/healthy": status.healthy, "/-/ready": status.ready}
        self._pages = {"/": self._landing, telemetry_path: self._metrics}
        self._lock = threading.Lock()
        self._awaited: dict[_Wanted, asyncio.Future[Answer]] = {}  # pages that are not begun yet

    async def __call__(self, request: Request) -> Answer:
        """Answer one request."""
        answer = await self._answer(request)
        return answer._replace(headers=(*answer.headers, _NO_SNIFFING))

    async def _answer(self, request: Request) -> Answer:
        path = request.path
        if path not in self._pages and path not in self._probes:
            return Answer(HTTPStatus.NOT_FOUND, b"no such page; see /\n")
        if request.method not in {"GET", "HEAD"}:
            headers = (PLAIN_TEXT, ("Allow", "GET, HEAD"))
            return Answer(HTTPStatus.METHOD_NOT_ALLOWED, b"use GET or HEAD\n", headers)
        if path in self._probes:
            return _verdict(self._probes[path]())
        names = parse_qs(request.query).get("name[]", ())
        form = best_format(request.headers.get("accept", ""))
        packed = gzip_is_best(request.headers.get("accept-encoding", ""))
        return await self._made(_Wanted(path, tuple(names), form, packed))

    async def _made(self, wanted: _Wanted) -> Answer:
        """A page that is begun from now on: all who ask for the same until then share it."""
        with self._lock:
            page = self._awaited.get(wanted)
            if page is None:
                page = self._awaited[wanted] = self._thread.run(partial(self._make, wanted))
        return await asyncio.shield(page)

    def _make(self, wanted: _Wanted) -> Answer:
        with self._lock:
            del self._awaited[wanted]
        answer = self._pages[wanted.path](wanted)
        if not wanted.packed:
            return answer
        headers = (*answer.headers, ("Content-Encoding", "gzip"))
        return answer._replace(body=gzip.compress(answer.body, _GZIP_LEVEL), headers=headers)

    def _metrics(self, wanted: _Wanted) -> Answer:
        encode, content_type = self._encoder.choose(wanted.form)
        body = encode(self._chosen(wanted) if wanted.names else self._registry)
        headers = (("Content-Type", content_type), ("Vary", "Accept, Accept-Encoding"))
        return Answer(HTTPStatus.OK, body, headers)

    def _chosen(self, wanted: _Wanted) -> Collector:
        """What is asked for by name; a message cannot be had in part."""
        if wanted.form == PROTOBUF:
            return Chosen(self._registry, wanted.names)
        return self._registry.restricted_registry(wanted.names)

    def _landing(self, _: _Wanted) -> Answer:
        return Answer(HTTPStatus.OK, self._status_page.body(), self._status_page.headers)


def _verdict(verdict: tuple[bool, str]) -> Answer:
    good, text = verdict
    status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
    line = " ".join(text.split()) + "\n"
    return Answer(status, line.encode("utf-8", "backslashreplace"))  # a lone surrogate fails no probe
