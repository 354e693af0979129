"""A receiver in this process, whose sink and link keep what they are told: the tests of receivers stand on it."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from celery_metrics_exporter.config.config import Config
from celery_metrics_exporter.connection.celery_app import Broker, broker_of
from celery_metrics_exporter.receivers import Sink, Subscription
from celery_metrics_exporter.receivers.choosing import receiver_for
from celery_metrics_exporter.receivers.receiver import Receiver
from celery_metrics_exporter.receivers.watchdog import Watchdog
from tests.waiting import wait_for

#: What a stop may take: the universal receiver waits a second for messages.
STOP_S = 2.0


@dataclass(slots=True)
class Received:
    """A sink and a link in one."""

    bodies: list[bytes] = field(default_factory=list)
    drops: list[tuple[str, str]] = field(default_factory=list)
    connections: int = 0
    connected: bool = False
    standby: bool = False
    errors: list[str | None] = field(default_factory=list)

    def feed_all(self, bodies: list[bytes]) -> None:
        """Keep several."""
        for body in bodies:
            self.feed(body)

    def feed(self, body: bytes) -> None:
        """Keep a body."""
        assert type(body) is bytes
        self.bodies.append(body)

    def drop(self, reason: str, detail: str) -> None:
        """Keep a loss."""
        self.drops.append((reason, detail))

    def mark_connected(self, *, standby: bool = False) -> None:
        """Count a subscription, which a standby has had already when it becomes active."""
        self.connections += not self.connected
        self.connected = True
        self.standby = standby

    def mark_disconnected(self, error: str | None, *, since: float | None = None) -> None:
        """Keep the reason."""
        self.connected = False
        self.errors.append(error)

    @property
    def events(self) -> list[Any]:
        """Every event in every body, in order."""
        found = []
        for body in self.bodies:
            content = json.loads(body)
            found += content if isinstance(content, list) else [content]
        return found

    @property
    def reasons(self) -> list[str]:
        """Of the losses, in order."""
        return [reason for reason, _ in self.drops]

    def wait_up(self, *, connections: int = 1, timeout: float = 10) -> None:
        """Wait for this many subscriptions, the last of which stands."""
        wait_for(
            lambda: self.connections >= connections and self.connected,
            timeout=timeout,
            what=lambda: f"subscription {connections}: {self}",
        )

    def wait_down(self, *words: str, timeout: float = 10) -> str:
        """Wait until there is no subscription for a reason with these words, which is returned."""

        def reason() -> str | None:
            error = None if self.connected or not self.errors else self.errors[-1]
            return error if error is not None and all(word in error for word in words) else None

        found = wait_for(reason, timeout=timeout, what=lambda: f"a loss with {words}: {self}")
        assert found is not None
        return found

    def wait_for_types(self, *types: str, timeout: float = 10) -> None:
        """Wait until exactly these types of events have come, in any order."""
        wait_for(
            lambda: sorted(event["type"] for event in self.events) == sorted(types),
            timeout=timeout,
            what=lambda: f"{types}: {self}",
        )


@contextmanager
def running(receiver: Receiver | Watchdog) -> Iterator[None]:
    """Run it in a thread; at the end it must stop in time."""
    thread = threading.Thread(target=receiver.run, name="receiver", daemon=True)
    thread.start()
    try:
        yield
    finally:
        receiver.stop()
        began = time.monotonic()
        thread.join(STOP_S)
        assert not thread.is_alive(), f"it did not stop within {STOP_S} s"
        stopped_after = time.monotonic() - began
        assert stopped_after < STOP_S


@contextmanager
def receiving(
    url: str, *, routing_key: str = "#", universal: bool = False, **settings: Any
) -> Iterator[Received]:
    """Receive from this broker as the exporter does; ``settings`` are those of ``Config``."""
    received = Received()
    broker = broker_of(Config(broker_url=url, **settings))
    receiver = receiver_for(broker, received, received, routing_key=routing_key, universal=universal)
    with running(receiver):
        received.wait_up()
        yield received


@contextmanager
def subscribed(
    url: str,
    subscription: Callable[[Broker, Sink], Subscription],
    *,
    received: Received | None = None,
    **settings: Any,
) -> Iterator[Received]:
    """Receive through subscriptions made here, connected or not."""
    received = received or Received()
    broker = broker_of(Config(broker_url=url, **settings))
    with running(Receiver(broker.name, received, lambda: subscription(broker, received))):
        yield received
