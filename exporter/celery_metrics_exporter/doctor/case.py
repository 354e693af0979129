"""What is known of the case at hand while checks go through it in their order.

Owns: the state that checks hand on to later ones. Must not know: the checks.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from celery_metrics_exporter.config.broker_url import family
from celery_metrics_exporter.doctor.addresses import Address, addresses_of
from celery_metrics_exporter.doctor.entry import Welcome, enter
from celery_metrics_exporter.doctor.redis_server import RedisServer

if TYPE_CHECKING:
    from celery_metrics_exporter.config.config import Config
    from celery_metrics_exporter.connection.celery_app import Broker
    from celery_metrics_exporter.control.survey import Survey
    from celery_metrics_exporter.doctor.hearing import Hearing
    from celery_metrics_exporter.doctor.listening import Listener
    from celery_metrics_exporter.doctor.progress import Progress
    from celery_metrics_exporter.doctor.redis_server import Tables

#: Seconds for connecting to a broker, and for each of its answers.
TIMEOUT_SECONDS: Final = 5.0
_REDIS: Final = frozenset({"redis", "socket", "sentinel"})


@dataclass(slots=True)
class Visit:
    """One try to get in, at one address, or at all Sentinels together.

    Attributes:
        name: of the address, for people.
        welcome: what the broker said when it let us in.
        error: why it did not.
    """

    name: str
    broker: Broker
    address: Address | None
    welcome: Welcome | None = None
    error: Exception | None = None

    def make(self) -> None:
        """Try, once."""
        try:
            self.welcome = enter(self.broker, timeout=TIMEOUT_SECONDS)
        except Exception as error:  # noqa: BLE001 - whatever a broker's library raises is the finding
            self.error = error


@dataclass(slots=True)
class Case:
    """A configuration and what has been found out.

    Attributes:
        reachable: addresses whose port answers.
        visits: tries to get in, at these.
        software: of the broker that let us in, as it calls itself; with its version and, on Redis, its role.
        database: of Redis, its number, once we are in.
        listener: our subscription; closed at the end.
        survey: our questions to workers; closed at the end.
        survey_error: why workers cannot be asked.
        probed: an event of our own was published.
        hearing: what came in the time of listening.
        tables: kombu's tables of bindings, on Redis.
    """

    config: Config
    broker: Broker
    progress: Progress
    wait: float
    addresses: tuple[Address, ...] = ()
    reachable: list[Address] = field(default_factory=list)
    visits: list[Visit] = field(default_factory=list)
    software: str = ""
    version: str = ""
    role: str = ""
    database: int | None = None
    listener: Listener | None = None
    survey: Survey | None = None
    survey_error: str | None = None
    probed: bool = False
    hearing: Hearing | None = None
    listened: float = 0.0
    tables: Tables | None = None

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

    def visit_all(self) -> list[Visit]:
        """Try to get in wherever a port answers; the first call does it."""
        if not self.visits:
            if self.family == "sentinel":
                self.visits = [Visit("Sentinel's master", self.broker, None)]
            else:
                self.visits = [
                    Visit(str(address), replace(self.broker, url=address.url), address)
                    for address in self.reachable
                ]
            with self.progress.doing("logging in"):
                for visit in self.visits:
                    visit.make()
            entered = next((visit.welcome for visit in self.visits if visit.welcome), Welcome())
            self.software, self.version = entered.software, entered.version
            if self.is_redis and any(visit.welcome for visit in self.visits):
                self._identify()
        return self.visits

    def _identify(self) -> None:
        """Redis tells its version and its role to who asks; a user who may not even PING cannot."""
        with contextlib.suppress(Exception):
            server = RedisServer(self.broker, timeout=TIMEOUT_SECONDS)
            try:
                self.database = server.database
                software, self.version, self.role = server.identity()
                self.software = software.capitalize()
            finally:
                server.close()

    def workers(self) -> set[str]:
        """The workers that were heard of or have answered."""
        heard = set(self.hearing.workers) if self.hearing else set()
        return heard | set(self.survey.workers if self.survey else ())

    def close(self) -> None:
        """Leave the broker."""
        if self.survey is not None:
            self.survey.close()
        if self.listener is not None:
            self.listener.close()


def listed(names: object, most: int = 5) -> str:
    """Some names in one line; of many the first ones."""
    every = sorted(map(str, names)) if isinstance(names, set | frozenset | dict) else list(map(str, names))  # type: ignore[call-overload]  # any iterable
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def counted(number: int, noun: str) -> str:
    """A number of things."""
    return f"{number} {noun}{'s' * (number != 1)}"


def one_line(error: BaseException) -> str:
    """An error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")
