"""``python -m benchmarks``, or ``make bench``: measures everything or parts of it."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from benchmarks import histograms, in_flight, in_worker, rolling_restart, sampling, worker_series
from benchmarks.events import tables
from benchmarks.events.consumers import CONSUMERS
from benchmarks.load import scraped, sustained
from benchmarks.render import section
from benchmarks.results import Result, write
from benchmarks.scrapes import measure as scrapes
from benchmarks.scrapes import memory
from benchmarks.settings import Settings
from tests.integration.servers import why_missing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Each benchmark by name, with the servers that must be installed.
BENCHMARKS: Final[Mapping[str, tuple[Callable[[Settings], Result], tuple[str, ...]]]] = {
    **{name: (partial(tables.measure, table), (table.backend,)) for name, table in tables.TABLES.items()},
    **{f"sustained-{size}": (partial(sustained.measure, size), ("valkey",)) for size in (24, 3)},
    "scraped": (scraped.measure, ("valkey",)),
    **{f"scrapes-{series}": (partial(scrapes.measure, series), ()) for series in scrapes.SIZES},
    "scrape-memory": (memory.measure, ()),
    "in-flight": (in_flight.measure, ()),
    "histograms": (histograms.measure, ("prometheus",)),
    "sampling": (sampling.measure, ("valkey", "rabbitmq")),
    "in-worker": (in_worker.measure, ("valkey", "rabbitmq")),
    "worker-series": (worker_series.measure, ()),
    "rolling-restart": (rolling_restart.measure, ("valkey", "prometheus")),
}


def main() -> int:
    """Run what is asked for; the exit code is 1 when a benchmark could not be run."""
    arguments = _arguments()
    settings = Settings(**{field.name: getattr(arguments, field.name) for field in fields(Settings)})
    failed = False
    for name in arguments.table or BENCHMARKS:
        measure, backends = BENCHMARKS[name]
        missing = [reason for backend in backends if (reason := why_missing(backend))]
        if missing:
            print(f"{name}: {'; '.join(missing)}", file=sys.stderr)
            failed = True
            continue
        began = time.monotonic()
        try:
            result = measure(settings)
        except Exception:  # noqa: BLE001 - hours may have gone into the other benchmarks
            traceback.print_exc()
            failed = True
            continue
        command = " ".join(["python -m benchmarks --table", name, *settings.options()])
        result = replace(result, command=command, seconds=time.monotonic() - began)
        print(f"## {name}\n\n{section(result)}\n", flush=True)
        if arguments.output:
            write(arguments.output, name, result)
    return int(failed)


def _arguments() -> argparse.Namespace:
    default = Settings()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--table", action="append", choices=BENCHMARKS, help="only this one; repeatable")
    parser.add_argument(
        "--consumer",
        dest="consumers",
        action="append",
        choices=CONSUMERS,
        help="compare only this one; repeatable",
    )
    parser.add_argument("--against", type=Path, help="compare also the exporter of this other checkout")
    parser.add_argument("--rounds", type=int, help="of each comparison; default: as each table has it")
    parser.add_argument("--tasks", type=int, default=default.tasks, help="of a stream, four events each")
    parser.add_argument("--rate", type=float, help="events a second; default: as fast as they are read")
    parser.add_argument("--seconds", type=float, default=default.seconds, help="for which a load lasts")
    parser.add_argument(
        "--offer", dest="rates", action="append", type=int, help="events a second to sustain; repeatable"
    )
    parser.add_argument("--in-flight", type=int, default=default.in_flight, help="tasks in flight at once")
    parser.add_argument("--output", type=Path, help="write each result as JSON to this folder")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
