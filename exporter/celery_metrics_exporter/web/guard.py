"""Stands before the pages: who may see them, how often, and which headers they carry.

Owns the answers 401 and 429. Must not know: what the pages say, sockets, files.

Facts: prometheus/exporter-toolkit, web/handler.go (ServeHTTP): first the rate, then the headers, then the user. Here
probes are let through before all that, since the toolkit has no way to except them (pull requests 70, 106 and 151),
and headers are set on every answer.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from types import TracebackType
from typing import TypeAlias
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from celery_metrics_exporter.web.config import RateLimit, WebConfig
from celery_metrics_exporter.web.sparing_log import SparingLog
from celery_metrics_exporter.web.users import Users, Verdict

_log = logging.getLogger(__name__)

_Headers: TypeAlias = list[tuple[str, str]]
_ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]

_CHALLENGE = ("WWW-Authenticate", 'Basic realm="celery-exporter", charset="UTF-8"')
_SOON = ("Retry-After", "1")


class Guard:
    """A WSGI application around another one."""

    def __init__(
        self,
        app: WSGIApplication,
        current: Callable[[], WebConfig],
        users: Users,
        *,
        open_paths: Collection[str],
    ) -> None:
        """Args:
        app: what is guarded.
        current: the configuration that holds at the moment.
        users: judges credentials.
        open_paths: for everybody, at any rate.
        """
        self._app = app
        self._current = current
        self._users = users
        self._open_paths = open_paths
        self._bucket = _Bucket()
        self._tell = SparingLog(_log, logging.WARNING, "clients without the right credentials are refused")

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request, or let the application answer it."""
        config = self._current()
        start = _with_headers(start_response, config.headers)
        if environ["PATH_INFO"] in self._open_paths:
            return self._app(environ, start)
        if not self._bucket.allows(config.rate_limit):
            return _refuse(environ, start, "429 Too Many Requests", b"too many requests\n", _SOON)
        if config.users:
            authorization, address = environ.get("HTTP_AUTHORIZATION"), environ.get("REMOTE_ADDR", "")
            verdict = self._users.verdict(config.users, authorization, address)
            if verdict is Verdict.UNCHECKED:
                self._tell(client=address, reason="too many at once, not checked")
                return _refuse(environ, start, "429 Too Many Requests", b"too many logins at once\n", _SOON)
            if verdict is Verdict.UNKNOWN:
                if authorization is not None:  # browsers and careless clients come without at first
                    self._tell(client=address, reason="wrong name or password")
                return _refuse(environ, start, "401 Unauthorized", b"unauthorized\n", _CHALLENGE)
        return self._app(environ, start)


class _Bucket:
    """Tokens, one for each request; full at first and whenever the limit changes. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._limit: RateLimit | None = None
        self._tokens = 0.0
        self._at = 0.0

    def allows(self, limit: RateLimit | None) -> bool:
        """Take a token, if there is one."""
        if limit is None:
            return True
        with self._lock:
            now = time.monotonic()
            if limit == self._limit:
                self._tokens = min(limit.burst, self._tokens + (now - self._at) / limit.interval)
            else:
                self._limit, self._tokens = limit, limit.burst
            self._at = now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True


def _with_headers(start_response: StartResponse, extra: Mapping[str, str]) -> StartResponse:
    """Add headers to whatever is answered; the file's word is the last, where a page has a header of that name."""
    if not extra:
        return start_response
    names = {name.lower() for name in extra}

    def start(
        status: str, headers: _Headers, exc_info: _ExcInfo | None = None, /
    ) -> Callable[[bytes], object]:
        kept = [(name, value) for name, value in headers if name.lower() not in names]
        return start_response(status, [*kept, *extra.items()], exc_info)

    return start


def _refuse(
    environ: WSGIEnvironment, start_response: StartResponse, status: str, body: bytes, header: tuple[str, str]
) -> Iterable[bytes]:
    start_response(
        status,
        [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            header,
        ],
    )
    return () if environ["REQUEST_METHOD"] == "HEAD" else (body,)
