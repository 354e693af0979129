"""The comparisons of consumers: over which broker, with what stream, between whom."""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.brokers import StartBroker, amqp_broker, redis_broker
from benchmarks.events.consumers import CONSUMERS, DURABLE, checkout
from benchmarks.events.measure import Shape
from benchmarks.events.rounds import compare
from benchmarks.results import Result
from benchmarks.settings import Settings

_ALL: Final = tuple(CONSUMERS)
_ALL_ON_REDIS: Final = tuple(name for name in CONSUMERS if name != DURABLE)
_FEW: Final = ("ours", "danihodovic", "raw")
_REDIS: Final = "Redis protocol"
_RABBITMQ: Final = "RabbitMQ"
_BROKERS: Final[dict[str, StartBroker]] = {_REDIS: redis_broker, _RABBITMQ: amqp_broker}


@dataclass(frozen=True, slots=True)
class Table:
    """One comparison: broker, events in a list, whether task-sent events come, who is compared in how many rounds."""

    broker: str
    list_size: int
    sent: bool = True
    consumers: Sequence[str] = _ALL
    rounds: int = 5

    @property
    def title(self) -> str:
        """Its heading."""
        return f"{self.broker}, lists of {self.list_size}{'' if self.sent else ', task-sent off'}"

    @property
    def backend(self) -> str:
        """What must be installed."""
        return "rabbitmq" if self.broker == _RABBITMQ else "valkey"


TABLES: Final = {
    "redis-3": Table(_REDIS, 3, consumers=_ALL_ON_REDIS),
    "redis-24": Table(_REDIS, 24, consumers=_ALL_ON_REDIS, rounds=3),
    "rabbitmq-3": Table(_RABBITMQ, 3),
    "rabbitmq-24": Table(_RABBITMQ, 24),
    "redis-1": Table(_REDIS, 1, consumers=_FEW, rounds=3),
    "rabbitmq-1": Table(_RABBITMQ, 1, consumers=_FEW, rounds=3),
    "redis-3-unsent": Table(_REDIS, 3, sent=False, consumers=_FEW, rounds=3),
    "rabbitmq-24-unsent": Table(_RABBITMQ, 24, sent=False, consumers=_FEW, rounds=3),
}


def measure(table: Table, settings: Settings) -> Result:
    """Run one comparison, or the part of it that is asked for."""
    shape = Shape(tasks=settings.tasks, list_size=table.list_size, sent=table.sent, rate=settings.rate)
    names = settings.consumers or table.consumers
    consumers = [CONSUMERS[name]() for name in names]
    if settings.against:
        consumers.append(checkout(settings.against.resolve()))
    print(f"{table.title}: {', '.join(consumer.name for consumer in consumers)}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="celery-exporter-bench-") as folder:
        comparison = compare(
            table.title,
            _BROKERS[table.broker],
            consumers,
            shape=shape,
            rounds=settings.rounds or table.rounds,
            folder=Path(folder),
        )
    return comparison.result()
