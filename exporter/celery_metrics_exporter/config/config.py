"""The configuration: one frozen value, checked when it is made.

Every setting with its default, and each rule that a setting must keep, in one place; `config.parse` turns text into
settings. What an application of --app brings later is checked by a Config of it (``connection.celery_app``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType
from typing import Final

from celery_metrics_exporter.cells import COARSEST, FINEST
from celery_metrics_exporter.config.broker_url import (
    LOCAL,
    UNIVERSAL,
    WITHOUT_EVENTS,
    check_broker_url,
    check_management_url,
    family,
    is_secret_name,
    url_secrets,
)
from celery_metrics_exporter.errors import ConfigError

#: Characters of a queue's name, as in events.
_LONGEST_QUEUE: Final = 500
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
LOG_FORMATS: Final = ("logfmt", "json")
#: The fastest for the broker, or the one that works with every broker.
RECEIVERS: Final = ("auto", "kombu")
#: Upper bounds in seconds.
RUNTIME_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
WAIT_BUCKETS: Final = (0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400)
#: The resolution of native histograms: eight buckets for each power of two.
NATIVE_SCHEMA: Final = 3


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where to serve HTTP; an empty host means every interface, IPv4 and IPv6; port 0: the system chooses."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerTls:
    """TLS towards the broker. Files are PEM; `server_name` is the name that the certificate must carry."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    verify: bool = True
    server_name: str | None = None

    def __post_init__(self) -> None:
        if self.key_file is not None and self.cert_file is None:
            raise ConfigError("--broker-tls-key-file needs its certificate: add --broker-tls-cert-file")
        if not self.verify and self.ca_file is not None:
            raise ConfigError("--no-broker-tls-verify ignores --broker-tls-ca-file: drop one of them")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventQueue:
    """The queue that receives events; None: as the app says, else Celery's default. Times in seconds."""

    prefix: str | None = None
    ttl: float | None = None
    expires: float | None = None
    exclusive: bool | None = None
    durable: bool | None = None
    exchange: str | None = None
    serializer: str | None = None
    routing_key: str = "#"

    def __post_init__(self) -> None:
        if self.exclusive and self.durable:
            raise ConfigError(
                "an event queue, exclusive unless told otherwise, cannot be durable at the same time: "
                "write --no-event-queue-exclusive or --no-event-queue-durable"
            )
        _check_name("--event-queue-prefix", self.prefix)
        _check_name("--event-exchange", self.exchange)
        _check_name("--event-serializer", self.serializer)
        _check_name("--event-routing-key", self.routing_key)
        _check_seconds("--event-queue-ttl", self.ttl)
        _check_seconds("--event-queue-expires", self.expires)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All settings of the exporter; times in seconds. Raises ConfigError where they cannot work."""

    broker_url: str | None = field(default=None, repr=False)
    app: str | None = None
    app_tasks: bool = True
    transport_options: Mapping[str, object] = field(
        default_factory=lambda: MappingProxyType({}), repr=False, hash=False
    )
    tls: BrokerTls | None = None
    event_queue: EventQueue = field(default_factory=EventQueue)
    events: bool = True
    receiver: str = "auto"
    enable_events: bool = True
    remote_control: bool = True
    control_exchange: str | None = None
    inspect_workers: bool = True
    inspect_interval: float = 30.0
    recover: bool = True
    queues: tuple[str, ...] = ()
    queue_include: tuple[str, ...] = ()
    queue_exclude: tuple[str, ...] = ()
    queue_priorities: bool = False
    sample_interval: float = 5.0
    management_url: str | None = field(default=None, repr=False)
    runtime_buckets: tuple[float, ...] = RUNTIME_BUCKETS
    wait_buckets: tuple[float, ...] = WAIT_BUCKETS
    classic_histograms: bool = True
    native_histograms: bool = True
    native_histogram_schema: int = NATIVE_SCHEMA
    exemplars: bool = True
    worker_timeout: float = 60.0
    worker_retention: float = 3600.0
    max_in_flight: int = 1_000_000
    max_series: int = 10_000
    listen: tuple[ListenAddress, ...] = (ListenAddress("", 9808),)
    telemetry_path: str = "/metrics"
    web_config_file: str | None = None
    log_level: str = "info"
    log_format: str = "logfmt"

    def __post_init__(self) -> None:
        object.__setattr__(self, "transport_options", MappingProxyType(dict(self.transport_options)))
        if not self.events:  # nothing but queues is looked at, and nothing is written to the broker
            object.__setattr__(self, "remote_control", False)
        self._check_broker()
        _check_name("--control-exchange", self.control_exchange)
        _check_buckets("--runtime-buckets", self.runtime_buckets)
        _check_buckets("--wait-buckets", self.wait_buckets)
        if not COARSEST <= self.native_histogram_schema <= FINEST:
            raise ConfigError(
                f"--native-histogram-schema must be from {COARSEST} to {FINEST}: write for example {NATIVE_SCHEMA}"
            )
        if not (self.classic_histograms or self.native_histograms):
            raise ConfigError(
                "--no-classic-histograms and --no-native-histograms leave histograms without buckets: drop one of them"
            )
        _check_seconds("--worker-timeout", self.worker_timeout)
        _check_seconds("--worker-retention", self.worker_retention)
        _check_seconds("--inspect-interval", self.inspect_interval)
        _check_seconds("--sample-interval", self.sample_interval)
        for option, count in (("--max-in-flight", self.max_in_flight), ("--max-series", self.max_series)):
            if count < 1:
                raise ConfigError(f"{option} must be at least 1: write for example 10000")
        self._check_queues()
        if not self.listen:
            raise ConfigError("no address to listen on: write for example --web.listen-address :9808")
        _check_telemetry_path(self.telemetry_path)
        for option, word, words in (
            ("--receiver", self.receiver, RECEIVERS),
            ("--log.level", self.log_level, LOG_LEVELS),
            ("--log.format", self.log_format, LOG_FORMATS),
        ):
            if word not in words:
                raise ConfigError(f"{option} must be one of {', '.join(words)}")

    def _check_queues(self) -> None:
        for option, names in (
            ("--queue", self.queues),
            ("--queue-include", self.queue_include),
            ("--queue-exclude", self.queue_exclude),
        ):
            if not all(name.strip() and len(name) <= _LONGEST_QUEUE for name in names):
                raise ConfigError(
                    f"{option} must not be empty, and have at most {_LONGEST_QUEUE} characters: "
                    f"write for example {option} celery"
                )
        if self.management_url is not None:
            check_management_url(self.management_url)
            if self.broker_url is not None and family(self.broker_url) != "amqp":
                raise ConfigError(
                    "--management-url works with RabbitMQ only: drop it for a broker that is not amqp://"
                )

    def _check_broker(self) -> None:
        if self.broker_url is None:
            if self.app is None:
                raise ConfigError(
                    "no broker given: write --broker-url URL (or set CELERY_BROKER_URL), "
                    "or try `celery-exporter demo`, which brings one "
                    "(pip install 'celery-metrics-exporter[demo]')"
                )
            return
        check_broker_url(self.broker_url, events=self.events)
        transport = family(self.broker_url)
        if self.tls is not None and transport in LOCAL | UNIVERSAL | WITHOUT_EVENTS:
            raise ConfigError(
                "--broker-tls-... works with Redis and RabbitMQ: write a rediss:// or amqps:// URL (for MongoDB add "
                "?tls=true&tlsCAFile=FILE to the URL)"
            )
        if transport == "sentinel" and self.app is None and "master_name" not in self.transport_options:
            raise ConfigError(
                "sentinel:// needs the master's name: add --broker-transport-option master_name=NAME"
            )


def secrets(config: Config) -> frozenset[str]:
    """The texts of this configuration that no log line, error or page may show; none is empty."""
    found = set(secrets_in(config.transport_options))
    for url in (config.broker_url, config.management_url):
        if url is not None:
            found |= url_secrets(url)
    return frozenset(found)


def secrets_in(value: object, name: str = "") -> Iterable[str]:
    """The secret texts in a setting of this name, and in what is nested in it."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            # What stands below a secret name is secret, whatever its own name.
            yield from secrets_in(item, name if is_secret_name(name) else str(key))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from secrets_in(item, name)
    elif isinstance(value, bool) or value is None:
        return
    elif is_secret_name(name) and str(value):
        yield str(value)
    elif isinstance(value, str) and "://" in value:
        yield from url_secrets(value)


def _check_name(option: str, text: str | None) -> None:
    if text is not None and (not text.isprintable() or not text.strip()):
        raise ConfigError(f"{option} must be printable and not empty: leave it out for the default")


def _check_seconds(option: str, seconds: float | None) -> None:
    if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
        raise ConfigError(f"{option} must be more than 0 seconds: write for example 60 or 5m")


def _check_buckets(option: str, buckets: tuple[float, ...]) -> None:
    if not buckets:
        raise ConfigError(f"{option} is empty: write upper bounds in seconds, for example 0.1,1,10")
    for bound in buckets:
        if not (math.isfinite(bound) and bound > 0):
            raise ConfigError(
                f"{option} must be finite and above 0 seconds, {bound:g} is not: write for example 0.1,1,10"
            )
    for low, high in pairwise(buckets):
        if high <= low:
            raise ConfigError(
                f"{option} must increase, {high:g} comes after {low:g}: "
                "write the smallest first, for example 0.1,1,10"
            )


def _check_telemetry_path(path: str) -> None:
    if not path.startswith("/") or not path.isascii() or any(c.isspace() or c in "?#" for c in path):
        raise ConfigError("--web.telemetry-path must be a path: write for example /metrics")
    if path == "/" or path.startswith("/-/"):
        raise ConfigError("--web.telemetry-path is taken by the exporter itself: write for example /metrics")
