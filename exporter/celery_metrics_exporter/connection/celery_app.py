"""Translate our configuration into a Celery application that can connect to the broker.

Source of the facts: ``celery/app/defaults.py`` (names and defaults of settings), ``celery/app/utils.py`` (``Settings``:
the variable CELERY_BROKER_URL wins over the settings), ``kombu/transport/redis.py`` and ``kombu/transport/pyamqp.py``
(their ``ssl`` and transport options).
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from celery import Celery
from kombu.exceptions import SerializationError, SerializerNotInstalled
from kombu.serialization import dumps
from redis.backoff import NoBackoff
from redis.retry import Retry

from celery_metrics_exporter.config.broker_url import REDIS, SUPPORTED, family, masked_url
from celery_metrics_exporter.config.config import Config, EventQueue, secrets, secrets_in
from celery_metrics_exporter.connection.app_loading import checked_app, load_app
from celery_metrics_exporter.connection.app_routes import declared_queues
from celery_metrics_exporter.connection.tls import NO_CERTIFICATE, may_want_certificate, tls_settings
from celery_metrics_exporter.connection.versions import (
    add_later_settings,
    check_redis_py,
    check_transport,
)
from celery_metrics_exporter.errors import ConfigError, one_line

#: In seconds: bound the wait for a broker that does not answer. The user's transport options win.
_REDIS_OPTIONS: Final = {"socket_connect_timeout": 5, "socket_timeout": 10, "health_check_interval": 10}
_CONNECT_SECONDS: Final = 5.0
#: AMQP heartbeats; each side closes the connection after two missed ones.
_HEARTBEAT_SECONDS: Final = 8.0
_REDIS: Final = frozenset(scheme for scheme, kind in SUPPORTED.items() if kind in REDIS)
_AMQP: Final = frozenset(scheme for scheme, kind in SUPPORTED.items() if kind == "amqp")
#: The libraries of kombu's transports, which this package does not bring.
_LIBRARIES: Final = {"mongodb": "pymongo", "gcpubsub": "google.cloud.pubsub_v1", "pgmq": "pgmq"}
#: By family: the library with which queues are read where there are no events, and what to install for it.
_READING_LIBRARIES: Final = {
    "sqs": ("boto3", "celery-metrics-exporter[sqs]"),
    "sqlalchemy": ("sqlalchemy", "kombu[sqlalchemy]"),
}
#: Where boto3 finds secrets besides (botocore/credentials.py, ``EnvProvider``).
_AWS_SECRETS: Final = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN")
#: By family: our queue must not stay for ever where the broker has no other end for it (kombu/transport/mongodb.py,
#: ``ttl``), and no wait may hold up a stop.
_DEFAULTS: Final[Mapping[str, Mapping[str, object]]] = {
    "mongodb": {"ttl": True},
    "gcpubsub": {"wait_time_seconds": 1},
    "pgmq": {"wait_time_seconds": 1, "pool_timeout": _CONNECT_SECONDS},
}
_REDIS_TIMEOUTS: Final = ("socket_connect_timeout", "socket_timeout")
_AMQP_TIMEOUTS: Final = ("read_timeout", "write_timeout")


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker to connect to.

    Attributes:
        app: a ``celery.Celery`` with the settings for events and remote control, which is never made current.
        url: of the broker, with its password.
        secrets: texts that no log line or page may show.
        queues: names of the queues of the application of --app; empty without one.
    """

    app: Any
    url: str
    secrets: frozenset[str]
    queues: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The URL without its password."""
        return masked_url(self.url)

    @property
    def scheme(self) -> str:
        """The scheme of the URL (of the first one of a failover list), in lower case."""
        return self.url.partition("://")[0].lower()

    @property
    def family(self) -> str:
        """As ``config.broker_url.family`` names it."""
        return family(self.url)

    def connect(self, *, heartbeat: float = _HEARTBEAT_SECONDS, timeout: float | None = None) -> Any:
        """Connect; tries each broker of a failover list once.

        Args:
            heartbeat: seconds between AMQP heartbeats, which the caller then has to send; 0 for none.
            timeout: seconds that connecting and each answer of the broker may take; None: as configured.

        Returns:
            A ``kombu.Connection`` that is connected. Raises what the client library raises.
        """
        connection = self.app.connection_for_read(
            url=self.url,
            heartbeat=heartbeat,
            connect_timeout=timeout,
            transport_options=self._bounds(timeout),
        )
        # one attempt asks all Sentinels
        retries = 0 if self.scheme == "sentinel" else max(0, len(connection.alt) - 1)
        try:
            return connection.ensure_connection(
                max_retries=retries,
                interval_start=0,
                interval_step=0,
                interval_max=0,
                reraise_as_library_errors=False,
            )
        except Exception as error:
            if may_want_certificate(error, self.app.conf.broker_use_ssl, self.url):
                raise ConnectionError(f"{one_line(error)}; {NO_CERTIFICATE}") from error
            raise

    def _bounds(self, timeout: float | None) -> dict[str, object]:
        if timeout is None or self.scheme not in _REDIS | _AMQP:
            return {}
        if self.scheme in _AMQP:
            return dict.fromkeys(_AMQP_TIMEOUTS, timeout)
        times = dict.fromkeys(_REDIS_TIMEOUTS, timeout)
        bounds: dict[str, object] = {**times, "retry_on_timeout": False}
        if self.scheme == "sentinel":
            # redis/client.py, Redis: by default a Sentinel that does not answer is asked ten more times
            given = self.app.conf.broker_transport_options.get("sentinel_kwargs") or {}
            bounds["sentinel_kwargs"] = {**given, **times, "retry": Retry(NoBackoff(), 0)}
        return bounds


def broker_of(config: Config, app: Any = None) -> Broker:
    """Make a Celery application, or load the user's, and apply our options to it; connects to nothing.

    Args:
        config: the user's options.
        app: the application that ``config.app`` names, if it is loaded already.

    Raises:
        ConfigError: the user's application cannot be loaded, or its settings contradict our options.
    """
    if config.app is None:
        app = Celery("celery-exporter", set_as_current=False)
    else:
        app = load_app(config.app) if app is None else checked_app(app, config.app)
    add_later_settings(app)
    conf = app.conf
    url = config.broker_url or _url_of(conf)
    scheme = url.partition("://")[0].lower()
    if scheme in _REDIS:
        check_redis_py()
    conf.broker_connection_timeout = min(conf.broker_connection_timeout or _CONNECT_SECONDS, _CONNECT_SECONDS)
    defaults = _REDIS_OPTIONS if scheme in _REDIS else _DEFAULTS.get(SUPPORTED.get(scheme, ""), {})
    options = {**defaults, **conf.broker_transport_options, **config.transport_options}
    _configure_names(conf, config)
    if config.events:
        _check_library(scheme)
    # What the application brings has to keep the same rules.
    checked = Config(
        broker_url=url,
        events=config.events,
        transport_options=options,
        management_url=config.management_url,
        event_queue=EventQueue(exclusive=conf.event_queue_exclusive, durable=conf.event_queue_durable),
    )
    _check_reading_library(family(url))
    conf.broker_transport_options = options
    if config.tls is not None:
        conf.broker_use_ssl = tls_settings(config.tls, redis=scheme in _REDIS)
    elif scheme == "rediss" and not conf.broker_use_ssl and "ssl_cert_reqs" not in url:
        conf.broker_use_ssl = {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    elif scheme == "amqps" and not conf.broker_use_ssl:
        conf.broker_use_ssl = {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None}
    queues = declared_queues(app) if config.app else ()
    hidden = secrets(checked) | frozenset(secrets_in(conf.broker_use_ssl))
    if family(url) == "sqs":
        hidden |= frozenset(filter(None, map(os.environ.get, _AWS_SECRETS)))
    return Broker(app, url, hidden, queues)


def _url_of(conf: Any) -> str:
    url = conf.broker_read_url or "amqp://guest:guest@localhost:5672//"
    return ";".join(url) if isinstance(url, list | tuple) else str(url)


def _configure_names(conf: Any, config: Config) -> None:
    queue = config.event_queue
    for setting, value in {
        "event_queue_prefix": queue.prefix,
        "event_queue_ttl": queue.ttl,
        "event_queue_expires": queue.expires,
        "event_queue_exclusive": queue.exclusive,
        "event_queue_durable": queue.durable,
        "event_exchange": queue.exchange,
        "event_serializer": queue.serializer,
        "control_exchange": config.control_exchange,
    }.items():
        if value is not None:
            conf[setting] = value
    if conf.event_serializer == "pickle":
        raise ConfigError(
            "event_serializer is pickle, which is never loaded: set it to json in the application"
        )
    try:
        dumps({}, serializer=conf.event_serializer)
    except (SerializationError, SerializerNotInstalled) as error:
        raise ConfigError(
            f"events in {conf.event_serializer} cannot be read here ({error}): install its library, "
            "or write --event-serializer json, msgpack or yaml"
        ) from error


def _check_reading_library(kind: str) -> None:
    """Raise ConfigError where the library is missing that reads the queues of such a broker."""
    if kind not in _READING_LIBRARIES:
        return
    name, install = _READING_LIBRARIES[kind]
    try:
        import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"queues of {kind} are read with a library that is not there ({error}): pip install '{install}'"
        ) from error


def _check_library(scheme: str) -> None:
    """Raise ConfigError where kombu's transport lacks its library, or kombu the transport."""
    name = scheme.partition("+")[0]
    if name not in _LIBRARIES:
        return
    check_transport(name)
    try:
        import_module(_LIBRARIES[name])
    except ImportError as error:
        raise ConfigError(
            f"a broker at {scheme}:// needs a library that is not there ({error}): pip install 'kombu[{name}]'"
        ) from error
