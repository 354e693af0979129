"""``python -m benchmarks``, or ``make bench``: measures everything and prints a page of tables."""

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.brokers import StartBroker, amqp_broker, redis_broker
from benchmarks.consumers import bare_receiver, danihodovic, ours
from benchmarks.measure import Shape
from benchmarks.report import page
from benchmarks.rounds import compare
from tests.integration.servers import why_missing

#: Environments of peers live where `make clean` finds them.
_ENVIRONMENTS: Final = Path(sys.prefix) / "peers"


@dataclass(frozen=True, slots=True)
class Table:
    """One comparison: title, broker and what it needs, events in a list."""

    title: str
    backend: str
    start: StartBroker
    list_size: int


TABLES: Final = {
    "redis-3": Table("Redis protocol, lists of 3", "valkey", redis_broker, 3),
    "redis-24": Table("Redis protocol, lists of 24", "valkey", redis_broker, 24),
    "rabbitmq-3": Table("RabbitMQ, lists of 3", "rabbitmq", amqp_broker, 3),
}


def main() -> int:
    """Run what is asked for; the exit code is 1 when a table is missing or a run failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--table", action="append", choices=TABLES, help="only this one; repeatable")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tasks", type=int, default=20_000, help="tasks a stream, four events each")
    parser.add_argument("--rate", type=float, help="events a second; default: as fast as they are read")
    parser.add_argument("--output", type=Path, help="also write the page to this file")
    arguments = parser.parse_args()
    consumers = (ours(), danihodovic(_ENVIRONMENTS), bare_receiver())
    results, missing = [], False
    for name in arguments.table or TABLES:
        table = TABLES[name]
        reason = why_missing(table.backend)
        if reason is not None:
            print(f"{table.title}: {reason}", file=sys.stderr)
            missing = True
            continue
        shape = Shape(tasks=arguments.tasks, list_size=table.list_size, rate=arguments.rate)
        with tempfile.TemporaryDirectory(prefix="celery-exporter-bench-") as folder:
            result = compare(
                table.title,
                table.start,
                consumers,
                shape=shape,
                rounds=arguments.rounds,
                folder=Path(folder),
            )
        results.append(result)
    if results:
        text = page(results, consumers, " ".join(["python -m benchmarks", *sys.argv[1:]]))
        print(text, end="")
        if arguments.output:
            arguments.output.write_text(text, encoding="utf-8")
    return int(missing or any(result.failures() for result in results))


if __name__ == "__main__":
    sys.exit(main())
