"""TLS towards the broker: our options as Celery's settings, and what an end without a word may mean.

Source of the facts: ``kombu/transport/redis.py`` and ``kombu/transport/pyamqp.py`` (their ``ssl`` options), and tries
with RabbitMQ 3.10 and OpenSSL 3: with TLS 1.3 our handshake is over before the server looks for our certificate, so
often all that is seen is the end of the connection.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Final

from celery_metrics_exporter.config.config import BrokerTls
from celery_metrics_exporter.errors import ConfigError

NO_CERTIFICATE: Final = (
    "the broker may demand a client certificate: give it by --broker-tls-cert-file and --broker-tls-key-file"
)
_TLS_ENDS: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
_ENDS: Final = (ConnectionResetError, BrokenPipeError, *_TLS_ENDS)
#: The end of a connection, in words of py-amqp and redis-py.
_END_WORDS: Final = ("closed connection", "connection closed")


def tls_settings(tls: BrokerTls, *, redis: bool) -> dict[str, object]:
    """Celery's ``broker_use_ssl`` for our options, with the names that the transport of Redis or AMQP has for them.

    Raises ConfigError for an option that Redis' transport lacks.
    """
    settings = {
        "cert_reqs": ssl.CERT_REQUIRED if tls.verify else ssl.CERT_NONE,
        "ca_certs": tls.ca_file,
        "certfile": tls.cert_file,
        "keyfile": tls.key_file,
    }
    if redis:
        if tls.server_name is not None:
            raise ConfigError(
                "--broker-tls-server-name works with amqps:// only: write this name as the host of the broker URL"
            )
        return {
            "ssl_check_hostname": tls.verify,
            **{f"ssl_{name}": value for name, value in settings.items()},
        }
    return {**settings, "server_hostname": tls.server_name}  # None: the host of the URL


def may_want_certificate(error: BaseException, options: object, url: str) -> bool:
    """Whether the broker just ended a connection over TLS on which we show no certificate.

    Args:
        error: what connecting raised; an alert of TLS tells more than this.
        options: Celery's ``broker_use_ssl``.
        url: of the broker, whose query may name a certificate too.
    """
    named = isinstance(options, Mapping) and (options.get("certfile") or options.get("ssl_certfile"))
    if not options or named or "ssl_certfile" in url:
        return False
    causes = (error, error.__cause__ or error.__context__)
    if any(isinstance(cause, ssl.SSLError) and not isinstance(cause, _TLS_ENDS) for cause in causes):
        return False
    words = str(error).lower()
    return any(isinstance(cause, _ENDS) for cause in causes) or any(end in words for end in _END_WORDS)
