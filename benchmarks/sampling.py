"""What one sample of 1,000 queues costs, on Redis and on RabbitMQ: all that the sampler does in an interval.

On Redis each of the four lists of each queue holds a message of 1 KB, so that 4,000 lengths and 4,000 heads are read;
on RabbitMQ the queues are classic and empty.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from benchmarks.results import Result, Spread, Table, Value
from celery_metrics_exporter.config.config import Config
from celery_metrics_exporter.connection.celery_app import broker_of
from celery_metrics_exporter.queues.readers.choosing import reader_for
from tests.integration.servers import RabbitMQ, Valkey

if TYPE_CHECKING:
    from benchmarks.settings import Settings

QUEUES: Final = tuple(f"queue-{number}" for number in range(1000))
_SAMPLES: Final = 50
_PRIORITIES: Final = ("", "\x06\x163", "\x06\x166", "\x06\x169")
_MESSAGE: Final = '{"headers": {"id": "0f1e"}, "body": "' + "x" * 1000 + '"}'


def measure(settings: Settings) -> Result:
    """Sample each broker in each way."""
    number = settings.rounds or _SAMPLES
    rows: list[list[Value]] = []
    with tempfile.TemporaryDirectory(prefix="celery-exporter-bench-") as folder:
        for name, start in (("Redis", _redis), ("RabbitMQ", _rabbitmq)):
            with ExitStack() as stack:
                url, management_url = start(Path(folder) / name, stack)
                rows.append([name, *_sample(url, None, number)])
                if management_url is not None:
                    rows.append([f"{name} with --management-url", *_sample(url, management_url, number)])
    return Result(
        facts={"queues": len(QUEUES), "samples": number},
        tables=[Table({"broker": "", "ms a sample": ",.1f", "CPU ms of the exporter": ",.1f"}, rows)],
    )


def _redis(folder: Path, stack: ExitStack) -> tuple[str, str | None]:
    """A server with a message in each of the four lists of each queue."""
    server = stack.enter_context(Valkey(folder))
    with server.client() as client, client.pipeline(transaction=False) as pipe:
        for queue in QUEUES:
            pipe.sadd(f"_kombu.binding.{queue}", f"{queue}\x06\x16\x06\x16{queue}")
            for priority in _PRIORITIES:
                pipe.lpush(queue + priority, _MESSAGE)
        pipe.execute()
    return server.url, None


def _rabbitmq(folder: Path, stack: ExitStack) -> tuple[str, str | None]:
    """A server with as many empty queues, classic and transient."""
    server = stack.enter_context(RabbitMQ(folder))
    for queue in QUEUES:
        server.api("PUT", f"queues/%2F/{quote(queue)}", {"durable": False})
    return server.url, server.management_url


def _sample(url: str, management_url: str | None, number: int) -> tuple[Spread, Spread]:
    """Wall and CPU milliseconds of so many samples of a broker, on a connection that stands."""
    broker = broker_of(Config(broker_url=url, management_url=management_url))
    reader = reader_for(broker, management_url=management_url, accepts=lambda _: True, max_queues=10_000)
    if reader is None:
        raise RuntimeError(f"no reader for {broker.name}")
    reader.read(QUEUES)  # connects, and learns what to ask for
    reader.read(QUEUES)
    found = reader.read(QUEUES).queues
    if not all(found[name].exists for name in QUEUES):
        raise RuntimeError(f"not every queue was seen on {broker.name}")
    wall, cpu = [], []
    for _ in range(number):
        began, cpu_began = time.perf_counter(), time.process_time()
        reader.read(QUEUES)
        wall.append(1000 * (time.perf_counter() - began))
        cpu.append(1000 * (time.process_time() - cpu_began))
    reader.close()
    return Spread.of(wall), Spread.of(cpu)
