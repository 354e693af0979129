"""The live status page: one look at the exporter as HTML that keeps itself up to date.

Owns: when it is made anew, and what the browser may do with it. Nothing here talks to the network.
"""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections.abc import Callable
from importlib import resources
from typing import Final

from celery_metrics_exporter.status_page.page import page
from celery_metrics_exporter.status_page.snapshot import Snapshot

#: However many look at it, it is made no more often than this, in seconds ...
FRESH_SECONDS: Final = 0.5
#: ... nor before so many times as long has passed as it took to make: with 10,000 workers, queues and tasks that is a
#: third of a second, of which events are to feel nothing.
REST_FACTOR: Final = 20.0


class StatusPage:
    """Thread-safe."""

    def __init__(
        self,
        look: Callable[[], Snapshot],
        healthy: Callable[[], tuple[bool, str]],
        telemetry_path: str,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Args:
        look: sees everything as it is now.
        healthy: whether this process works, and why not.
        telemetry_path: where the metrics are.
        monotonic: the time, in seconds.
        """
        self._look = look
        self._healthy = healthy
        self._telemetry_path = telemetry_path
        here = resources.files(__name__)
        self._style, self._script = ((here / name).read_text("utf-8") for name in ("page.css", "page.js"))
        self._lock = threading.Lock()
        self._monotonic = monotonic
        self._due = float("-inf")
        self._body = b""
        #: What a browser is told to keep to: these two texts, no others, and this server alone.
        self.headers = (
            ("Content-Type", "text/html; charset=utf-8"),
            ("Cache-Control", "no-store"),
            ("Vary", "Accept-Encoding"),
            ("Referrer-Policy", "no-referrer"),
            ("Content-Security-Policy", _policy(self._style, self._script)),
        )

    def body(self) -> bytes:
        """The page in UTF-8; whoever comes while it is made waits for it."""
        with self._lock:
            began = self._monotonic()
            if began >= self._due:
                text = page(
                    self._look(),
                    self._healthy(),
                    style=self._style,
                    script=self._script,
                    telemetry_path=self._telemetry_path,
                )
                self._body = text.encode("utf-8", "backslashreplace")
                ended = self._monotonic()
                self._due = ended + max(FRESH_SECONDS, REST_FACTOR * (ended - began))
            return self._body


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; style-src {_source(style)}; script-src {_source(script)}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _source(text: str) -> str:
    """How a content security policy names an inline text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
