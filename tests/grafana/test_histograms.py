"""Dashboards and rules of histograms, asked of a real Prometheus that has native ones, classic ones and both."""

import math
import re
import time
from collections.abc import Iterator, Mapping
from typing import Final

import pytest

from tests.grafana import observed
from tests.grafana.board import Target, boards
from tests.grafana.contract import ALERTS, rules_in
from tests.grafana.interpolation import NO_FUNCTIONS, fill, intervals
from tests.grafana.observed import JOBS, SCRAPE_S, SWITCH_S, all_durations
from tests.integration.servers import Prometheus, require
from tests.integration.servers.remote_write import RECEIVES, write

pytestmark = pytest.mark.needs("prometheus")

BOARDS: Final = {board.name: board for board in boards()}
OF_HISTOGRAMS: Final = {
    f"{board.name}: {target.panel} {target.name}": target
    for board in BOARDS.values()
    for target in board.targets()
    if "_seconds_sum{" in target.expr or "_seconds_bucket{" in target.expr
}
HEATMAPS: Final = {place for place, target in OF_HISTOGRAMS.items() if target.expr.startswith("sum by (le)")}
P95: Final = "task: In the time range / Run time p95 A"
BY_TASK: Final = "task: Each task / Run time p95 A"
BUSY: Final = "task: In the time range / Busy slots A"
BUSY_BY_TASK: Final = "task: Each task / Busy slots A"
MEAN: Final = "task: In the time range / Mean run time A"
#: A bucket of schema 3 ends 1.09 times as high as it begins.
BUCKET: Final = 2 ** (1 / 8)
#: A classic bucket of ours ends at most so many times as high as it begins.
CLASSIC_BUCKET: Final = 5.0
NATIVE_FUNCTIONS: Final = {name: name for name in NO_FUNCTIONS}
#: Seconds after the start: well before the switch, well after it.
BEFORE_S, AFTER_S = 900, observed.END_S
RANGE_S: Final = 600

Answer = dict[str, float]


class Scene:
    """A Prometheus with all jobs of ``observed``; time 0 is their start."""

    def __init__(self, prometheus: Prometheus, start: float) -> None:
        self.prometheus = prometheus
        self._start = start

    def ask(self, place: str, job: str, at: float = AFTER_S, **variables: str) -> Answer:
        """What a panel's query gives of a job at a time: the values of its series, by the values of their labels."""
        return self.evaluate(filled(OF_HISTOGRAMS[place], job, **variables), at)

    def evaluate(self, promql: str, at: float = AFTER_S) -> Answer:
        """The values of its series, by the values of their labels; of a native histogram its count."""
        result = self.prometheus.api("query", query=promql, time=f"{self._start + at}")["result"]
        return {
            " ".join(value for name, value in sorted(each["metric"].items()) if name != "__name__"): float(
                each["value"][1] if "value" in each else each["histogram"][1]["count"]
            )
            for each in result
        }

    def exemplars(self, place: str, job: str) -> set[str]:
        """The tasks that a panel's query has exemplars of."""
        found = self.prometheus.api(
            "query_exemplars",
            query=filled(OF_HISTOGRAMS[place], job),
            start=f"{self._start}",
            end=f"{self._start + observed.END_S}",
        )
        return {exemplar["labels"]["task_id"] for each in found for exemplar in each["exemplars"]}


def filled(target: Target, job: str, **variables: str) -> str:
    """The query with its variables: all values but one job, and the functions of a server with native histograms."""
    every = dict.fromkeys(("instance", "queue", "task", "worker"), ".+")
    globals_ = intervals(range_s=RANGE_S, scrape_s=SCRAPE_S, step_s=SCRAPE_S)
    return fill(target.expr, {"job": job, **every, **globals_, **NATIVE_FUNCTIONS, **variables})


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Write everything."""
    require("prometheus")
    start = float(int(time.time()) - observed.END_S)
    with Prometheus(tmp_path_factory.mktemp("histograms"), [], options=RECEIVES) as prometheus:
        write(prometheus.url, observed.series(start))
        yield Scene(prometheus, start)


def quantile(values: list[float], level: float) -> float:
    """The smallest value that so many are not above."""
    return values[math.ceil(level * len(values)) - 1]


@pytest.mark.parametrize("place", sorted(OF_HISTOGRAMS.keys() - HEATMAPS))
def test_each_kind_answers(scene: Scene, place: str) -> None:
    """Every query answers for either kind, for both by the native one; sums are equal, quantiles within a bucket."""
    classic, native, both = (scene.ask(place, job) for job in ("classic", "native", "both"))
    assert classic
    assert both == native
    assert classic.keys() == native.keys()
    is_quantile = "histogram_quantile" in OF_HISTOGRAMS[place].expr
    for series, value in native.items():
        allowed = CLASSIC_BUCKET if is_quantile else 1 + 1e-6
        assert value / allowed <= classic[series] <= value * allowed


@pytest.mark.parametrize("place", sorted(HEATMAPS))
def test_heatmaps(scene: Scene, place: str) -> None:
    """A heatmap has native buckets where there are any, else those of ``le``, and each observation once."""
    native_place = re.sub("B$", "A", place)
    (native,) = (target for name, target in NATIVE_RATES.items() if name == native_place)
    rates = {job: scene.evaluate(filled(native, job)) for job in ("classic", "native", "both")}
    assert rates["classic"] == {}
    assert rates["both"] == rates["native"]
    assert scene.ask(place, "native") == scene.ask(place, "both") == {}
    assert scene.ask(place, "classic")["+Inf"] == pytest.approx(rates["native"][""])


NATIVE_RATES: Final = {
    f"{board.name}: {target.panel} {target.name}": target
    for board in BOARDS.values()
    for target in board.targets()
    if target.expr.startswith("sum (rate(")
}


@pytest.mark.parametrize("job", ["native", "both", "switched", "switched to both"])
@pytest.mark.parametrize("task", observed.TASKS)
def test_native_quantile_is_true(scene: Scene, job: str, task: str) -> None:
    """With native histograms a quantile is within 9 % of the truth."""
    truth = quantile(all_durations(job, task), 0.95)
    (found,) = scene.ask(P95, job, task=task).values()
    assert truth / BUCKET < found < truth * BUCKET


@pytest.mark.parametrize("job", sorted(JOBS.keys() - {"idle"}))
@pytest.mark.parametrize("at", [BEFORE_S, AFTER_S])
def test_sums_are_exact(scene: Scene, job: str, at: int) -> None:
    """Rates and means count each observation once, however it is stored, in a mixture too."""
    truth = all_durations(job)
    assert list(scene.ask(BUSY, job, at).values()) == [pytest.approx(sum(truth) / SCRAPE_S)]
    assert list(scene.ask(MEAN, job, at).values()) == [pytest.approx(sum(truth) / len(truth))]
    assert scene.ask(BUSY_BY_TASK, job, at) == {
        task: pytest.approx(sum(all_durations(job, task)) / SCRAPE_S) for task in observed.TASKS
    }


@pytest.mark.parametrize(
    ("job", "before", "after"),
    [
        ("switched", "classic", "native"),
        ("switched back", "native", "classic"),
        ("switched to both", "classic", "both"),
    ],
)
def test_switch(scene: Scene, job: str, before: str, after: str) -> None:
    """Before a switch and after it, lines are those of the kind of that time; the windows between are never doubled."""
    for at, kind in ((BEFORE_S, before), (AFTER_S, after)):
        assert scene.ask(BY_TASK, job, at) == scene.ask(BY_TASK, kind, at)
    (truth,) = scene.ask(BUSY, "native").values()
    for at in range(SWITCH_S - SCRAPE_S, SWITCH_S + RANGE_S + 2 * SCRAPE_S, SCRAPE_S):
        (sums,) = scene.ask(BUSY, job, at).values()
        assert 0 < sums <= truth * (1 + 1e-6)
        quantiles = scene.ask(BY_TASK, job, at)
        if at == SWITCH_S and before == "classic":
            assert quantiles == {}  # a gap of one scrape: a rate needs two
            continue
        for task, value in scene.ask(BY_TASK, "native", at).items():
            assert value / CLASSIC_BUCKET <= quantiles[task] <= value * CLASSIC_BUCKET


@pytest.mark.parametrize("job", ["mixed", "mixed otherwise"])
def test_quantile_of_a_mixture(scene: Scene, job: str) -> None:
    """Of some exporters with native histograms and others without, a quantile is not below the truth of all."""
    for task, found in scene.ask(BY_TASK, job).items():
        values = all_durations(job, task)
        assert quantile(values, 0.95) / BUCKET <= found <= values[-1] * CLASSIC_BUCKET


def test_without_observations(scene: Scene) -> None:
    """Quantiles and means of nothing are no samples."""
    for place in (P95, BY_TASK, MEAN):
        assert scene.ask(place, "idle") == {}


@pytest.mark.parametrize("place", [place for place, target in OF_HISTOGRAMS.items() if target.exemplars])
def test_exemplars(scene: Scene, place: str) -> None:
    """A query that asks for exemplars gets them of either kind of histogram."""
    for job in ("classic", "native", "both"):
        assert scene.exemplars(place, job) == {f"of {job}"}


@pytest.mark.parametrize(("job", "native"), [("classic", False), ("native", True), ("both", True)])
def test_functions(scene: Scene, job: str, *, native: bool) -> None:
    """The functions of native histograms are called where there are some; others see only functions that they know."""
    functions = BOARDS["task"].functions()
    assert functions.keys() == NO_FUNCTIONS.keys()
    for name, query in functions.items():
        asked = scene.evaluate(fill(query, {"job": job, "instance": ".+"}))
        assert list(asked) == [name if native else NO_FUNCTIONS[name]]


def test_without_native_histograms(scene: Scene) -> None:
    """With the functions that stand for those of native histograms, queries of classic ones answer the same."""
    for place in (BUSY, MEAN, BUSY_BY_TASK):
        assert scene.ask(place, "classic", AFTER_S, **NO_FUNCTIONS) == scene.ask(place, "classic")


def test_rules(scene: Scene) -> None:
    """The rules that read histograms judge alike of each kind, and a mixture by its slowest part."""
    waits = _expr(
        "queues.yaml", "celery:queue_wait_seconds:p95_10m", {"celery:threshold:min_tasks": "vector(20)"}
    )
    for job in JOBS.keys() - {"idle"}:
        found = scene.evaluate(f'({waits}) and on (job) up{{job="{job}"}}')
        assert found.keys() == {f"{job} of {task}" for task in observed.TASKS}
        for task in observed.TASKS:
            values = all_durations(job, task)
            allowed = CLASSIC_BUCKET if "classic" in JOBS[job][0] or len(JOBS[job]) > 1 else BUCKET
            assert quantile(values, 0.95) / allowed < found[f"{job} of {task}"] < values[-1] * CLASSIC_BUCKET
    assert scene.evaluate(f'({waits}) and on (job) up{{job="idle"}}') == {}
    many = _expr(
        "queues.yaml", "celery:queue_wait_seconds:p95_10m", {"celery:threshold:min_tasks": "vector(1e6)"}
    )
    assert scene.evaluate(many) == {}
    for limit, jobs in (("vector(0)", JOBS.keys() - {"idle"}), ("vector(600)", set())):
        late = _expr("exporter.yaml", "CeleryEventLagHigh", {"celery:threshold:event_lag_seconds": limit})
        found = scene.evaluate(late)
        assert found.keys() == {f"e:{number} {job}" for job in jobs for number in range(len(JOBS[job]))}


def _expr(file: str, name: str, thresholds: Mapping[str, str]) -> str:
    """The expression of a rule, with values for thresholds."""
    (expr,) = (
        str(rule["expr"])
        for rule in rules_in(ALERTS / file)
        if name in (rule.get("record"), rule.get("alert"))
    )
    for threshold, value in thresholds.items():
        expr = expr.replace(threshold, value)
    return expr
