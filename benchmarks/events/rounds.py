"""Runs of several consumers in turns, so that whatever else the machine does meets all of them alike.

Owns: what is compared on what broker. Must not know: how one run is measured, how results are written.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.brokers import StartBroker
from benchmarks.events.consumers import Consumer
from benchmarks.events.measure import Run, Shape, idle_cpu, run_once

#: How long the CPU time of idle consumers is read.
IDLE_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All runs on one broker with one shape of stream.

    Attributes:
        title: of the table.
        broker: what ran.
        shape: of the stream.
        runs: of each consumer by name, one a round.
        idle: CPU seconds a second of each consumer while no event came.
        versions: of what each consumer ran on.
    """

    title: str
    broker: str
    shape: Shape
    runs: Mapping[str, Sequence[Run]]
    idle: Mapping[str, float]
    versions: Mapping[str, Mapping[str, str]]

    def costs(self, name: str) -> list[float]:
        """CPU microseconds an event of the runs that count."""
        return [run.microseconds for run in self.runs[name] if not run.failure]

    def ratios(self, one: str, other: str) -> list[float]:
        """How many times as much as the other one costs, in each round in which the runs of both count."""
        return [
            mine.microseconds / theirs.microseconds
            for mine, theirs in zip(self.runs[one], self.runs[other], strict=True)
            if not mine.failure and not theirs.failure
        ]

    def failures(self) -> list[str]:
        """One line for each run that does not count."""
        return [
            f"round {number}, {name}: {run.failure}"
            for name, runs in self.runs.items()
            for number, run in enumerate(runs, 1)
            if run.failure
        ]


def compare(
    title: str,
    start: StartBroker,
    consumers: Sequence[Consumer],
    *,
    shape: Shape,
    rounds: int,
    folder: Path,
) -> Comparison:
    """Start a broker and run every consumer in each round; every round begins with another one."""
    runs: dict[str, list[Run]] = {consumer.name: [] for consumer in consumers}
    with start(folder / "broker") as broker:
        for number in range(rounds):
            turn = number % len(consumers)
            for consumer in (*consumers[turn:], *consumers[:turn]):
                run = run_once(consumer, broker, shape, folder)
                runs[consumer.name].append(run)
                outcome = f"FAILED: {run.failure}" if run.failure else f"{run.microseconds:.1f} us/event"
                print(f"{title}, round {number + 1}: {consumer.name}: {outcome}", file=sys.stderr)
        idle = idle_cpu(consumers, broker, IDLE_SECONDS, folder)
    shares = {consumer.name: cpu / IDLE_SECONDS for consumer, cpu in zip(consumers, idle, strict=True)}
    versions = {consumer.name: consumer.versions for consumer in consumers}
    return Comparison(
        title=title, broker=broker.version, shape=shape, runs=runs, idle=shares, versions=versions
    )
