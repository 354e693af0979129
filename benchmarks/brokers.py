"""The brokers over which the stream goes, and who is subscribed there. Owns: servers for benchmarks."""

import urllib.error
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from benchmarks.publisher import EXCHANGE
from tests.integration.servers import RabbitMQ, Valkey


class Broker(Protocol):
    """A running broker."""

    @property
    def url(self) -> str:
        """The broker URL for consumers and the publisher."""

    @property
    def version(self) -> str:
        """What runs."""

    def subscribers(self) -> int:
        """How many consumers get the stream now."""


@dataclass(slots=True)
class RedisBroker:
    """Valkey, with room for consumers that fall behind: the stream is what is measured, not who is cut off."""

    server: Valkey
    version: str = field(init=False)

    def __post_init__(self) -> None:
        """Ask for the version."""
        with self.server.client() as client:
            self.version = f"Valkey {client.info('server')['valkey_version']}"

    @property
    def url(self) -> str:
        """The broker URL."""
        return self.server.url

    def subscribers(self) -> int:
        """Clients that are subscribed to a pattern, as kombu does for a fanout exchange."""
        with self.server.client() as client:
            return sum(int(connected["psub"]) > 0 for connected in client.client_list())


@dataclass(slots=True)
class AmqpBroker:
    """RabbitMQ. A consumer that is more than 5 s behind loses events: so long does Celery let them live in its queue."""

    server: RabbitMQ
    version: str = field(init=False)

    def __post_init__(self) -> None:
        """Ask for the version."""
        overview = self.server.api("GET", "overview")
        assert isinstance(overview, Mapping)
        self.version = f"RabbitMQ {overview['rabbitmq_version']}"

    @property
    def url(self) -> str:
        """The broker URL."""
        return self.server.url

    def subscribers(self) -> int:
        """Queues that are bound to the event exchange."""
        try:
            bindings = self.server.api("GET", f"exchanges/%2F/{EXCHANGE}/bindings/source")
        except urllib.error.HTTPError:  # nobody has declared the exchange yet
            return 0
        assert isinstance(bindings, list)
        return len(bindings)


@contextmanager
def redis_broker(folder: Path) -> Iterator[Broker]:
    """Run Valkey for a while."""
    with Valkey(folder, config={"client-output-buffer-limit": "pubsub 0 0 0"}) as server:
        yield RedisBroker(server)


@contextmanager
def amqp_broker(folder: Path) -> Iterator[Broker]:
    """Run RabbitMQ for a while."""
    with RabbitMQ(folder) as server:
        yield AmqpBroker(server)
