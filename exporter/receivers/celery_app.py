"""The Celery application whose configuration says how to reach the broker and what the event queue is like.

Owns: the translation of our configuration into Celery's. Must not know: events, metrics.

Source of the facts: ``celery/app/defaults.py`` (names and defaults of settings), ``kombu/transport/redis.py`` and
``kombu/transport/pyamqp.py`` (what they take as ``ssl`` and as transport options).
"""

from __future__ import annotations

import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from celery import Celery
from celery.app.utils import find_app

from exporter.errors import ConfigError

if TYPE_CHECKING:
    from exporter.config import BrokerTls, Config

#: Seconds; bound what a broker that does not answer can cost. Transport options of the user win.
_REDIS_OPTIONS: Final = {"socket_connect_timeout": 5, "socket_timeout": 10, "health_check_interval": 10}
_CONNECT_TIMEOUT: Final = 5.0


def celery_app(config: Config) -> Any:
    """Make the application, or load the user's and let our options win.

    Returns:
        A ``celery.Celery``, never made current; no connection yet.

    Raises:
        ConfigError: the user's application cannot be loaded, or its settings and our options do not fit together.
    """
    app = (
        _load(config.app) if config.app else Celery("celery-exporter", set_as_current=False, loader="default")
    )
    conf = app.conf
    if config.broker_url is not None:
        conf.broker_url = config.broker_url
        conf.broker_read_url = conf.broker_write_url = None
    url = str(conf.broker_read_url or conf.broker_url or "")
    scheme = url.partition("://")[0]
    conf.broker_connection_timeout = min(conf.broker_connection_timeout or _CONNECT_TIMEOUT, _CONNECT_TIMEOUT)
    defaults = _REDIS_OPTIONS if scheme in {"redis", "rediss", "sentinel"} else {}
    conf.broker_transport_options = {**defaults, **conf.broker_transport_options, **config.transport_options}
    if scheme == "sentinel" and "master_name" not in conf.broker_transport_options:
        raise ConfigError(
            "sentinel:// needs the master's name: add --broker-transport-option master_name=NAME"
        )
    if config.tls is not None:
        conf.broker_use_ssl = _ssl(config.tls, scheme)
    elif scheme == "rediss" and not conf.broker_use_ssl and "ssl_cert_reqs" not in url:
        conf.broker_use_ssl = {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    elif scheme == "amqps" and not conf.broker_use_ssl:
        conf.broker_use_ssl = {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None}
    _configure_events(conf, config)
    return app


def _configure_events(conf: Any, config: Config) -> None:
    queue = config.event_queue
    for setting, value in {
        "event_queue_prefix": queue.prefix,
        "event_queue_ttl": queue.ttl,
        "event_queue_expires": queue.expires,
        "event_queue_exclusive": queue.exclusive,
        "event_queue_durable": queue.durable,
        "event_exchange": queue.exchange,
        "event_serializer": queue.serializer,
    }.items():
        if value is not None:
            conf[setting] = value
    if conf.event_queue_exclusive and conf.event_queue_durable:
        raise ConfigError(
            "the event queue cannot be exclusive (Celery's default) and durable: "
            "add --no-event-queue-exclusive, or drop --event-queue-durable"
        )
    if conf.event_serializer == "pickle":
        raise ConfigError(
            "events in pickle are never loaded: set event_serializer to json in the application"
        )


def _load(name: str) -> Any:
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return find_app(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"--app {name} cannot be loaded: {error}; write it like project.celery:app, "
            "and start where the project can be imported"
        ) from error


def _ssl(tls: BrokerTls, scheme: str) -> dict[str, object]:
    required = ssl.CERT_REQUIRED if tls.verify else ssl.CERT_NONE
    if scheme in {"redis", "rediss", "sentinel"}:
        if tls.server_name is not None:
            raise ConfigError(
                "--broker-tls-server-name works with amqps:// only: name the broker so in its URL"
            )
        return {
            "ssl_cert_reqs": required,
            "ssl_check_hostname": tls.verify,
            "ssl_ca_certs": tls.ca_file,
            "ssl_certfile": tls.cert_file,
            "ssl_keyfile": tls.key_file,
        }
    return {
        "cert_reqs": required,
        "ca_certs": tls.ca_file,
        "certfile": tls.cert_file,
        "keyfile": tls.key_file,
        "server_hostname": tls.server_name,  # None: the host of the URL
    }
