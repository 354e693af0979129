"""The state that checks hand on to later ones: what is examined, and what has been found out."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from celery_metrics_exporter.config.broker_url import family
from celery_metrics_exporter.doctor.addresses import Address, addresses_of
from celery_metrics_exporter.doctor.entry import BrokerIdentity, log_in
from celery_metrics_exporter.doctor.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celery_metrics_exporter.config.config import Config
    from celery_metrics_exporter.connection.celery_app import Broker
    from celery_metrics_exporter.doctor.progress import Progress
    from celery_metrics_exporter.doctor.questions import Questions
    from celery_metrics_exporter.doctor.redis_server import Tables
    from celery_metrics_exporter.doctor.traffic import Traffic
    from celery_metrics_exporter.doctor.trial_run import TrialRun
    from celery_metrics_exporter.status_page.findings import Finding
    from celery_metrics_exporter.status_page.snapshot import Snapshot

_REDIS: Final = frozenset({"redis", "socket", "sentinel"})


@dataclass(slots=True)
class LoginAttempt:
    """One attempt to log in, at one address, or at all Sentinels together.

    Attributes:
        name: of the address, for people.
        identity: what the broker said when it let us in.
        error: why it did not.
    """

    name: str
    broker: Broker
    address: Address | None
    identity: BrokerIdentity | None = None
    error: Exception | None = None

    def make(self, timeout: float) -> None:
        """Try, once."""
        try:
            self.identity = log_in(self.broker, timeout=timeout)
        except Exception as error:  # noqa: BLE001 - whatever a broker's library raises is the finding
            self.error = error


@dataclass(slots=True)
class Context:
    """A configuration and what has been found out.

    Attributes:
        wait: seconds for which the exporter listens.
        timeout: seconds for connecting to a broker, and for each of its answers.
        reachable: addresses whose port answers.
        attempts: to log in, at these.
        software: of the broker that let us in, as it calls itself; with its version and, on Redis, its role.
        database: of Redis, its number, once we are in.
        tables: kombu's tables of bindings, on Redis.
        traffic: measures what comes, on Redis; closed at the end.
        trial_run: the exporter that runs; stopped at the end.
        questions: our own to workers; closed at the end.
        seen: what the exporter saw at last ...
        findings: ... and what is missing of it.
    """

    config: Config
    broker: Broker
    progress: Progress
    wait: float
    timeout: float
    addresses: tuple[Address, ...] = ()
    reachable: list[Address] = field(default_factory=list)
    attempts: list[LoginAttempt] = field(default_factory=list)
    software: str = ""
    version: str = ""
    role: str = ""
    database: int | None = None
    tables: Tables | None = None
    traffic: Traffic | None = None
    trial_run: TrialRun | None = None
    questions: Questions | None = None
    seen: Snapshot | None = None
    findings: Sequence[Finding] = ()

    def __post_init__(self) -> None:
        self.addresses = addresses_of(self.broker.url)

    @property
    def family(self) -> str:
        """redis, socket, sentinel, amqp, memory or filesystem."""
        return family(self.broker.url)

    @property
    def is_redis(self) -> bool:
        """Whether it speaks Redis' protocol."""
        return self.family in _REDIS

    @property
    def local(self) -> bool:
        """Whether there is no server at all."""
        return not self.addresses

    @property
    def seconds(self) -> float:
        """For how long the exporter has listened."""
        return 0.0 if self.trial_run is None else self.trial_run.seconds

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

    def login_attempts(self) -> list[LoginAttempt]:
        """Try to log in wherever a port answers; the first call does it."""
        if not self.attempts:
            if self.family == "sentinel":
                self.attempts = [LoginAttempt("Sentinel's master", self.broker, None)]
            else:
                self.attempts = [
                    LoginAttempt(str(address), replace(self.broker, url=address.url), address)
                    for address in self.reachable
                ]
            with self.progress.doing("logging in"):
                for attempt in self.attempts:
                    attempt.make(self.timeout)
            identity = next((attempt.identity for attempt in self.attempts if attempt.identity), None)
            if identity is not None:
                self.software, self.version = identity.software, identity.version
                if self.is_redis:
                    self._identify()
        return self.attempts

    def _identify(self) -> None:
        """Redis tells its version and its role to who asks; a user who may not even PING cannot."""
        with contextlib.suppress(Exception):
            server = RedisServer(self.broker, timeout=self.timeout)
            try:
                self.database = server.database
                software, self.version, self.role = server.identity()
                self.software = software.capitalize()
            finally:
                server.close()

    def close(self) -> None:
        """Leave the broker."""
        for each in (self.questions, self.trial_run, self.traffic):
            if each is not None:
                each.close()
