"""``make fuzz``: many mutants in several processes; prints, and with --output writes, what became of them."""

from __future__ import annotations

import argparse
import logging
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path

from benchmarks.render import section
from benchmarks.results import Result as Measured
from benchmarks.results import write
from tests.fuzz.run import LOOK_EVERY, Fuzzer, Result


def main() -> None:
    """Run as told on the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, help="write the result as JSON to this folder")
    options = parser.parse_args()
    share = options.messages // options.processes
    seeds = range(options.seed, options.seed + options.processes)
    with ProcessPoolExecutor(options.processes) as pool:
        results = list(pool.map(_run, seeds, [share] * options.processes))
    result = report(results)
    print(section(result))  # noqa: T201 - this is a script
    if options.output is not None:
        write(options.output, "fuzz", result)


def _run(seed: int, messages: int) -> Result:
    logging.disable()
    return Fuzzer(seed).run(messages)


def report(results: list[Result]) -> Measured:
    """The outcome of all processes."""
    dropped: Counter[str] = Counter()
    for result in results:
        dropped += result.dropped
    return Measured(
        facts={
            "seeds": ", ".join(str(result.seed) for result in results),
            "messages": sum(result.messages for result in results),
            "messages a second, mutation included": round(
                sum(result.messages / result.seconds for result in results)
            ),
            "good tasks among them, four events each, all counted": sum(result.markers for result in results),
            "events handled": sum(result.handled for result in results),
            "of these with an impossible timestamp": sum(result.retimed for result in results),
            **{f"dropped as {reason}": number for reason, number in sorted(dropped.items())},
            f"memory in MB of each process, every {LOOK_EVERY:,} messages": "; ".join(map(memory, results)),
        },
        versions={"libraries": {name: version(name) for name in ("msgspec", "kombu", "prometheus-client")}},
        command="make fuzz",
    )


def memory(result: Result) -> str:
    """How it went on, one look every so many mutants."""
    looks = " ".join(map(str, result.resident_mb))
    return f"{looks} (peak {result.peak_mb})"


if __name__ == "__main__":
    main()
