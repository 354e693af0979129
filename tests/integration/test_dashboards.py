"""Every query of every dashboard, and of the pages of docs/, asked of a real Prometheus while real workers are busy.

The demo's shop is at work on Valkey, with a backlog of newsletters that shrinks; a second exporter, with tight limits,
watches RabbitMQ. Variables are filled in as Grafana does it, once with "All", once with every value chosen by itself.
"""

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.grafana.board import Board, Target, boards, label_values
from tests.grafana.contract import ROOT, queries_in
from tests.grafana.interpolation import NO_FUNCTIONS, chosen, fill, intervals
from tests.integration import known_tasks
from tests.integration.demo_shop import fill_mail_queue, open_shop
from tests.integration.servers import (
    CeleryWorker,
    ExporterProcess,
    Prometheus,
    RabbitMQ,
    Valkey,
    require,
)
from tests.waiting import wait_for

BOARDS = boards()
#: Pages that show queries.
PAGES = [
    page for page in sorted((ROOT / "docs").glob("*.md")) if any(queries_in(page.read_text(encoding="utf-8")))
]
#: How a query reads histograms of either kind.
CLASSIC, NATIVE = "_seconds_bucket[", "_seconds["
COMPARES = re.compile(r" (?:>|<|==) \d")
PATIENCE_S = 90.0
RANGE_S = 60
JOBS = ["exporter-0", "exporter-1"]
STEP_S = 2

# (dashboard, panel, query) -> why it has no data here. An entry that has data, or that does not exist, is an error.
EMPTY_BY_NATURE = {
    ("exporter", "Subscription / Connected, delivering", "C"): "no exporter is on standby",
    (
        "queues",
        "Only on RabbitMQ and SQS / Delayed",
        "A",
    ): "nobody uses RabbitMQ's native delayed delivery here",
    ("queues", "Only on RabbitMQ and SQS / Delayed on SQS", "A"): "there is no SQS here",
}
# Of native and of classic buckets a heatmap has one query each.
HEATMAPS = (
    ("exporter", "Events / Event lags"),
    ("task", "Run time / Run times of successes"),
    ("task", "Waiting / Queue waits"),
)

# Labels that many have and nobody needs.
CLUSTER = {"cluster": "east", "namespace": "shop"}

ALERT = """
groups:
  - name: test
    rules:
      - alert: CeleryTest
        expr: celery_exporter_build_info == 1
        labels: {severity: critical}
      - alert: CeleryOtherTest
        expr: celery_exporter_build_info == 1
        labels: {severity: warning}
"""


@dataclass(frozen=True, slots=True)
class Scene:
    """The Prometheus that watches it all."""

    prometheus: Prometheus
    native: bool

    def empty(self, board: Board) -> set[tuple[str, str, str]]:
        """The queries of a dashboard that have no data."""
        other_kind = {(*panel, "B" if self.native else "A") for panel in HEATMAPS}
        return {place for place in EMPTY_BY_NATURE.keys() | other_kind if place[0] == board.name}

    def functions(self) -> dict[str, str]:
        """The functions that hidden variables stand for: where there are no native histograms, none that needs them."""
        return {name: name if self.native else other for name, other in NO_FUNCTIONS.items()}

    def jobs(self, board: Board) -> list[str]:
        """What Grafana offers for the job, of which one is chosen."""
        return self.offered(board.queried_variables()["job"])

    def offered(self, query: str) -> list[str]:
        """The values that Grafana offers for a variable's query."""
        selector, label = label_values(query)
        asked = query.removeprefix("query_result(")
        if asked != query:
            return sorted(sample.labels[label] for sample in self.prometheus.query(asked.removesuffix(")")))
        return list(self.prometheus.api(f"label/{label}/values", **{"match[]": selector}))

    def values(self, board: Board, job: str) -> dict[str, list[str]]:
        """What Grafana offers for each variable that asks the data source, with "All" chosen before it."""
        found = {"job": [job]}
        for name, query in board.queried_variables().items():
            if name != "job":
                found[name] = self.offered(fill(query, self.everything(board, found)))
        return found

    def everything(self, board: Board, values: Mapping[str, list[str]]) -> dict[str, str]:
        """Variables with "All" chosen: what `allValue` says, else all values."""
        own = {variable["name"]: variable.get("allValue") for variable in board.variables()}
        return self._globals() | {name: own[name] or chosen(found) for name, found in values.items()}

    def by_hand(self, values: Mapping[str, list[str]]) -> dict[str, str]:
        """Variables with each of their values chosen."""
        return self._globals() | {name: chosen(found) for name, found in values.items()}

    def function(self, board: Board, name: str, values: Mapping[str, list[str]]) -> str:
        """The function that a hidden variable stands for."""
        (sample,) = self.prometheus.query(fill(board.functions()[name], self.everything(board, values)))
        return sample.labels["function"]

    def ask(self, target: Target, values: Mapping[str, str]) -> list[float]:
        """All values that Grafana would get for a query, of now or the last minute; counts of native histograms."""
        expr = fill(target.expr, values)
        if target.instant:
            return [sample.value for sample in self.prometheus.query(expr)]
        now = self.prometheus.value("time()")
        assert now is not None
        data = self.prometheus.api(
            "query_range", query=expr, start=f"{now - RANGE_S}", end=f"{now}", step=f"{STEP_S}"
        )
        return [
            float(value if isinstance(value, str) else value["count"])
            for series in data["result"]
            for _, value in series.get("values", series.get("histograms"))
        ]

    def _globals(self) -> dict[str, str]:
        return self.functions() | intervals(range_s=RANGE_S, scrape_s=1, step_s=STEP_S)


@pytest.fixture(scope="module", params=["classic", "native"])
def scene(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, rabbitmq: RabbitMQ
) -> Iterator[Scene]:
    """Start it all: exporters and Prometheus first, so that they see everything from the beginning."""
    require("valkey", "prometheus")
    native = request.param == "native"
    folder = tmp_path_factory.mktemp("dashboards")
    rules = folder / "rules.yaml"
    rules.write_text(ALERT)
    vhost = rabbitmq.add_vhost("dashboards")
    with ExitStack() as stack:
        valkey = stack.enter_context(Valkey(folder / "valkey"))
        redis_side = ("--broker-url", valkey.url, "--sample-interval", "1", "--queue-priorities")
        fill_mail_queue(valkey.url)
        amqp_side = ("--broker-url", vhost, "--management-url", rabbitmq.management_url, "--max-series", "1")
        exporters = [
            stack.enter_context(ExporterProcess(folder / "redis-exporter", redis_side)),
            stack.enter_context(
                ExporterProcess(folder / "amqp-exporter", (*amqp_side, "--max-in-flight", "1"))
            ),
        ]
        targets = [exporter.url for exporter in exporters]
        prometheus = stack.enter_context(
            Prometheus(
                folder / "prometheus",
                targets,
                rules=[rules],
                target_labels=CLUSTER,
                options=("--enable-feature=native-histograms",) if native else (),
            )
        )
        for exporter in exporters:
            exporter.process.wait_until(
                partial(_listens, exporter), timeout=PATIENCE_S, what="an exporter that receives events"
            )
        open_shop(stack, folder, valkey.url)
        _known(stack, folder, vhost)
        yield Scene(prometheus, native)
    rabbitmq.delete_vhost("dashboards")


def _listens(exporter: ExporterProcess) -> bool:
    return 'msg="receiving events"' in exporter.stderr


def _known(stack: ExitStack, folder: Path, url: str) -> None:
    """A worker on RabbitMQ, and tasks of two names."""
    settings: dict[str, Any] = {"broker_url": url}
    worker = CeleryWorker(folder, known_tasks.APP, hostname="known", env=known_tasks.environment(settings))
    stack.callback(worker.kill)
    worker.start()
    with known_tasks.application(settings) as app:
        for number in range(50):
            app.send_task("known.add", args=(number, number))
            app.send_task("known.fail")


@pytest.mark.needs("valkey", "rabbitmq", "prometheus")
@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_every_variable_has_values(scene: Scene, board: Board) -> None:
    """The query of each variable gives values, each under those before it; Prometheus' own job is none of ours."""
    wait_for(
        lambda: scene.jobs(board) == JOBS and all(all(scene.values(board, job).values()) for job in JOBS),
        timeout=PATIENCE_S,
        what=lambda: f"values of all variables: {[scene.values(board, job) for job in scene.jobs(board)]}",
    )


@pytest.mark.needs("valkey", "rabbitmq", "prometheus")
@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_every_query_has_data(scene: Scene, board: Board) -> None:
    """Each query gives numbers for a job, with "All" and with values chosen by hand; never NaN, never infinite."""
    expected = scene.empty(board)
    seen: set[tuple[str, str, str]] = set()
    wrong: list[str] = []

    def missing() -> set[tuple[str, str, str]]:
        for values in [scene.values(board, job) for job in JOBS]:
            for target in board.targets():
                place = (board.name, target.panel, target.name)
                if place in seen:
                    continue
                answers = [
                    scene.ask(target, filled)
                    for filled in (scene.everything(board, values), scene.by_hand(values))
                ]
                wrong.extend(
                    f"{place}: {value}" for answer in answers for value in answer if not math.isfinite(value)
                )
                if all(answers):
                    seen.add(place)
        return {(board.name, target.panel, target.name) for target in board.targets()} - seen

    wait_for(
        lambda: missing() <= expected,
        timeout=PATIENCE_S,
        what=lambda: f"data of {sorted(missing() - expected)}",
    )
    assert missing() == expected, "has data, or does not exist, and stands in EMPTY_BY_NATURE"
    assert wrong == []


@pytest.mark.needs("valkey", "rabbitmq", "prometheus")
@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_functions(scene: Scene, board: Board) -> None:
    """Functions of native histograms are called where there are some, and nowhere else: servers may not know them."""
    for job in JOBS:
        values = scene.values(board, job)
        for name in board.functions():
            assert scene.function(board, name, values) == scene.functions()[name]


@pytest.mark.needs("valkey", "rabbitmq", "prometheus")
@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_every_annotation_has_data(scene: Scene, board: Board) -> None:
    """Alerts and starts of exporters are drawn over the graphs."""
    for name, expr in board.annotations().items():
        target = Target("annotation", name, expr, instant=False)
        wait_for(partial(_drawn, scene, board, target), timeout=PATIENCE_S, what=f"annotations of {name}")


@pytest.mark.needs("valkey", "rabbitmq", "prometheus")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_queries_of_a_page_are_answered(scene: Scene, page: Path) -> None:
    """Prometheus refuses none; those to begin with have data, but for comparisons and the other kind of histograms."""
    for expr in queries_in(page.read_text(encoding="utf-8")):
        is_of_this_kind = (CLASSIC if scene.native else NATIVE) not in expr
        if page.name == "getting-started.md" and is_of_this_kind and not COMPARES.search(expr):
            wait_for(partial(scene.prometheus.query, expr), timeout=PATIENCE_S, what=f"data of {expr}")
        else:
            scene.prometheus.query(expr)


def _drawn(scene: Scene, board: Board, target: Target) -> list[float]:
    return [value for job in JOBS for value in scene.ask(target, scene.by_hand(scene.values(board, job)))]
