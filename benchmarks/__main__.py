"""``python -m benchmarks``, or ``make bench``: measures everything or parts of it, writes the page of results."""

import argparse
import sys
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks.events.consumers import CONSUMERS
from benchmarks.kept import Kept, keep, read
from benchmarks.machine import Machine
from benchmarks.page import page
from benchmarks.parts import PARTS
from benchmarks.quote import quoted_in
from benchmarks.settings import Settings
from tests.integration.servers import why_missing
from tests.integration.servers.exporter import REPOSITORY

_RESULTS: Final = REPOSITORY / "build" / "benchmarks"


def main() -> int:
    """Run what is asked for; the exit code is 1 when a part could not be measured."""
    arguments = _arguments()
    settings = Settings(
        tasks=arguments.tasks,
        rate=arguments.rate,
        consumers=arguments.consumer or (),
        rounds=arguments.rounds,
        seconds=arguments.seconds,
        rates=arguments.offer or (),
        in_flight=arguments.in_flight,
    )
    failed = False
    for name in () if arguments.render else arguments.table or PARTS:
        part = PARTS[name]
        reason = part.backend and why_missing(part.backend)
        if reason:
            print(f"{name}: {reason}", file=sys.stderr)
            failed = True
            continue
        began = time.monotonic()
        try:
            result = part.measure(settings)
        except Exception:  # noqa: BLE001 - hours may have gone into the other parts
            traceback.print_exc()
            failed = True
            continue
        print("\n\n".join(part.sections(result)), end="\n\n", flush=True)
        if arguments.output:
            kept = Kept(
                date=f"{datetime.now(UTC):%Y-%m-%d}",
                seconds=time.monotonic() - began,
                command=" ".join(["python -m benchmarks --table", name, *settings.options()]),
                machine=Machine.here(),
                result=result,
            )
            keep(arguments.results, name, kept)
    if arguments.output:
        arguments.output.write_text(page(read(arguments.results)), encoding="utf-8")
    if arguments.quote:
        readme = arguments.quote.read_text(encoding="utf-8")
        arguments.quote.write_text(quoted_in(readme, read(arguments.results)), encoding="utf-8")
    return int(failed)


def _arguments() -> argparse.Namespace:
    default = Settings()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--table", action="append", choices=PARTS, help="only this one; repeatable")
    parser.add_argument(
        "--consumer", action="append", choices=CONSUMERS, help="compare only this one; repeatable"
    )
    parser.add_argument("--rounds", type=int, help="of each comparison; default: as each table has it")
    parser.add_argument("--tasks", type=int, default=default.tasks, help="of a stream, four events each")
    parser.add_argument("--rate", type=float, help="events a second; default: as fast as they are read")
    parser.add_argument("--seconds", type=float, default=default.seconds, help="for which a load lasts")
    parser.add_argument("--offer", action="append", type=int, help="events a second to sustain; repeatable")
    parser.add_argument("--in-flight", type=int, default=default.in_flight, help="tasks under way at once")
    parser.add_argument(
        "--output", type=Path, help="keep the results, and write the page of all that are kept"
    )
    parser.add_argument("--quote", type=Path, help="write the section on cost of this README anew")
    parser.add_argument("--results", type=Path, default=_RESULTS, help="where results are kept")
    parser.add_argument("--render", action="store_true", help="measure nothing, write the page anew")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
