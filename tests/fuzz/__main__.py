"""``make fuzz``: many mutants in several processes; prints, and with --output writes, what became of them."""

from __future__ import annotations

import argparse
import logging
import platform
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.fuzz.run import LOOK_EVERY, Fuzzer, Result


def main() -> None:
    """Run as told on the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    share = options.messages // options.processes
    seeds = range(options.seed, options.seed + options.processes)
    with ProcessPoolExecutor(options.processes) as pool:
        results = list(pool.map(_run, seeds, [share] * options.processes))
    text = report(results)
    print(text)  # noqa: T201 - this is a script
    if options.output is not None:
        options.output.write_text(text)


def _run(seed: int, messages: int) -> Result:
    logging.disable()
    return Fuzzer(seed).run(messages)


def report(results: list[Result]) -> str:
    """The outcome of all processes, in Markdown."""
    dropped: Counter[str] = Counter()
    for result in results:
        dropped += result.dropped
    messages = sum(result.messages for result in results)
    rate = sum(result.messages / result.seconds for result in results)
    libraries = ", ".join(f"{name} {version(name)}" for name in ("msgspec", "kombu", "prometheus-client"))
    lines = [
        "# Mutants of recorded messages",
        "",
        "Written by `make fuzz`. Whatever was sent, nothing escaped, no handler failed, the exposition stayed",
        "parseable, no timestamp lay in the future, and the good events between and beside the mutants were all",
        "counted, once.",
        "",
        "| | |",
        "|---|---|",
        f"| date | {datetime.now(UTC):%Y-%m-%d} |",
        f"| versions | Python {platform.python_version()}, {libraries} |",
        f"| seeds | {', '.join(str(result.seed) for result in results)} |",
        f"| messages | {messages:,} at {rate:,.0f} a second, mutation included |",
        f"| good tasks among them | {sum(result.markers for result in results):,}, four events each, all counted |",
        f"| events handled | {sum(result.handled for result in results):,} |",
        f"| of these with an impossible timestamp | {sum(result.retimed for result in results):,} |",
        *(f"| dropped as {reason} | {number:,} |" for reason, number in sorted(dropped.items())),
        f"| memory in MB of each process, every {LOOK_EVERY:,} messages | {'; '.join(map(memory, results))} |",
    ]
    return "\n".join(lines) + "\n"


def memory(result: Result) -> str:
    """How it went on, one look every so many mutants."""
    looks = " ".join(map(str, result.resident_mb))
    return f"{looks} (peak {result.peak_mb})"


if __name__ == "__main__":
    main()
