"""The web server: serves the pages on every address, guarded as the file of --web.config.file says.

Owns listening, starting, stopping.
"""

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final, cast

from prometheus_client import CollectorRegistry

from celery_metrics_exporter.config.config import ListenAddress
from celery_metrics_exporter.web.access import AccessControl
from celery_metrics_exporter.web.config_file import WebConfigFile
from celery_metrics_exporter.web.handshake import Handshakes
from celery_metrics_exporter.web.http1 import Limits
from celery_metrics_exporter.web.httpd import HttpServer, Page
from celery_metrics_exporter.web.listening import OPTION, listen, reachable_at
from celery_metrics_exporter.web.pages import Pages, Status
from celery_metrics_exporter.web.serial_thread import SerialThread
from celery_metrics_exporter.web.tls import Tls
from celery_metrics_exporter.web.users import Users

#: For answers under way when stopping.
_GRACE_SECONDS: Final = 0.9
#: The longest stop.
STOP_SECONDS: Final = 2 * _GRACE_SECONDS


class WebServer:
    """Serves the pages on every address until it is stopped."""

    def __init__(
        self,
        addresses: Sequence[ListenAddress],
        registry: CollectorRegistry,
        status: Status,
        *,
        telemetry_path: str = "/metrics",
        config_file: WebConfigFile | None = None,
        limits: Limits | None = None,
        cut: Counter[str] | None = None,
        option: str = OPTION,
    ) -> None:
        """Args:
        addresses: where to listen.
        registry: what /metrics shows.
        status: what the other pages show.
        telemetry_path: of the page of metrics.
        config_file: who is let in, and how it is encrypted; without one everybody is, by plain HTTP.
        limits: what clients may take.
        cut: counts connections that were cut, by reason.
        option: sets the addresses; errors name it.
        """
        self._option = option
        self._addresses = tuple(addresses)
        limits = limits or Limits()
        encoding, checking = SerialThread("web-pages"), SerialThread("web-passwords")
        self._threads = [encoding]
        page: Page = Pages(registry, status, telemetry_path, encoding)
        handshakes: Handshakes | None = None
        if (file := config_file) is not None:
            self._threads.append(checking)
            page = AccessControl(page, file.current, Users(checking))
            if file.current().tls is not None:
                # WebConfigFile lets TLS neither come nor go.
                handshakes = Handshakes(lambda: cast(Tls, file.current().tls), limits)
        self._scheme = "http" if handshakes is None else "https"
        self._server = HttpServer(page, limits, handshakes, cut)
        self._serving: tuple[asyncio.AbstractEventLoop, threading.Thread] | None = None
        self._sockets: Sequence[socket.socket] = ()
        self._urls: tuple[str, ...] = ()

    @property
    def urls(self) -> tuple[str, ...]:
        """``http://host:port``, or https, with the real port, one per address; () until started."""
        return self._urls

    def start(self) -> None:
        """Listen on all addresses, then serve in background threads, which never keep the process alive.

        Raises:
            ListenError: one of the addresses cannot be had; then none is served.
        """
        with ExitStack() as bound:
            sockets = [bound.enter_context(listen(address, self._option)) for address in self._addresses]
            bound.pop_all()
        self._urls = tuple(
            f"{self._scheme}://{reachable_at(sock, address.host)}"
            for sock, address in zip(sockets, self._addresses, strict=True)
        )
        for each in self._threads:
            each.start()
        self._sockets = sockets
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self._run, args=(loop, sockets), name="web", daemon=True)
        self._serving = loop, thread
        thread.start()

    def stop(self) -> None:
        """Stop within :data:`STOP_SECONDS`, whatever clients do; answers under way may end."""
        if self._serving is None:
            return
        loop, thread = self._serving
        self._serving = None
        loop.call_soon_threadsafe(self._server.stop)
        thread.join(STOP_SECONDS)
        for each in self._threads:
            each.stop()

    def abandon(self) -> None:
        """Close the sockets in a process that was forked from ours, in which nothing serves them.

        They are the same as those of our process: what is not closed here stays open when that closes it. Nothing else
        is touched: to close the loop would take its sockets off the poll of both processes.
        """
        for sock in self._sockets:
            sock.close()
        self._server.abandon()

    def _run(self, loop: asyncio.AbstractEventLoop, sockets: Sequence[socket.socket]) -> None:
        try:
            loop.run_until_complete(self._server.run(sockets, _GRACE_SECONDS))
        finally:
            loop.close()
