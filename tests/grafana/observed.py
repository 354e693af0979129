"""The same observations as Prometheus stores them: as native histograms, classic ones, or both, with a switch between.

Every 15 s each series observes the same values, so that rates, means and quantiles are known at any time.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import NormalDist
from typing import Final, Literal, NamedTuple

from tests.integration.servers.remote_write import STALE, Exemplar, NativeHistogram, Series

Kind = Literal["classic", "native", "both"]

SCRAPE_S: Final = 15
#: Seconds after the start: the switch, and the last sample.
SWITCH_S: Final = 1200
END_S: Final = 2400
_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, math.inf)
#: Task -> its median of every duration, in seconds, and its observations between two scrapes. No quantile that is
#: asked for lies between two tasks. Each task has a queue of its own.
TASKS: Final = {"quick": (0.04, 60), "slow": (4.0, 40)}
_FAMILIES: Final[dict[str, dict[str, str]]] = {
    "celery_task_runtime_seconds": {"outcome": "succeeded"},
    "celery_task_queue_wait_seconds": {},
    "celery_task_prefetch_wait_seconds": {},
    "celery_exporter_event_lag_seconds": {},
}


class Exporter(NamedTuple):
    """One target: how its histograms are stored until the switch and after it, and how long all takes there."""

    before: Kind
    after: Kind
    times: float = 1.0
    observes: bool = True


#: Job -> its exporters.
JOBS: Final[dict[str, list[Exporter]]] = {
    "classic": [Exporter("classic", "classic")],
    "native": [Exporter("native", "native")],
    "both": [Exporter("both", "both")],
    "switched": [Exporter("classic", "native")],
    "switched back": [Exporter("native", "classic")],
    "switched to both": [Exporter("classic", "both")],
    "mixed": [Exporter("native", "native"), Exporter("classic", "classic", times=20)],
    "mixed otherwise": [Exporter("classic", "classic"), Exporter("both", "both", times=20)],
    "idle": [Exporter("native", "native", observes=False)],
}


def durations(task: str, times: float = 1.0) -> list[float]:
    """What is observed of a task between two scrapes: a log-normal distribution."""
    median, count = TASKS[task]
    normal = NormalDist(math.log(median * times), 0.5)
    return [math.exp(normal.inv_cdf((number + 0.5) / count)) for number in range(count)]


def all_durations(job: str, *tasks: str) -> list[float]:
    """What all exporters of a job observe of these tasks, or of all, between two scrapes."""
    return sorted(
        duration
        for exporter in JOBS[job]
        for task in tasks or TASKS
        for duration in durations(task, exporter.times)
    )


def series(start: float) -> Iterator[Series]:
    """All series of all jobs, from ``start`` (seconds) on."""
    for job, exporters in JOBS.items():
        for number, exporter in enumerate(exporters):
            target = {"job": job, "instance": f"e:{number}"}
            yield _constant({"__name__": "up", **target}, start)
            for task in TASKS:
                of_task = {**target, "task": task, "queue": f"of {task}"}
                values = durations(task, exporter.times)
                yield _rising(
                    {"__name__": "celery_task_started_total", **of_task}, len(values), start, exporter
                )
                yield _constant({"__name__": "celery_queue_length", **target, "queue": f"of {task}"}, start)
                for family, more in _FAMILIES.items():
                    labels = {**target, **more} if "exporter" in family else {**of_task, **more}
                    if "exporter" in family and task == "slow":
                        continue  # one series for all
                    yield from _histogram(family, labels, values, start, exporter)


def _histogram(
    family: str, labels: Mapping[str, str], values: Sequence[float], start: float, exporter: Exporter
) -> Iterator[Series]:
    exemplar = Exemplar({"task_id": f"of {labels['job']}"}, values[-1], start + END_S - SCRAPE_S)
    if "native" in exporter or "both" in exporter:
        one = NativeHistogram.of(values)
        natives = [
            (start + at, one.times(scrapes))
            for at, scrapes in _scrapes(exporter)
            if _kind(exporter, at) != "classic"
        ]
        if exporter.after == "classic":
            natives.append((natives[-1][0] + SCRAPE_S, NativeHistogram({}, STALE)))
        exemplars = [exemplar] if exporter.after != "classic" else []
        yield Series({"__name__": family, **labels}, natives, exemplars)
    if "classic" in exporter or "both" in exporter:
        parts = {(f"{family}_sum", ""): math.fsum(values), (f"{family}_count", ""): len(values)}
        for bound in _BOUNDS:
            le = "+Inf" if bound == math.inf else f"{float(bound)}"
            parts[f"{family}_bucket", le] = sum(value <= bound for value in values)
        for (name, le), one_scrape in parts.items():
            samples = [
                (start + at, float(one_scrape * scrapes))
                for at, scrapes in _scrapes(exporter)
                if _kind(exporter, at) != "native"
            ]
            if samples[-1][0] < start + END_S:
                samples.append((samples[-1][0] + SCRAPE_S, STALE))
            exemplars = [exemplar] if le == "+Inf" and exporter.after != "native" else []
            yield Series({"__name__": name, **labels, **({"le": le} if le else {})}, samples, exemplars)


def _scrapes(exporter: Exporter) -> Iterator[tuple[int, int]]:
    """Seconds after the start, and how often all values have been observed."""
    for number in range(END_S // SCRAPE_S + 1):
        yield number * SCRAPE_S, 1000 + number * exporter.observes


def _kind(exporter: Exporter, at: int) -> Kind:
    return exporter.before if at < SWITCH_S else exporter.after


def _rising(labels: Mapping[str, str], step: float, start: float, exporter: Exporter) -> Series:
    return Series(labels, [(start + at, float(step * scrapes)) for at, scrapes in _scrapes(exporter)])


def _constant(labels: Mapping[str, str], start: float) -> Series:
    return Series(labels, [(start + at, 1.0) for at in range(0, END_S + 1, SCRAPE_S)])
