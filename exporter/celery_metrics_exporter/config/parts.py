"""Groups of settings that belong together, each checked when it is made: address, TLS to the broker, event queue."""

from __future__ import annotations

import math
from dataclasses import dataclass

from celery_metrics_exporter.errors import ConfigError


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
                "an event queue (exclusive by Celery's default) cannot be exclusive and durable at once: "
                "write --no-event-queue-exclusive or --no-event-queue-durable"
            )
        for option, text in (
            ("--event-queue-prefix", self.prefix),
            ("--event-exchange", self.exchange),
            ("--event-serializer", self.serializer),
            ("--event-routing-key", self.routing_key),
        ):
            if text is not None and (not text.isprintable() or not text.strip()):
                raise ConfigError(f"{option} must be printable and not empty: leave it out for the default")
        for option, seconds in (("--event-queue-ttl", self.ttl), ("--event-queue-expires", self.expires)):
            if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
                raise ConfigError(f"{option} must be more than 0 seconds: write for example 60 or 5m")
