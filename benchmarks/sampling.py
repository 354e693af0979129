"""``python -m benchmarks.sampling``: what one look at 1,000 queues costs, on Redis and on RabbitMQ."""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from celery_metrics_exporter.config.config import Config
from celery_metrics_exporter.connection.celery_app import broker_of
from celery_metrics_exporter.queues.readers.choosing import reader_for
from tests.integration.servers import RabbitMQ, Valkey

if TYPE_CHECKING:
    from collections.abc import Sequence

QUEUES: Final = tuple(f"queue-{number}" for number in range(1000))
PAGE: Final = """\
# What a look at 1,000 queues costs

One look is all that the sampler does in an interval (5 s by default), on a connection that stands. On Redis each
of the four lists of each queue holds a message of 1 KB, so that 4,000 lengths and 4,000 heads are read; on RabbitMQ
the queues are classic and empty. Made by `make bench` on {date} with CPython {python}, 2 cores shared with other work.

| broker | ms a look, median (min - max) | CPU ms of the exporter |
| --- | ---: | ---: |
{rows}
"""
_PRIORITIES: Final = ("", "\x06\x163", "\x06\x166", "\x06\x169")
_MESSAGE: Final = '{"headers": {"id": "0f1e"}, "body": "' + "x" * 1000 + '"}'


def redis_with_queues(folder: Path, stack: ExitStack) -> tuple[str, str | None]:
    """A server with a message in each of the four lists of each queue."""
    server = stack.enter_context(Valkey(folder))
    with server.client() as client, client.pipeline(transaction=False) as pipe:
        for queue in QUEUES:
            pipe.sadd(f"_kombu.binding.{queue}", f"{queue}\x06\x16\x06\x16{queue}")
            for priority in _PRIORITIES:
                pipe.lpush(queue + priority, _MESSAGE)
        pipe.execute()
    return server.url, None


def rabbitmq_with_queues(folder: Path, stack: ExitStack) -> tuple[str, str | None]:
    """A server with as many empty queues, classic and transient."""
    server = stack.enter_context(RabbitMQ(folder))
    for queue in QUEUES:
        server.api("PUT", f"queues/%2F/{quote(queue)}", {"durable": False})
    return server.url, server.management_url


def looks(url: str, management_url: str | None, number: int) -> tuple[list[float], list[float]]:
    """Wall and CPU milliseconds of so many looks at a broker, after one that connects."""
    broker = broker_of(Config(broker_url=url, management_url=management_url))
    reader = reader_for(broker, management_url=management_url, accepts=lambda _: True, max_queues=10_000)
    if reader is None:
        raise SystemExit(f"no reader for {broker.name}")
    reader.read(QUEUES)  # connects, and learns what to ask for
    reader.read(QUEUES)
    found = reader.read(QUEUES).queues
    if not all(found[name].exists for name in QUEUES):
        raise SystemExit(f"not every queue was seen on {broker.name}")
    wall, cpu = [], []
    for _ in range(number):
        began, cpu_began = time.perf_counter(), time.process_time()
        reader.read(QUEUES)
        wall.append(1000 * (time.perf_counter() - began))
        cpu.append(1000 * (time.process_time() - cpu_began))
    reader.close()
    return wall, cpu


def row(title: str, wall: Sequence[float], cpu: Sequence[float]) -> str:
    """A row of the table: medians with their spread."""
    cells = [f"{statistics.median(times):.1f} ({min(times):.1f} - {max(times):.1f})" for times in (wall, cpu)]
    return f"| {title} | {' | '.join(cells)} |"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sampling", description=__doc__)
    parser.add_argument("--looks", type=int, default=50)
    parser.add_argument("--output", type=Path, help="also write the page to this file")
    arguments = parser.parse_args()
    number = arguments.looks
    rows = []
    with tempfile.TemporaryDirectory(prefix="celery-exporter-bench-") as folder:
        for name, start in (("Redis", redis_with_queues), ("RabbitMQ", rabbitmq_with_queues)):
            with ExitStack() as stack:
                url, management_url = start(Path(folder) / name, stack)
                rows.append(row(f"{name}, {len(QUEUES):,} queues", *looks(url, None, number)))
                if management_url is not None:
                    rows.append(
                        row(f"{name} with --management-url, the same", *looks(url, management_url, number))
                    )
    page = PAGE.format(date=datetime.now(UTC).date(), python=platform.python_version(), rows="\n".join(rows))
    print(page, end="")
    if arguments.output:
        arguments.output.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
