"""The state that checks hand on to later ones: what is examined, and what has been found out."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace

from celery_metrics_exporter.app import Exporter
from celery_metrics_exporter.config.broker_url import REDIS, UNIVERSAL, WITHOUT_EVENTS
from celery_metrics_exporter.config.config import Config
from celery_metrics_exporter.connection.celery_app import Broker
from celery_metrics_exporter.doctor.failures import ConnectFailure, failure_of
from celery_metrics_exporter.doctor.network import Address, addresses_of
from celery_metrics_exporter.doctor.progress import doing
from celery_metrics_exporter.doctor.questions import Questions
from celery_metrics_exporter.doctor.redis_server import RedisServer, Tables
from celery_metrics_exporter.doctor.traffic import Traffic
from celery_metrics_exporter.status_page.findings import Finding
from celery_metrics_exporter.status_page.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """One attempt to log in.

    Attributes:
        address: where; None: at all Sentinels together.
        error: why the broker did not let us in; None if it did.
    """

    address: Address | None
    error: Exception | None = None

    def __str__(self) -> str:
        return str(self.address or "Sentinel's master")

    @property
    def failure(self) -> ConnectFailure | None:
        """What the error is about."""
        return None if self.error is None else failure_of(self.error)


@dataclass(slots=True)
class Context:
    """A configuration and what has been found out.

    Attributes:
        wait: seconds for which the exporter listens.
        timeout: seconds for connecting to a broker, and for each of its answers.
        leaving: what is to be done at the end, the latest first.
        reachable: addresses whose port answers.
        attempts: to log in, at these.
        software: of the broker that let us in, as it calls itself; with its version and, on Redis, its role.
        database: of Redis, its number, once we are in.
        tables: kombu's tables of bindings, on Redis.
        questions: our own to workers.
        exporter: the one that runs, and the monotonic time since which it receives.
        traffic: measures what comes, on Redis.
        seconds: for which the exporter listened.
        seen: what it saw in them ...
        findings: ... and what is missing of it.
    """

    config: Config
    broker: Broker
    wait: float
    timeout: float
    leaving: ExitStack = field(default_factory=ExitStack)
    addresses: tuple[Address, ...] = field(init=False)
    reachable: list[Address] = field(default_factory=list)
    attempts: list[LoginAttempt] = field(default_factory=list)
    software: str = ""
    version: str = ""
    role: str = ""
    database: int | None = None
    tables: Tables | None = None
    questions: Questions | None = None
    exporter: Exporter | None = None
    since: float = 0.0
    traffic: Traffic | None = None
    seconds: float = 0.0
    seen: Snapshot | None = None
    findings: Sequence[Finding] = ()

    def __post_init__(self) -> None:
        self.addresses = addresses_of(self.broker.url)

    @property
    def family(self) -> str:
        """As ``config.broker_url.family`` names it."""
        return self.broker.family

    @property
    def is_redis(self) -> bool:
        """Whether it speaks Redis' protocol."""
        return self.family in REDIS

    @property
    def local(self) -> str:
        """Why there is no server to examine; empty where there is one."""
        if self.addresses:
            return ""
        if self.family in WITHOUT_EVENTS:
            return f"not examined at {self.broker.scheme}://, see whether queues can be read"
        if self.family in UNIVERSAL:
            return f"not examined at {self.broker.scheme}://, which is reached through kombu alone"
        return "this broker has no server: there is nothing to connect to"

    @property
    def settings(self) -> object:
        """kombu's connection of this broker, not connected: what URL and settings come to."""
        return self.broker.app.connection_for_read(url=self.broker.url)

    @property
    def user(self) -> str:
        """Whom we log in as."""
        default = "guest" if self.family == "amqp" else "default"
        return str(getattr(self.settings, "userid", None) or default)

    @property
    def vhost(self) -> str:
        """The virtual host, or the number of the database."""
        if self.database is not None:
            return str(self.database)
        vhost = str(getattr(self.settings, "virtual_host", None) or "").strip("/" if self.is_redis else "")
        return vhost or ("0" if self.is_redis else "/")

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues that are named; without any, the default one."""
        named = dict.fromkeys((*self.config.queues, *self.broker.queues))
        return tuple(named) or (str(self.broker.app.conf.task_default_queue),)

    def redis_server(self) -> closing[RedisServer]:
        """Connect to Redis, for the block of a ``with``."""
        return closing(RedisServer(self.broker, timeout=self.timeout))

    def login_attempts(self) -> list[LoginAttempt]:
        """Try to log in wherever a port answers; the first call does it."""
        if not self.attempts:
            with doing("logging in"):
                places = (None,) if self.family == "sentinel" else self.reachable
                self.attempts = [self._log_in(place) for place in places]
            if self.is_redis and any(attempt.error is None for attempt in self.attempts):
                self._identify()
        return self.attempts

    def _log_in(self, address: Address | None) -> LoginAttempt:
        """Connect as the exporter does, and leave."""
        broker = self.broker if address is None else replace(self.broker, url=address.url)
        try:
            connection = broker.connect(heartbeat=0, timeout=self.timeout)
        except Exception as error:  # noqa: BLE001 - whatever a broker's library raises is the finding
            return LoginAttempt(address, error)
        told = getattr(connection.connection, "server_properties", None) or {}
        connection.collect()
        self.software = self.software or _text(told.get("product"))
        self.version = self.version or _text(told.get("version"))
        return LoginAttempt(address)

    def _identify(self) -> None:
        """Redis tells its version and its role to who asks; a user who may not even PING cannot."""
        with contextlib.suppress(Exception), self.redis_server() as server:
            self.database = server.database
            software, self.version, self.role = server.identity()
            self.software = software.capitalize()


def _text(value: object) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")
    return text if text.isprintable() else ""
