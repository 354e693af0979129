"""Runs of several consumers in turns, so that whatever else the machine does meets all of them alike."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.brokers import StartBroker
from benchmarks.events.consumers import DANIHODOVIC, OURS, RAW, Consumer
from benchmarks.events.measure import Run, Shape, idle_cpu, run_once
from benchmarks.results import Result, Spread, Table, Value

#: How long the CPU time of idle consumers is read.
IDLE_SECONDS: Final = 20.0
#: Ratios that are headline figures.
_HEADLINES: Final = {"danihodovic / ours": (DANIHODOVIC, OURS), "ours / client library": (OURS, RAW)}
_MEGABYTE: Final = 1e6
_COLUMNS: Final = {
    "consumer": "",
    "CPU µs/event": ",.1f",
    "events per CPU second": ",.0f",
    "peak memory, MB": ",.0f",
    "idle, CPU ms/s": ",.1f",
    "idle, µs/event": ",.2f",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All runs on one broker with one shape of stream.

    Attributes:
        broker: what ran.
        shape: of the stream.
        runs: of each consumer by name, one per round.
        idle: CPU seconds a second of each consumer while no event came.
        versions: of what each consumer ran on.
    """

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

    def result(self) -> Result:
        """All of it in figures."""
        first, *others = self.runs
        facts: dict[str, int | float | str | None] = {
            "broker": self.broker,
            "tasks": self.shape.tasks,
            "rounds": len(self.runs[first]),
        }
        if self.shape.rate:
            facts["events/s, each message at its own moment"] = self.shape.rate
        for title, (one, other) in _HEADLINES.items():
            if {one, other} <= self.runs.keys():
                ratios = self.ratios(one, other)
                facts[title] = median(ratios) if ratios else None
        if failures := self.failures():
            facts["runs that failed and do not count"] = "; ".join(failures)
        tables = [Table(_COLUMNS, [self._row(name) for name in self.runs])]
        if others:
            rows = [[f"{other} / {first}", _spread(self.ratios(other, first))] for other in others]
            tables.append(Table({"ratio": "", "within a round": ",.2f"}, rows))
        return Result(facts=facts, tables=tables, versions=self.versions)

    def _row(self, name: str) -> list[Value]:
        runs, share = self.runs[name], self.idle[name]
        cost = _spread(self.costs(name))
        return [
            name,
            cost,
            1e6 / cost.median if cost else None,
            max(run.memory for run in runs) / _MEGABYTE,
            share * 1e3,
            # What it uses in the time of a run, for each event of it.
            median(run.seconds * share / run.events * 1e6 for run in runs),
        ]


def _spread(values: Sequence[float]) -> Spread | None:
    """None if every run failed."""
    return Spread.of(values) if values else None


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
    return Comparison(
        broker=broker.version,
        shape=shape,
        runs=runs,
        idle={consumer.name: cpu / IDLE_SECONDS for consumer, cpu in zip(consumers, idle, strict=True)},
        versions={consumer.name: consumer.versions for consumer in consumers},
    )
