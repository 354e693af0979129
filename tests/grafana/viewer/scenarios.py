"""The situations in which the dashboards are drawn: health, scale, outage (twice), and an exporter that is down.

Each ends at three in the morning. What happened in its first quarter of an hour is not drawn: rates and alerts need a
past.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from tests.grafana.viewer.actors import Task, Worker
from tests.grafana.viewer.cluster import Cluster
from tests.pipeline import Bench

MINUTE: Final = 60.0
#: 2026-03-02T03:00:00Z: the end of every scenario.
END: Final = 1_772_420_400.0
_UNDRAWN: Final = 15 * MINUTE

_SHOP: Final = (
    Task(
        name="shop.charge_card",
        queue="orders",
        per_second=1.0,
        runtime=0.4,
        fails=0.004,
        retries=0.02,
        exception="GatewayTimeout",
    ),
    Task(name="shop.reserve_stock", queue="orders", per_second=0.9, runtime=0.1),
    Task(
        name="mail.send_receipt",
        queue="mail",
        per_second=0.8,
        runtime=0.3,
        fails=0.002,
        retries=0.01,
        exception="MailboxFull",
    ),
    Task(name="mail.send_newsletter", queue="mail", per_second=1.0, runtime=0.5),
    Task(
        name="media.make_thumbnail",
        queue="media",
        per_second=0.5,
        runtime=1.5,
        fails=0.003,
        exception="UnsupportedImage",
    ),
    Task(name="billing.print_invoice", queue="billing", per_second=0.15, runtime=2.0),
    Task(name="reports.build_summary", queue="reports", per_second=0.03, runtime=20.0),
    Task(name="search.update_index", queue="search", per_second=0.2, runtime=1.0),
)


def _shop_workers() -> list[Worker]:
    return [
        Worker("orders@shop-1", ("orders",), 4),
        Worker("orders@shop-2", ("orders",), 4),
        Worker("mail@shop-3", ("mail",), 6),
        Worker("media@media-1", ("media",), 4),
        Worker("media@media-2", ("media", "search"), 4),
        Worker("billing@shop-4", ("billing", "reports"), 4),
        Worker("search@shop-5", ("search",), 2),
    ]


@dataclass(frozen=True, slots=True)
class Watched:
    """A cluster and the labels that Prometheus gives to the series of its exporter.

    Attributes:
        down_from: when the exporter disappears, in seconds after the start; None if it stays.
    """

    cluster: Cluster
    job: str
    instance: str
    down_from: float | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """A situation: its name, how it is made, how long it lasts (seconds), and the task that is looked at,
    None for what a dashboard chooses by itself; ``native``: whether Prometheus stores native histograms.
    """

    name: str
    make: Callable[[], Iterator[Watched]]
    lasts: float = 75 * MINUTE
    task: str | None = "shop.charge_card"
    native: bool = False

    @property
    def start(self) -> float:
        """When its first scrape is."""
        return END - self.lasts

    @property
    def drawn_from(self) -> float:
        """Where the time range of the dashboards begins; it ends with the scenario."""
        return self.start + _UNDRAWN


def _shop() -> Cluster:
    bench = Bench(start=SCENARIOS["health"].start)
    return Cluster(bench, _SHOP, _shop_workers(), broker="rabbitmq", seed=3)


def _health() -> Iterator[Watched]:
    yield Watched(_shop(), "celery", "exporter:9808")


def _outage() -> Iterator[Watched]:
    """A payment gateway that fails, a lost worker, queues whose workers are gone, a task that hangs."""
    cluster = _shop()
    cluster.at(10 * MINUTE, lambda: cluster.change("search.update_index", runtime=36_000.0))
    cluster.at(10 * MINUTE + 20, lambda: cluster.change("search.update_index", runtime=1.0))
    cluster.at(35 * MINUTE, lambda: cluster.change("shop.charge_card", fails=0.55))
    cluster.at(43 * MINUTE, lambda: cluster.change("mail.send_newsletter", per_second=3.0))
    cluster.at(45 * MINUTE, lambda: cluster.lose("mail@shop-3"))
    cluster.at(49 * MINUTE, lambda: cluster.stop("billing@shop-4"))
    yield Watched(cluster, "celery", "exporter:9808")


def _scale() -> Iterator[Watched]:
    """Fifty tasks on ten queues, ten queues without any, names of pods; and a job with the same workers and queues."""
    start = SCENARIOS["scale"].start
    areas = (
        "orders",
        "mail",
        "media",
        "billing",
        "reports",
        "search",
        "imports",
        "exports",
        "stock",
        "audit",
    )
    verbs = (
        "create_records",
        "update_index_of_customers",
        "send_notifications",
        "clean_up",
        "synchronize_with_partner",
    )
    tasks = [
        Task(
            name=f"company.{area}.tasks.{verb}",
            queue=area,
            per_second=2.4 / (2 + 5 * row + column),
            runtime=0.2 + 0.1 * (row + column),
            fails=0.02 if column == 4 else 0.0,
            retries=0.01 if column == 2 else 0.0,
            exception="PartnerUnavailable",
        )
        for row, area in enumerate(areas)
        for column, verb in enumerate(verbs)
    ]
    workers = [
        Worker(
            f"celery@celery-worker-{area}-6f9c7d8b5{number}-{area[:2]}x{number}q", (area, f"{area}.bulk"), 8
        )
        for area in areas
        for number in range(2 if area in {"orders", "mail", "media"} else 1)
    ]
    europe = Cluster(Bench(start=start, queue_priorities=True), tasks, workers, broker="redis", seed=5)
    yield Watched(europe, "celery-eu", "10.42.3.17:9808")
    names = {"orders", "mail"}
    america = Cluster(
        Bench(start=start),
        [each for each in tasks if each.queue in names],
        [Worker(each.name, each.queues, each.pool) for each in workers if each.queues[0] in names],
        broker="rabbitmq",
        seed=7,
    )
    yield Watched(america, "celery-us", "10.43.8.21:9808")


def _exporter_down() -> Iterator[Watched]:
    yield Watched(_shop(), "celery", "exporter:9808", down_from=55 * MINUTE)


SCENARIOS: Final = {
    scenario.name: scenario
    for scenario in (
        Scenario("health", _health),
        Scenario("scale", _scale, lasts=30 * MINUTE, task=None),
        Scenario("outage", _outage),
        Scenario("exporter-down", _exporter_down),
        Scenario("native", _outage, native=True),
    )
}
