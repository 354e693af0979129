"""The web server: serves the pages on every address, guarded as the file of --web.config.file says.

Owns: listening, starting, stopping. Must not know: what the pages say, celery, events, collectors, receivers.
"""

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from wsgiref.types import WSGIApplication

from prometheus_client import CollectorRegistry

from celery_metrics_exporter.config.config import ListenAddress
from celery_metrics_exporter.web.config_file import WebConfigFile
from celery_metrics_exporter.web.guard import Guard
from celery_metrics_exporter.web.handshake import Handshakes
from celery_metrics_exporter.web.httpd import HttpServer, Limits
from celery_metrics_exporter.web.listening import ListenError, listen, reachable_at
from celery_metrics_exporter.web.pages import NAME, Pages, Status
from celery_metrics_exporter.web.tls import Tls
from celery_metrics_exporter.web.tls_socket import Security
from celery_metrics_exporter.web.users import Users

__all__ = ("ListenError", "Status", "WebServer")

_GRACE_S = 0.9  # for answers under way when stopping; twice that is the longest stop
_PROBES = ("/-/healthy",)  # a probe has no credentials, and a failing one would restart the exporter


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
    ) -> None:
        """``config_file`` says who is let in, and how it is encrypted; without one everybody is, by plain HTTP."""
        self._addresses = tuple(addresses)
        self._users = Users()
        self._app: WSGIApplication = Pages(registry, status, telemetry_path)
        self._security: Security | None = None
        if config_file is not None:
            file = config_file
            self._app = Guard(self._app, lambda: file.current().config, self._users, open_paths=_PROBES)
            if file.current().tls is not None:
                self._security = Handshakes(lambda: _tls_of(file))
        self._limits = limits or Limits()
        self._servers: tuple[HttpServer, ...] = ()
        self._urls: tuple[str, ...] = ()

    @property
    def urls(self) -> tuple[str, ...]:
        """``http://host:port``, or https, with the real port, one per address; () until started."""
        return self._urls

    def start(self) -> None:
        """Listen on all addresses, then serve in background threads.

        Raises:
            ListenError: one of the addresses cannot be had; then none is served.
        """
        with ExitStack() as bound:
            sockets = [bound.enter_context(listen(address.host, address.port)) for address in self._addresses]
            bound.pop_all()
        scheme = "http" if self._security is None else "https"
        self._urls = tuple(
            f"{scheme}://{reachable_at(sock, address.host)}"
            for sock, address in zip(sockets, self._addresses, strict=True)
        )
        self._servers = tuple(
            HttpServer(sock, self._app, NAME, self._limits, self._security) for sock in sockets
        )
        for server in self._servers:
            server.launch()

    def stop(self) -> None:
        """Stop within 2 s, whatever clients do; answers under way may end."""
        self._users.close()
        halts = [
            threading.Thread(target=server.halt, args=(_GRACE_S,), name="web-halt", daemon=True)
            for server in self._servers
        ]
        for halt in halts:
            halt.start()
        for halt in halts:
            halt.join()


def _tls_of(file: WebConfigFile) -> Tls:
    tls = file.current().tls
    if tls is None:  # WebConfigFile lets TLS neither come nor go
        raise RuntimeError("TLS is gone")
    return tls
