"""Dashboards and alerts of danihodovic/celery-exporter on our metrics, by the relabelings of grafana/compatibility.

A real Prometheus scrapes the real exporter with them, and the same page once more as it is, while the demo's shop is at
work and a worker is lost. A known workload beside it tells whether the numbers are right.
"""

import math
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.grafana.contract import ROOT
from tests.grafana.interpolation import chosen, fill, intervals
from tests.integration import danihodovic, in_worker_app, known_tasks
from tests.integration.demo_shop import fill_mail_queue, open_shop
from tests.integration.scraped_app import BROKEN, FLAKY, NAPS, QUICK
from tests.integration.servers import CeleryWorker, ExporterProcess, Prometheus, Valkey, promtool, require
from tests.integration.servers.exporter import REPOSITORY, clean_environment
from tests.waiting import wait_for

FILE = ROOT / "grafana" / "compatibility" / "danihodovic.yaml"
(SCRAPE,) = yaml.safe_load(FILE.read_text(encoding="utf-8"))["scrape_configs"]
RELABELED: dict[str, Any] = {key: SCRAPE[key] for key in ("job_name", "metric_relabel_configs")}
JOB = SCRAPE["job_name"]
PLACE = {"cluster": "east", "namespace": "shop"}

KNOWN = "tests.integration.scraped_app"
LOST = "lost@localhost"
PATIENCE_S = 120.0
RANGE_S = 60

QUERIES: Final = {
    **danihodovic.TODAY,
    "earlier dashboards": danihodovic.EARLIER,
    "alerts": (*danihodovic.ALERTS.values(),),
}
#: Metric -> labels that cannot be had: a host is a label of workers alone.
WITHOUT: Final = {name: {"hostname"} for name in danihodovic.METRICS if name.startswith("celery_task_")}
#: What Redis does not tell.
ON_RABBITMQ: Final = "celery_active_consumer_count"


@dataclass(frozen=True, slots=True)
class Scene:
    """The exporter, and the Prometheus that scrapes it with the relabelings."""

    exporter: ExporterProcess
    prometheus: Prometheus

    def variables(self) -> dict[str, str]:
        """The dashboards' variables with all of their values chosen, each among those before it."""
        found = intervals(range_s=RANGE_S, scrape_s=1, step_s=2)
        for name, (selector, label) in danihodovic.VARIABLES.items():
            values = self.prometheus.api(f"label/{label}/values", **{"match[]": fill(selector, found)})
            found[name] = chosen(values)
        return found


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Start it all: exporter and Prometheus first, so that they see everything from the beginning."""
    require("valkey", "prometheus")
    folder = tmp_path_factory.mktemp("compatibility")
    with ExitStack() as stack:
        valkey = stack.enter_context(Valkey(folder / "valkey"))
        fill_mail_queue(valkey.url)
        arguments = ("--broker-url", valkey.url, "--sample-interval", "1", "--worker-timeout", "8")
        exporter = stack.enter_context(ExporterProcess(folder / "exporter", arguments))
        exporter.process.wait_until(
            lambda: 'msg="receiving events"' in exporter.stderr,
            timeout=PATIENCE_S,
            what="a listening exporter",
        )
        prometheus = stack.enter_context(
            Prometheus(folder / "prometheus", [exporter.url], target_labels=PLACE, scrape_settings=RELABELED)
        )
        env = {"CELERY_BROKER_URL": valkey.url}
        lost = CeleryWorker(folder / "lost", KNOWN, hostname="lost", queues=("lost",), env=env)
        stack.callback(lost.kill)
        lost.start()
        wait_for(lambda: _up(exporter, LOST) == 1, timeout=PATIENCE_S, what="the worker that will be lost")
        lost.kill()
        stack.enter_context(CeleryWorker(folder / "known", KNOWN, queues=("celery", "slow"), env=env))
        subprocess.run(
            [sys.executable, "-m", KNOWN],
            env=clean_environment(env),
            cwd=REPOSITORY,
            check=True,
            timeout=PATIENCE_S,
        )
        open_shop(stack, folder, valkey.url)
        yield Scene(exporter, prometheus)


def _up(exporter: ExporterProcess, worker: str) -> float | None:
    return exporter.value("celery_worker_up", worker=worker)


@pytest.mark.needs("valkey", "prometheus")
@pytest.mark.parametrize("board", QUERIES)
def test_every_query_has_data(scene: Scene, board: str) -> None:
    """Each query of its dashboards and alerts gives a number: with the variables filled in from their own queries."""
    queries = set(QUERIES[board])

    def empty() -> set[str]:
        variables = scene.variables()
        return {query for query in queries if not _numbers(scene.prometheus, fill(query, variables))}

    def settled() -> bool:
        queries.intersection_update(empty())
        return not queries

    assert len(queries) >= 4
    wait_for(settled, timeout=PATIENCE_S, what=lambda: f"data of {sorted(queries)}")


def _numbers(prometheus: Prometheus, query: str) -> list[float]:
    """The values of a query; a ratio of tasks that did not run is none."""
    return [sample.value for sample in prometheus.query(query) if math.isfinite(sample.value)]


@pytest.mark.needs("valkey", "prometheus")
@pytest.mark.parametrize("variable", danihodovic.VARIABLES)
def test_every_variable_has_values(scene: Scene, variable: str) -> None:
    """Its dashboards can be narrowed to a cluster, a namespace, a job, queues and tasks."""
    expected = {**PLACE, "job": JOB, "queue_name": "orders", "task": "mail.send_receipt"}[variable]
    wait_for(
        lambda: expected.replace(".", "\\\\.") in scene.variables()[variable],
        timeout=PATIENCE_S,
        what=lambda: f"{variable} in {scene.variables()}",
    )


@pytest.mark.needs("valkey", "prometheus")
@pytest.mark.parametrize("metric", sorted(danihodovic.METRICS.keys() - {ON_RABBITMQ}))
def test_every_metric_has_its_labels(scene: Scene, metric: str) -> None:
    """All but the host of a task."""
    wanted = danihodovic.METRICS[metric] - WITHOUT.get(metric, set())
    labels = set().union(*(sample.labels for sample in _wait_for_series(scene.prometheus, metric)))
    assert wanted <= labels
    assert not labels & WITHOUT.get(metric, set())


def _wait_for_series(prometheus: Prometheus, selector: str) -> list[Any]:
    return wait_for(partial(prometheus.query, selector), timeout=PATIENCE_S, what=selector)


@pytest.mark.needs("valkey", "prometheus")
@pytest.mark.parametrize(
    ("query", "value"),
    [
        ('celery_task_sent_total{name="scraped.flaky", queue_name="celery"}', 2 * FLAKY),
        ('celery_task_received_total{name="scraped.nap", queue_name="slow"}', NAPS),
        ('celery_task_succeeded_total{name="scraped.quick"}', QUICK),
        ('celery_task_retried_total{name="scraped.flaky"}', FLAKY),
        ('celery_task_failed_total{name="scraped.broken", exception="ValueError"}', BROKEN),
        ('sum(celery_task_failed_total{name="scraped.broken"})', BROKEN),
        # A retry is no failure, and a task that never failed has failed 0 times.
        ('celery_task_failed_total{name="scraped.flaky"}', 0),
        ('celery_task_failed_total{name="scraped.quick", exception=""}', 0),
        ('celery_task_runtime_count{name="scraped.quick"}', QUICK),
        ('celery_task_runtime_bucket{name="scraped.nap", le="+Inf"}', NAPS),
        ('sum(celery_task_runtime_count{name="scraped.broken"})', 0),
        ('celery_task_queue_wait_time_count{name="scraped.flaky"}', 2 * FLAKY),
        ('celery_worker_up{hostname="localhost", worker="worker@localhost"}', 1),
        (f'celery_worker_up{{hostname="localhost", worker="{LOST}"}}', 0),
        ('celery_active_worker_count{queue_name="slow"}', 1),
        ('celery_active_process_count{queue_name="slow"}', 2),
        ('celery_queue_length{queue_name="slow"}', 0),
    ],
)
def test_numbers_are_right(scene: Scene, query: str, value: float) -> None:
    """Under its names stands what the known workload must have led to."""
    _expect(scene.prometheus, query, value)


def _expect(prometheus: Prometheus, query: str, value: float) -> None:
    wait_for(
        lambda: prometheus.value(query) == value,
        timeout=PATIENCE_S,
        what=lambda: f"{value}, not {prometheus.query(query)}: {query}",
    )


@pytest.mark.needs("valkey", "prometheus")
def test_no_series_is_lost(scene: Scene) -> None:
    """Only the failures without exceptions are dropped, and no two series become one."""

    def complete() -> bool:
        # An own sample of each scrape says how many series it stored: all of one scrape have its timestamp.
        stored = scene.prometheus.value("scrape_samples_post_metric_relabeling")
        page = scene.exporter.text("application/openmetrics-text;version=1.0.0")
        dropped = sum(line.startswith("celery_task_failed_total{") for line in page.splitlines())
        samples = sum(not line.startswith("#") for line in page.splitlines())
        own = scene.prometheus.value('count({job="celery-exporter", __name__!~"up|scrape_.+"})')
        return stored == own == samples - dropped and dropped > 0

    wait_for(complete, timeout=PATIENCE_S, what="as many series as the exporter has samples")
    with urllib.request.urlopen(f"{scene.prometheus.url}/metrics", timeout=10) as answer:  # noqa: S310 - 127.0.0.1
        text = answer.read().decode()
    counted = {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("prometheus_target_scrapes_sample_")
    }
    assert counted["prometheus_target_scrapes_sample_duplicate_timestamp_total"] == 0
    assert counted["prometheus_target_scrapes_sample_out_of_order_total"] == 0


@pytest.mark.needs("prometheus")
def test_the_file_is_a_configuration() -> None:
    """Prometheus can be given it as it is."""
    checked = promtool("check", "config", FILE)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.needs("rabbitmq", "prometheus")
def test_consumers_on_rabbitmq(
    rabbitmq_vhost: Any,
    start_exporter: Callable[..., ExporterProcess],
    start_worker: Callable[..., CeleryWorker],
    start_prometheus: Callable[..., Prometheus],
) -> None:
    """RabbitMQ tells what Redis does not: the consumers of a queue."""
    exporter = start_exporter("--broker-url", rabbitmq_vhost.url, "--sample-interval", "1")
    env = known_tasks.environment({"broker_url": rabbitmq_vhost.url})
    start_worker(known_tasks.APP, env=env, queues=("mail",))
    prometheus = start_prometheus(exporter.url, scrape_settings=RELABELED)
    _expect(prometheus, f'{ON_RABBITMQ}{{queue_name="mail"}}', 1)


@pytest.mark.needs("valkey", "prometheus")
def test_workers_that_report_for_themselves(
    valkey: Valkey,
    start_self_reporting: Callable[..., Any],
    start_prometheus: Callable[..., Prometheus],
) -> None:
    """A worker's own metrics get the same names; what only a listener knows is not there."""
    settings = {"broker_url": valkey.url}
    worker = start_self_reporting(in_worker_app.APP, env=in_worker_app.environment(**settings))
    with in_worker_app.application(dict(settings)) as app:
        for _ in range(2):
            app.send_task("add", args=(1, 2))
            app.send_task("fail")
    prometheus = start_prometheus(f"http://127.0.0.1:{worker.ports[0]}/metrics", scrape_settings=RELABELED)
    for query, value in {
        'celery_task_succeeded_total{name="add", queue_name="celery"}': 2,
        'celery_task_failed_total{name="fail", exception="ValueError"}': 2,
        'celery_task_failed_total{name="add"}': 0,
        'celery_task_runtime_count{name="add"}': 2,
        'sum(celery_task_queue_wait_time_count{name="add"})': 2,
        'celery_worker_up{hostname="localhost"}': 1,
        'celery_active_process_count{queue_name="celery"}': 2,
    }.items():
        _expect(prometheus, query, value)
    assert prometheus.query("celery_queue_length") == []
