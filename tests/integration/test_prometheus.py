"""A real Prometheus scrapes the running exporter while a real worker executes known tasks."""

import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.exposition_lint import lint_openmetrics, lint_text
from tests.integration.scraped_app import BROKEN, FLAKY, NAPS, QUICK
from tests.integration.servers import CeleryWorker, ExporterProcess, Prometheus, Valkey, promtool, require
from tests.integration.servers.exporter import REPOSITORY, clean_environment
from tests.waiting import wait_for

APP = "tests.integration.scraped_app"
OPENMETRICS = "application/openmetrics-text;version=1.0.0"
PATIENCE_S = 60.0

# Quick tasks end within the first bucket and naps in the last finite one, however busy the machine is.
RUNTIME_BUCKETS = "0.8,1,60"

# Exit codes of `promtool check metrics` 2.42: 0 clean, 1 not parsed, 3 parsed with lint errors.
CLEAN, UNPARSED, LINT_ERRORS = 0, 1, 3


@dataclass(frozen=True, slots=True)
class Scene:
    """The exporter and the Prometheus that scrapes it, after the whole workload."""

    exporter: ExporterProcess
    prometheus: Prometheus


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Run everything once: broker, exporter, Prometheus, worker, workload; wait until Prometheus knows its end."""
    require("valkey", "prometheus")
    folder = tmp_path_factory.mktemp("scene")
    with ExitStack() as stack:
        valkey = stack.enter_context(Valkey(folder / "valkey"))
        arguments = ("--broker-url", valkey.url, "--runtime-buckets", RUNTIME_BUCKETS)
        exporter = stack.enter_context(ExporterProcess(folder / "exporter", arguments))
        wait_for(
            lambda: 'msg="receiving events"' in exporter.stderr,
            timeout=PATIENCE_S,
            what="an exporter that receives events",
        )
        prometheus = stack.enter_context(Prometheus(folder / "prometheus", [exporter.url]))
        env = {"CELERY_BROKER_URL": valkey.url}
        worker = CeleryWorker(folder / "worker", APP, queues=("celery", "slow"), env=env)
        stack.enter_context(worker)
        subprocess.run(
            [sys.executable, "-m", APP],
            env=clean_environment(env),
            cwd=REPOSITORY,
            check=True,
            timeout=PATIENCE_S,
        )
        ends = "sum(celery_task_succeeded_total) + sum(celery_task_failed_total)"
        sent = "sum(celery_task_sent_total)"  # they come from other processes and may be late
        wait_for(
            lambda: (
                prometheus.value(ends) == QUICK + NAPS + BROKEN + FLAKY
                and prometheus.value(sent) == QUICK + NAPS + BROKEN + 2 * FLAKY
            ),
            timeout=PATIENCE_S,
            what=lambda: f"the end of all tasks in Prometheus; the exporter says\n{exporter.text()}",
        )
        yield Scene(exporter, prometheus)


def test_target_is_up(scene: Scene) -> None:
    """Prometheus scrapes the exporter without an error, in the format that it prefers."""
    assert scene.prometheus.value("up") == 1
    (target,) = scene.prometheus.api("targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    assert target["scrapeUrl"] == scene.exporter.url


@pytest.mark.parametrize(
    ("selector", "value"),
    [
        ('celery_task_sent_total{task="scraped.quick", queue="celery"}', QUICK),
        ('celery_task_sent_total{task="scraped.nap", queue="slow"}', NAPS),
        ('celery_task_sent_total{task="scraped.broken", queue="celery"}', BROKEN),
        ('celery_task_sent_total{task="scraped.flaky", queue="celery"}', 2 * FLAKY),
        ('celery_task_received_total{task="scraped.flaky"}', 2 * FLAKY),
        ('celery_task_started_total{task="scraped.flaky"}', 2 * FLAKY),
        ('celery_task_retried_total{task="scraped.flaky"}', FLAKY),
        ('celery_task_succeeded_total{task="scraped.flaky"}', FLAKY),
        ('celery_task_failed_total{task="scraped.flaky"}', 0),
        ('celery_task_succeeded_total{task="scraped.quick"}', QUICK),
        ('celery_task_failed_total{task="scraped.quick"}', 0),
        ('celery_task_succeeded_total{task="scraped.broken"}', 0),
        ('celery_task_failed_total{task="scraped.broken"}', BROKEN),
        ('celery_task_exceptions_total{exception="ValueError", outcome="failed"}', BROKEN),
        ('celery_task_exceptions_total{exception="ConnectionError", outcome="retried"}', FLAKY),
        ("sum(celery_task_in_progress)", 0),
        ('celery_worker_up{worker="worker@localhost"}', 1),
        ('celery_worker_tasks_total{worker="worker@localhost", outcome="succeeded"}', QUICK + NAPS + FLAKY),
        ("celery_exporter_receiver_connected", 1),
        ('sum(celery_exporter_events_total{event="task-succeeded"})', QUICK + NAPS + FLAKY),
        ("sum(celery_exporter_events_dropped_total) or vector(0)", 0),
    ],
)
def test_counters_and_gauges(scene: Scene, selector: str, value: float) -> None:
    """Prometheus' API returns for each series what the workload must have led to."""
    assert scene.prometheus.value(selector) == value


@pytest.mark.parametrize(
    ("selector", "value"),
    [
        ('celery_task_runtime_seconds_count{task="scraped.quick", outcome="succeeded"}', QUICK),
        ('celery_task_runtime_seconds_bucket{task="scraped.nap", outcome="succeeded", le="1.0"}', 0),
        ('celery_task_runtime_seconds_bucket{task="scraped.nap", outcome="succeeded", le="60.0"}', NAPS),
        ('celery_task_runtime_seconds_count{task="scraped.broken", outcome="failed"}', BROKEN),
        ('celery_task_runtime_seconds_count{task="scraped.flaky", outcome="retried"}', FLAKY),
        ('sum(celery_task_queue_wait_seconds_count{task="scraped.flaky"})', 2 * FLAKY),
        ("sum(celery_task_prefetch_wait_seconds_count)", QUICK + NAPS + BROKEN + 2 * FLAKY),
    ],
)
def test_histograms(scene: Scene, selector: str, value: float) -> None:
    """Counts and buckets of histograms are those of the workload."""
    assert scene.prometheus.value(selector) == value


@pytest.mark.parametrize(
    ("quantile", "expected"),
    [
        # 6 tasks up to 0.8 s, 2 from 1 to 60 s: rank 4 lies at 4/6 of the first bucket, rank 7 in the middle of the
        # last.
        (0.5, 0.8 * 4 / QUICK),
        (7 / 8, 1 + 59 * (7 - QUICK) / NAPS),
    ],
)
def test_histogram_quantile(scene: Scene, quantile: float, expected: float) -> None:
    """`histogram_quantile` over all series of run times gives the interpolation within the known bucket."""
    found = scene.prometheus.value(
        f"histogram_quantile({quantile}, sum by (le) (celery_task_runtime_seconds_bucket"
        '{outcome="succeeded", task=~"scraped.(quick|nap)"}))'
    )
    assert found is not None
    assert math.isclose(found, expected)


@pytest.mark.parametrize("keeps", [False, True])
def test_converted_histograms(
    scene: Scene, start_prometheus: Callable[..., Prometheus], *, keeps: bool
) -> None:
    """A Prometheus 3 that makes native histograms of ours has the series of our queries only if it keeps them."""
    if scene.prometheus.major_version < 3:
        pytest.skip("Prometheus 2 does not convert histograms")
    converting = start_prometheus(
        scene.exporter.url,
        options=("--enable-feature=native-histograms",),
        scrape_settings={
            "convert_classic_histograms_to_nhcb": True,
            "always_scrape_classic_histograms": keeps,
        },
    )
    count = "sum(histogram_count(celery_task_runtime_seconds))"
    wait_for(lambda: converting.value(count), timeout=PATIENCE_S, what="a native histogram")
    assert bool(converting.value("count(celery_task_runtime_seconds_bucket)")) is keeps
    assert bool(converting.value("count(celery_task_runtime_seconds_count)")) is keeps


def test_types_reach_prometheus(scene: Scene) -> None:
    """Prometheus knows the type and the HELP of the families, which its interface and linters show."""
    metadata = scene.prometheus.api("metadata")
    kinds = {name: entry["type"] for name, (entry, *_) in metadata.items() if name.startswith("celery_")}
    # Prometheus 2.42 files OpenMetrics counters under the family's name, without _total.
    assert kinds["celery_task_succeeded"] == "counter"
    assert kinds["celery_task_runtime_seconds"] == "histogram"
    assert kinds["celery_worker_up"] == "gauge"
    assert all(entry["help"] for (entry, *_) in metadata.values())


def test_promtool_finds_nothing(scene: Scene) -> None:
    """`promtool check metrics` is clean on the text format, and it would not be on bad metrics."""
    checked = promtool("check", "metrics", stdin=scene.exporter.text())
    assert (checked.returncode, checked.stdout) == (CLEAN, "")
    assert promtool("check", "metrics", stdin="a_total{ 1\n").returncode == UNPARSED
    assert promtool("check", "metrics", stdin="# TYPE a counter\na 1\n").returncode == LINT_ERRORS


def test_own_lint_finds_nothing(scene: Scene) -> None:
    """The house's own lint is clean on both formats of a page with every family that a workload fills."""
    text = scene.exporter.text()
    assert "celery_task_runtime_seconds_bucket" in text
    assert lint_text(text) == []
    exposition = scene.exporter.text(OPENMETRICS)
    assert exposition.endswith("# EOF\n")
    assert lint_openmetrics(exposition) == []
