"""Comparisons of consumers in words and tables."""

from collections.abc import Iterable, Sequence
from statistics import median

from benchmarks.events.measure import Run
from benchmarks.events.rounds import IDLE_SECONDS, Comparison
from benchmarks.figures import spread
from benchmarks.markdown import bullets, paragraph, table
from benchmarks.stream import FAILING, KINDS, QUEUES, WORKERS

_MEGABYTE = 1e6


def method() -> str:
    """How all of them are measured."""
    return paragraph(
        "CPU time (user and system, all threads and children) of the whole consumer process, from before the first",
        "event until after the last, divided by the number of events, however many messages they came in.",
        f"Each stream tells of tasks of {KINDS} kinds on {len(QUEUES)} queues: a task-sent event",
        "alone in its message, then received, started and the outcome in lists of its worker",
        f"({FAILING:.0%} failed, with a traceback), and the heartbeats of {len(WORKERS)} workers.",
        "Its messages are prepared bytes, the same for every consumer, published as fast as the consumer reads them,",
        "so that it never waits and never falls behind. The consumers ran in turns, a fresh process each time;",
        "ratios are taken within a round. A run counts only if the consumer's own metrics show every event (of the",
        "client library: every message). Memory is the most that the processes of a consumer held (VmHWM).",
        f"Idle is the CPU time of a subscribed consumer in {IDLE_SECONDS:.0f} s without events; it is not",
        "subtracted. CPU times vary from machine to machine, ratios less so.",
    )


def sections(comparison: Comparison) -> Iterable[str]:
    """Heading, costs, ratios and failures."""
    names = list(comparison.runs)
    rounds = len(comparison.runs[names[0]])
    yield f"### {comparison.title}"
    yield f"{comparison.broker}, {comparison.shape.tasks:,} tasks, {_pace(comparison)}{rounds} rounds."
    yield table(
        (
            "consumer",
            "CPU µs/event",
            "min - max",
            "events per CPU second",
            "peak memory, MB",
            "idle, CPU ms/s",
            "idle, µs/event",
        ),
        [_row(comparison, name) for name in names],
    )
    first, *others = names
    if others:
        yield table(
            ("ratio within a round", "median", "min - max"),
            [(f"{other} / {first}", *spread(comparison.ratios(other, first), 2)) for other in others],
        )
    failures = comparison.failures()
    if failures:
        yield "Runs that failed and do not count:"
        yield bullets(failures)


def _pace(comparison: Comparison) -> str:
    rate = comparison.shape.rate
    return f"{rate:,.0f} events a second, each message at its own moment, " if rate else ""


def _row(comparison: Comparison, name: str) -> tuple[str, ...]:
    costs = comparison.costs(name)
    share = comparison.idle[name]
    runs = comparison.runs[name]
    return (
        name,
        *spread(costs, 1),
        f"{1e6 / median(costs):,.0f}" if costs else "failed",
        f"{max(run.memory for run in runs) / _MEGABYTE:.0f}",
        f"{share * 1e3:.1f}",
        _idle_cost(runs, share),
    )


def _idle_cost(runs: Sequence[Run], share: float) -> str:
    """What an idle consumer uses in the time of a run, for each event of it."""
    return f"{median(run.seconds * share / run.events * 1e6 for run in runs):.2f}"
