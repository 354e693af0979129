"""The brokers over which the stream goes, and who is subscribed there."""

import urllib.error
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.wire import EXCHANGE
from tests.integration.servers import RabbitMQ, Valkey


@dataclass(frozen=True, slots=True)
class Broker:
    """A running broker.

    Attributes:
        url: for consumers and the publisher.
        version: what runs.
        subscribers: counts the consumers that get the stream now.
    """

    url: str
    version: str
    subscribers: Callable[[], int]


#: Runs a broker with its files in a folder.
StartBroker = Callable[[Path], AbstractContextManager[Broker]]


@contextmanager
def redis_broker(folder: Path) -> Iterator[Broker]:
    """Run Valkey, which cuts nobody off for being slow: what a stream costs is measured, not who can stand it."""
    with (
        Valkey(folder, config={"client-output-buffer-limit": "pubsub 0 0 0"}) as server,
        server.client() as client,
    ):

        def subscribers() -> int:
            """Clients with a pattern, as kombu subscribes to a fanout exchange."""
            return sum(int(connected["psub"]) > 0 for connected in client.client_list())

        yield Broker(server.url, f"Valkey {client.info('server')['valkey_version']}", subscribers)


@contextmanager
def amqp_broker(folder: Path) -> Iterator[Broker]:
    """Run RabbitMQ. A consumer that is 5 s behind would lose events: that is the TTL of Celery's event queues."""
    with RabbitMQ(folder) as server:

        def subscribers() -> int:
            """Queues that are bound to the event exchange."""
            try:
                bindings: Any = server.api("GET", f"exchanges/%2F/{EXCHANGE}/bindings/source")
            except urllib.error.HTTPError:  # nobody has declared the exchange yet
                return 0
            return len(bindings)

        overview: Any = server.api("GET", "overview")
        yield Broker(server.url, f"RabbitMQ {overview['rabbitmq_version']}", subscribers)
