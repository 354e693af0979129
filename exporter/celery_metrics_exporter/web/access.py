"""Who may see the pages, how often, and which headers they carry.

Facts: prometheus/exporter-toolkit, web/handler.go (ServeHTTP): first the rate, then the headers, then the user. Here
probes are let through before all that, since the toolkit has no way to except them (pull requests 70, 106 and 151),
and headers are set on every answer.
"""

import logging
import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus

from celery_metrics_exporter.logs import ThrottledLog
from celery_metrics_exporter.web.config import RateLimit, WebConfig
from celery_metrics_exporter.web.http1 import PLAIN_TEXT, Answer, Request
from celery_metrics_exporter.web.httpd import Page
from celery_metrics_exporter.web.users import Users, Verdict

log = logging.getLogger(__name__)

_PROBE = "/-/healthy"  # for everybody, at any rate: it has no credentials, and a failing one would restart the exporter
_UNCACHED = (PLAIN_TEXT, ("Cache-Control", "no-store"))
_CHALLENGE = ("WWW-Authenticate", 'Basic realm="celery-exporter", charset="UTF-8"')
_SOON = ("Retry-After", "1")

_UNAUTHORIZED = Answer(HTTPStatus.UNAUTHORIZED, b"unauthorized\n", (*_UNCACHED, _CHALLENGE))
_TOO_MANY_REQUESTS = Answer(HTTPStatus.TOO_MANY_REQUESTS, b"too many requests\n", (*_UNCACHED, _SOON))
_TOO_MANY_LOGINS = Answer(HTTPStatus.TOO_MANY_REQUESTS, b"too many logins at once\n", (*_UNCACHED, _SOON))


class AccessControl:
    """A page around another one, which it shows to whom the configuration lets in."""

    def __init__(self, page: Page, current: Callable[[], WebConfig], users: Users) -> None:
        """``current`` gives the configuration that holds at the moment."""
        self._page = page
        self._current = current
        self._users = users
        self._bucket = _Bucket()
        self._tell = partial(
            ThrottledLog(log).log, logging.WARNING, "clients without the right credentials are refused"
        )

    async def __call__(self, request: Request) -> Answer:
        """Answer a request, or let the page answer it."""
        config = self._current()
        refusal = None if request.path == _PROBE else await self._refusal(config, request)
        answer = refusal or await self._page(request)
        # The file's word is the last, where a page has a header of that name.
        names = {name.lower() for name in config.headers}
        kept = [header for header in answer.headers if header[0].lower() not in names]
        return answer._replace(headers=(*kept, *config.headers.items()))

    async def _refusal(self, config: WebConfig, request: Request) -> Answer | None:
        if not self._bucket.allows(config.rate_limit):
            return _TOO_MANY_REQUESTS
        if not config.users:
            return None
        authorization = request.headers.get("authorization")
        verdict = await self._users.verdict(config.users, authorization, request.client)
        if verdict is Verdict.UNCHECKED:
            self._tell(client=request.client, reason="too many at once, not checked")
            return _TOO_MANY_LOGINS
        if verdict is Verdict.UNKNOWN:
            if authorization is not None:  # browsers and careless clients come without at first
                self._tell(client=request.client, reason="wrong name or password")
            return _UNAUTHORIZED
        return None


class _Bucket:
    """Tokens, one for each request; full at first and whenever the limit changes."""

    def __init__(self) -> None:
        self._limit: RateLimit | None = None
        self._tokens = 0.0
        self._at = 0.0

    def allows(self, limit: RateLimit | None) -> bool:
        """Take a token, if there is one."""
        if limit is None:
            return True
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
