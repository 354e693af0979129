"""Results as a page of Markdown."""

import os
import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from textwrap import fill

from benchmarks.consumers import Consumer
from benchmarks.measure import Run
from benchmarks.rounds import IDLE_SECONDS, Result, spread
from benchmarks.stream import FAILING, QUEUES, TASKS, WORKERS


def page(results: Sequence[Result], consumers: Sequence[Consumer], command: str) -> str:
    """Write everything: how it was measured, on what, and a section for each result."""
    sections = [
        "# What an event costs",
        _method(results[0], consumers),
        _environment(consumers, command),
        *(section for result in results for section in _sections(result, consumers)),
    ]
    return "\n\n".join(sections) + "\n"


def _method(result: Result, consumers: Sequence[Consumer]) -> str:
    shape = result.shape
    if shape.rate:
        pace = f"at {shape.rate:,.0f} events a second, each message at its own moment"
    else:
        pace = "as fast as the consumer reads them, so that it never waits and never falls behind"
    return fill(
        "CPU time (user and system, all threads and children) of the whole consumer process, from before the first "
        "event until after the last, divided by the number of events. "
        f"Each stream holds {shape.tasks:,} tasks of {len(TASKS)} kinds on {len(QUEUES)} queues: a task-sent event "
        "alone in its message, then received, started and the outcome in a list of its worker "
        f"({FAILING:.0%} failed, with a traceback), and the heartbeats of {len(WORKERS)} workers. "
        f"Its messages are prepared bytes, the same for every consumer, published {pace}. "
        f"The {len(consumers)} consumers ran in turns, a fresh process each time; "
        f"ratios are taken within a round. A run counts only if the consumer's own metrics show every event. "
        f"Idle is the CPU time of a subscribed consumer in {IDLE_SECONDS:.0f} s without events; "
        "it is not subtracted. Made by `make bench`; CPU times vary from machine to machine, ratios less so.",
        width=110,
    )


def _environment(consumers: Sequence[Consumer], command: str) -> str:
    lines = {
        "Date": f"{datetime.now(UTC):%Y-%m-%d}",
        "Command": f"`{command}`",
        "Machine": f"{_cpu_model()}, {os.cpu_count()} cores, {_memory()}, Linux {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        **{
            consumer.name: ", ".join(f"{name} {version}" for name, version in consumer.versions.items())
            for consumer in consumers
        },
    }
    return "\n".join(f"- {name}: {value}" for name, value in lines.items())


def _sections(result: Result, consumers: Sequence[Consumer]) -> Iterable[str]:
    rounds = len(next(iter(result.runs.values())))
    yield f"## {result.title}"
    yield f"{result.broker}, {rounds} rounds."
    yield _table(
        (
            "consumer",
            "CPU us/event",
            "min - max",
            "events per CPU second",
            "idle, CPU ms/s",
            "idle, us/event",
        ),
        [_row(result, consumer.name) for consumer in consumers],
    )
    first, *others = (consumer.name for consumer in consumers)
    yield _table(
        ("ratio within a round", "median", "min - max"),
        [(f"{other} / {first}", *spread(result.ratios(other, first), 2)) for other in others],
    )
    failures = result.failures()
    if failures:
        yield "Runs that failed and do not count:"
        yield "\n".join(f"- {failure}" for failure in failures)


def _row(result: Result, name: str) -> tuple[str, ...]:
    costs = result.costs(name)
    share = result.idle[name]
    middle, ends = spread(costs, 1)
    speed = f"{1e6 / median(costs):,.0f}" if costs else "failed"
    return (name, middle, ends, speed, f"{share * 1e3:.1f}", _idle_cost(result.runs[name], share))


def _idle_cost(runs: Sequence[Run], share: float) -> str:
    """What an idle consumer uses in the time of a run, for each event of it."""
    return f"{median(run.seconds * share / run.events * 1e6 for run in runs):.2f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    align = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, align, *rows))


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _memory() -> str:
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{size / 2**30:.0f} GiB"
