"""Asks the exporter on this machine whether it is healthy: for containers and probes that run a command.

It starts fast: celery, kombu and bcrypt are not imported.

TLS is not verified: the server is ourselves, and its certificate need not name this address. Where clients need a
certificate, the exporter's own is sent. Where the exporter refuses that one too, the refusal is its sign of life: a TLS
alert, or with ``client_allowed_sans`` the end of the connection, which only a working thread of it gives.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Final

from celery_metrics_exporter.config.config import ListenAddress
from celery_metrics_exporter.errors import ConfigError
from celery_metrics_exporter.web.config import read_web_config
from celery_metrics_exporter.web.named_files import NamedFiles
from celery_metrics_exporter.web.tls import Tls

TIMEOUT_SECONDS: Final = 3.0

_PATH: Final = "/-/healthy"
_LOOPBACK: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
#: What a server says to a client whose certificate is missing or not wanted (RFC 8446, 6.2), as OpenSSL spells it.
_UNWANTED: Final = (
    "CERTIFICATE_REQUIRED",
    "ALERT_BAD_CERTIFICATE",
    "ALERT_UNKNOWN_CA",
    "ALERT_CERTIFICATE_EXPIRED",
    "ALERT_CERTIFICATE_UNKNOWN",
    "ALERT_UNSUPPORTED_CERTIFICATE",
    "ALERT_HANDSHAKE_FAILURE",
)
_REFUSED: Final = "it answers, and demands another client certificate"
#: What OpenSSL, 1.1 and 3, makes of an answer in plain HTTP.
_NO_TLS: Final = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")


def check_health(addresses: Sequence[ListenAddress], web_config_file: str | None) -> tuple[bool, str]:
    """Ask at each address, over loopback where it is a wildcard; whether all are healthy, and a line that says why.

    A configuration file that cannot be read now does no harm: the exporter serves what it read before.
    """
    tls = None
    if web_config_file is not None:
        with suppress(ConfigError):
            tls = read_web_config(web_config_file, NamedFiles()).tls
    said = "healthy"
    for address in addresses:
        healthy, said = _ask(address, tls, maybe_tls=web_config_file is not None)
        if not healthy:
            return False, f"{address}: {said}"
    return True, said


def _ask(address: ListenAddress, tls: Tls | None, *, maybe_tls: bool) -> tuple[bool, str]:
    if not address.port:
        return False, "its port is chosen by the system at the start: ask at a fixed port"
    host = _LOOPBACK.get(address.host, address.host)
    try:
        answer = _ask_over_tls(host, address.port, tls) if maybe_tls else None
        return answer or _answer(http.client.HTTPConnection(host, address.port, timeout=TIMEOUT_SECONDS))
    except TimeoutError:
        return False, f"no answer within {TIMEOUT_SECONDS:g} s"
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return False, f"no answer: {reason.lower()}"


def _ask_over_tls(host: str, port: int, tls: Tls | None) -> tuple[bool, str] | None:
    """The answer; None where the server does not speak TLS."""
    context = _context(tls)
    try:
        return _answer(http.client.HTTPSConnection(host, port, timeout=TIMEOUT_SECONDS, context=context))
    except http.client.RemoteDisconnected:
        if tls is None or tls.allowed_sans is None:
            raise
        return True, _REFUSED
    except ssl.SSLError as error:
        reason = error.reason or ""
        if reason in _NO_TLS:
            return None
        if reason.endswith(_UNWANTED):
            return True, _REFUSED
        return False, f"TLS fails: {reason.lower().replace('_', ' ')}"


def _answer(connection: http.client.HTTPConnection) -> tuple[bool, str]:
    try:
        connection.request("GET", _PATH)
        response = connection.getresponse()
        text = response.read(1000).decode(errors="replace").strip()
    finally:
        connection.close()
    return response.status == HTTPStatus.OK, text or f"HTTP status {response.status}"


def _context(tls: Tls | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if tls is not None:
        tls.equip(context)
    return context
