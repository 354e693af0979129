"""The brokers of a soak: how the exporter's connections are cut, which queues there are, what is left behind."""

from __future__ import annotations

import time
import urllib.error
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol

from benchmarks.soak.remote_control import CONNECTION_NAME
from benchmarks.wire import EXCHANGE
from tests.integration.servers import RabbitMQ, Valkey
from tests.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from redis import Redis

_SECONDS: Final = 30.0
_FAREWELL_SECONDS: Final = 5.0
_MESSAGES: Final = 3
_MESSAGE: Final = '{"headers": {"id": "0f1e"}, "body": "W10="}'


class Broker(Protocol):
    """A running broker.

    Attributes:
        url: for the exporter and the publisher.
        version: what runs.
        holds: whether publishing must pause from a cut until the exporter is subscribed again.
    """

    url: str
    version: str
    holds: bool

    def remember_publisher(self) -> None:
        """Remember which connections are the publisher's, while the exporter has none yet."""

    def set_queues(self, names: Collection[str]) -> None:
        """Make exactly these queues for tasks exist, each with some messages."""

    def cut(self) -> None:
        """Cut all connections of the exporter."""

    def subscribed(self) -> bool:
        """Whether the exporter gets events."""

    def leftovers(self) -> list[str]:
        """What the exporter has made and is still there: keys, or queues and exchanges."""

    def permanent_leftovers(self) -> list[str]:
        """Those of them that will stay for ever."""


class RedisBroker:
    """Valkey."""

    holds = False

    def __init__(self, server: Valkey, client: Redis) -> None:
        self.url = server.url
        self.version = f"Valkey {client.info('server')['valkey_version']}"
        self._client: Any = client
        self._queues: set[str] = set()
        client.client_setname(CONNECTION_NAME.decode())

    def remember_publisher(self) -> None:
        """See :class:`Broker`; its connections have a name."""

    def set_queues(self, names: Collection[str]) -> None:
        """See :class:`Broker`."""
        for name in self._queues - set(names):
            self._client.delete(name, f"_kombu.binding.{name}")
        for name in set(names) - self._queues:
            self._client.sadd(f"_kombu.binding.{name}", f"{name}\x06\x16\x06\x16{name}")
            self._client.lpush(name, *[_MESSAGE] * _MESSAGES)
        self._queues = set(names)

    def cut(self) -> None:
        """See :class:`Broker`."""
        for client in self._others():
            self._client.client_kill_filter(_id=client["id"])

    def subscribed(self) -> bool:
        """See :class:`Broker`."""
        return any(int(client["psub"]) for client in self._others())

    def leftovers(self) -> list[str]:
        """See :class:`Broker`."""
        ours = self._queues | {f"_kombu.binding.{name}" for name in self._queues}
        return sorted({key.decode() for key in self._client.scan_iter(count=1000)} - ours)

    def permanent_leftovers(self) -> list[str]:
        """See :class:`Broker`; a list for late replies expires."""
        return [key for key in self.leftovers() if self._client.ttl(key) < 0]

    def _others(self) -> list[dict[str, str]]:
        return [client for client in self._client.client_list() if client["name"] != CONNECTION_NAME.decode()]


class AmqpBroker:
    """RabbitMQ. Events published while nobody is subscribed cannot be distinguished from lost ones."""

    holds = True

    def __init__(self, server: RabbitMQ) -> None:
        overview: Any = server.api("GET", "overview")
        self.url = server.url
        self.version = f"RabbitMQ {overview['rabbitmq_version']}"
        self._server = server
        self._queues: set[str] = set()
        self._exchanges = self._names("exchanges")
        self._ours: set[str] = set()

    def remember_publisher(self) -> None:
        """See :class:`Broker`."""
        self._ours = wait_for(self._connections, timeout=_SECONDS, what="the publisher's connection")

    def set_queues(self, names: Collection[str]) -> None:
        """See :class:`Broker`."""
        for name in self._queues - set(names):
            self._server.api("DELETE", f"queues/%2F/{name}")
        for name in set(names) - self._queues:
            self._server.api("PUT", f"queues/%2F/{name}", {"durable": True})
        self._queues = set(names)

    def cut(self) -> None:
        """See :class:`Broker`."""
        for name in self._connections() - self._ours:
            try:
                self._server.api("DELETE", f"connections/{name.replace(' ', '%20').replace('>', '%3E')}")
            except urllib.error.HTTPError:  # it is gone already
                continue

    def subscribed(self) -> bool:
        """See :class:`Broker`."""
        try:
            bindings: Any = self._server.api("GET", f"exchanges/%2F/{EXCHANGE}/bindings/source")
        except urllib.error.HTTPError:  # nobody has declared the exchange yet
            return False
        return bool(bindings)

    def leftovers(self) -> list[str]:
        """See :class:`Broker`."""
        return sorted(
            (self._names("queues") - self._queues) | (self._names("exchanges") - self._exchanges - {EXCHANGE})
        )

    def permanent_leftovers(self) -> list[str]:
        """See :class:`Broker`; exclusive queues go with their connection, which takes a moment."""
        deadline = time.monotonic() + _FAREWELL_SECONDS
        while (found := self.leftovers()) and time.monotonic() < deadline:
            time.sleep(_FAREWELL_SECONDS / 20)
        return found

    def _names(self, kind: str) -> set[str]:
        found: Any = self._server.api("GET", f"{kind}/%2F")
        return {str(item["name"]) for item in found}

    def _connections(self) -> set[str]:
        found: Any = self._server.api("GET", "connections")
        return {str(item["name"]) for item in found}


@contextmanager
def redis_broker(folder: Path) -> Iterator[Broker]:
    """Run Valkey, which cuts nobody off for being slow: on a busy machine the exporter may lag, and nothing is lost."""
    config = {"client-output-buffer-limit": "pubsub 0 0 0"}
    with Valkey(folder, config=config) as server, server.client() as client:
        yield RedisBroker(server, client)


@contextmanager
def amqp_broker(folder: Path) -> Iterator[Broker]:
    """Run RabbitMQ."""
    with RabbitMQ(folder) as server:
        yield AmqpBroker(server)
