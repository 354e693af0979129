"""A real Prometheus that takes native histograms scrapes the running exporter, which is told of known times."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.integration.event_sender import EventSender
from tests.integration.servers import HOST, ExporterProcess, Prometheus, Valkey, free_port, promtool, require
from tests.waiting import wait_for

PATIENCE_S = 60.0
TASK = "native.task"
#: Run times in seconds, from 3 ms to 7 min: their quantiles are far apart, and classic buckets could not tell them.
RUNTIMES = tuple(0.003 * 1.02**step for step in range(600))
#: Waits for a worker, and in it: each task has both.
QUEUE_WAIT, PREFETCH_WAIT = 6.0, 1.5
#: A bucket of schema 3 is 9 % wide, and Prometheus tells a point in it.
ERROR = 0.09
#: As 2.40 to 3.8 are told to take them.
NATIVE_HISTOGRAMS = "--enable-feature=native-histograms,exemplar-storage"
#: Makes Prometheus begin each series with 0 at its created timestamp, and ask for messages.
ZERO_INGESTION = "--enable-feature=created-timestamp-zero-ingestion"
HISTOGRAMS = (
    "celery_task_runtime_seconds",
    "celery_task_queue_wait_seconds",
    "celery_task_prefetch_wait_seconds",
    "celery_exporter_event_lag_seconds",
)


@dataclass(frozen=True, slots=True)
class Scene:
    """Two Prometheus servers that scrape one exporter; one of them takes native histograms.

    ``told``: the run times by task, which were sent from ``began`` (epoch seconds) on.
    """

    exporter: ExporterProcess
    native: Prometheus
    classic: Prometheus
    told: dict[str, float]
    began: float


def tell(broker: str, runtimes: tuple[float, ...]) -> dict[str, float]:
    """Send the events of tasks with these run times; returns the run time of each by its id."""
    now = time.time()
    told = {str(uuid4()): runtime for runtime in runtimes}
    with EventSender({"broker_url": broker}) as sender:
        for uuid, runtime in told.items():
            start = now - 1
            sender.send(
                "task-sent", uuid=uuid, name=TASK, queue="q", routing_key="q", timestamp=start - QUEUE_WAIT
            )
            sender.send("task-received", uuid=uuid, name=TASK, timestamp=start - PREFETCH_WAIT)
            sender.send("task-started", uuid=uuid, timestamp=start)
            sender.send("task-succeeded", uuid=uuid, runtime=runtime, timestamp=now)
    return told


def _wait_for_events(exporter: ExporterProcess) -> None:
    wait_for(
        lambda: 'msg="receiving events"' in exporter.stderr,
        timeout=PATIENCE_S,
        what="an exporter that receives events",
    )


def native_count(prometheus: Prometheus, name: str = HISTOGRAMS[0]) -> float | None:
    """The values that Prometheus knows of a native histogram, over all of its series."""
    return prometheus.value(f"sum(histogram_count({name}))")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Tell of all tasks; wait until both Prometheus servers know of them."""
    require("valkey", "prometheus")
    folder = tmp_path_factory.mktemp("native")
    with ExitStack() as stack:
        valkey = stack.enter_context(Valkey(folder / "valkey"))
        exporter = stack.enter_context(ExporterProcess(folder / "exporter", ("--broker-url", valkey.url)))
        _wait_for_events(exporter)
        classic = stack.enter_context(
            Prometheus(folder / "classic", [exporter.url], options=("--enable-feature=exemplar-storage",))
        )
        native = stack.enter_context(
            Prometheus(folder / "native", [exporter.url], options=(NATIVE_HISTOGRAMS,))
        )
        began = time.time()
        told = tell(valkey.url, RUNTIMES)
        wait_for(
            lambda: native_count(native) == len(RUNTIMES),
            timeout=PATIENCE_S,
            what=lambda: f"all run times in Prometheus: {native.process.output[-2000:]}",
        )
        wait_for(
            lambda: classic.value(f"sum({HISTOGRAMS[0]}_count)") == len(RUNTIMES),
            timeout=PATIENCE_S,
            what="all run times in the other one",
        )
        yield Scene(exporter, native, classic, told, began)


def test_count_and_sum(scene: Scene) -> None:
    """Prometheus has each of the histograms as one native series for each label set, with their counts and sums."""
    native = scene.native
    for name in HISTOGRAMS:
        assert native.value(f"count({name})") == 1
        assert native.query(f"{name}_bucket") == native.query(f"{name}_count") == []
        assert native.value(f"histogram_sum({name})") is not None
    runtime, queue_wait, prefetch_wait, lag = HISTOGRAMS
    assert native.value(f"histogram_sum({runtime})") == pytest.approx(sum(RUNTIMES))
    for name, wait in ((queue_wait, QUEUE_WAIT), (prefetch_wait, PREFETCH_WAIT)):
        assert native_count(native, name) == len(RUNTIMES)
        assert native.value(f"histogram_sum({name})") == pytest.approx(wait * len(RUNTIMES), rel=1e-6)
        assert native.value(f"histogram_quantile(0.5, {name})") == pytest.approx(wait, rel=ERROR)
    assert native_count(native, lag) == native.value("sum(celery_exporter_events_total)")


@pytest.mark.parametrize("quantile", [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999])
def test_quantiles(scene: Scene, quantile: float) -> None:
    """Every quantile is within the width of a bucket of the truth."""
    truth = RUNTIMES[int(quantile * len(RUNTIMES))]
    found = scene.native.value(f'histogram_quantile({quantile}, {HISTOGRAMS[0]}{{task="{TASK}"}})')
    assert found == pytest.approx(truth, rel=ERROR)


def test_everything_else_is_the_same(scene: Scene) -> None:
    """Beside histograms both Prometheus servers have the same series with the same types."""
    names = '{{__name__=~"celery_.+", __name__!~"{}.*"}}'.format(".*|".join(HISTOGRAMS))
    found = [
        {frozenset(sample.labels.items()) for sample in prometheus.query(names)} - {frozenset()}
        for prometheus in (scene.native, scene.classic)
    ]
    assert found[0]
    assert found[0] == found[1]
    stable = 'celery_task_succeeded_total{task="native.task"}'
    assert scene.native.query(stable) == scene.classic.query(stable)


def test_exemplars(scene: Scene) -> None:
    """Prometheus knows tasks of the workload, with the values of their own, in run times and queue waits."""
    for name, values in ((HISTOGRAMS[0], scene.told), (HISTOGRAMS[1], dict.fromkeys(scene.told, QUEUE_WAIT))):
        found = scene.native.api(
            "query_exemplars", query=name, start=str(scene.began), end=str(time.time() + 60)
        )
        tasks = [each for series in found for each in series["exemplars"]]
        assert tasks
        for each in tasks:
            assert float(each["value"]) == pytest.approx(values[each["labels"]["task_id"]], abs=1e-3)
            assert scene.began - 1 <= each["timestamp"] <= time.time()


def test_exemplars_of_text(scene: Scene) -> None:
    """So does one that scrapes OpenMetrics, at the classic buckets."""
    name = f"{HISTOGRAMS[0]}_bucket"
    found = scene.classic.api(
        "query_exemplars", query=name, start=str(scene.began), end=str(time.time() + 60)
    )
    tasks = [each for series in found for each in series["exemplars"]]
    assert {series["seriesLabels"]["le"] for series in found} >= {"0.1", "1.0", "10.0"}
    for each in tasks:
        assert float(each["value"]) == pytest.approx(scene.told[each["labels"]["task_id"]])


def test_without_the_flag_nothing_changes(scene: Scene) -> None:
    """A Prometheus that does not ask for native histograms has exactly the samples of the text."""
    page = scene.exporter.text("application/openmetrics-text;version=1.0.0")
    families = list(text_string_to_metric_families(page))  # type: ignore[no-untyped-call]  # the library's
    shown = {
        frozenset({"__name__": sample.name, **sample.labels}.items())
        for family in families
        for sample in family.samples
    }
    added = {"instance", "job"}
    known = {
        frozenset((name, value) for name, value in sample.labels.items() if name not in added)
        for sample in scene.classic.query('{__name__=~"(celery|process|python)_.+"}')
    }
    assert known == shown
    assert scene.classic.query(HISTOGRAMS[0]) == []
    assert scene.classic.value(f'{HISTOGRAMS[0]}_bucket{{le="+Inf"}}') == len(RUNTIMES)


def test_a_restart_is_a_reset(
    valkey: Valkey, start_prometheus: Callable[..., Prometheus], tmp_path: Path
) -> None:
    """After a restart a native histogram begins anew, and Prometheus adds up both parts."""
    first, second = (1.0,) * 30, (2.0,) * 20
    arguments = ("--broker-url", valkey.url, "--web.listen-address", f"{HOST}:{free_port()}")
    increase = "increase(celery_task_runtime_seconds[5m])"
    with ExporterProcess(tmp_path / "first", arguments) as exporter:
        _wait_for_events(exporter)
        native = start_prometheus(exporter.url, options=(NATIVE_HISTOGRAMS,))
        tell(valkey.url, (1.0,))
        wait_for(lambda: native_count(native) == 1, timeout=PATIENCE_S, what="the first task")
        tell(valkey.url, first)
        wait_for(lambda: native_count(native) == 1 + len(first), timeout=PATIENCE_S, what="the other tasks")
    with ExporterProcess(tmp_path / "second", arguments) as exporter:
        _wait_for_events(exporter)
        tell(valkey.url, second)
        wait_for(
            lambda: native_count(native) == len(second), timeout=PATIENCE_S, what="tasks after the restart"
        )
    # Both parts are extrapolated alike to the edges of the range; what came with the first scrape is no increase.
    mean = f"histogram_sum({increase}) / histogram_count({increase})"
    assert native.value(mean) == pytest.approx((sum(first) + sum(second)) / (len(first) + len(second)))


@pytest.mark.parametrize("kind", ["native", "classic", "none"])
def test_what_came_before_the_first_scrape(
    valkey: Valkey, start_prometheus: Callable[..., Prometheus], tmp_path: Path, kind: str
) -> None:
    """Prometheus counts it if it takes created timestamps; of histograms it has those that it was told to take."""
    require("prometheus")
    if "version 2." in promtool("--version").stdout:
        pytest.skip("Prometheus 2 does not do so with native histograms, or at all")
    runtimes = (1.0,) * 30
    options = ZERO_INGESTION + (",native-histograms" if kind == "native" else "")
    settings = {"always_scrape_classic_histograms": True} if kind == "classic" else {}
    with ExporterProcess(tmp_path / "exporter", ("--broker-url", valkey.url)) as exporter:
        _wait_for_events(exporter)
        tell(valkey.url, runtimes)
        wait_for(
            lambda: exporter.total("celery_task_succeeded_total") == len(runtimes),
            timeout=PATIENCE_S,
            what="all tasks in the exporter",
        )
        prometheus = start_prometheus(exporter.url, options=(options,), scrape_settings=settings)
        succeeded = "sum(increase(celery_task_succeeded_total[5m]))"
        wait_for(lambda: prometheus.value(succeeded), timeout=PATIENCE_S, what="an increase")
    # Without the 0 nothing would have grown; from few scrapes Prometheus adds to the true number, up to as much again.
    found = {
        "all": prometheus.value(succeeded),
        "native": prometheus.value(f"sum(histogram_count(increase({HISTOGRAMS[0]}[5m])))"),
        "classic": prometheus.value(f"sum(increase({HISTOGRAMS[0]}_count[5m]))"),
    }
    for name, value in found.items():
        if name in {"all", kind}:
            assert value is not None, name
            assert 0.999 * len(runtimes) <= value <= 2.1 * len(runtimes), name
        else:
            assert value is None, name
    assert prometheus.value("min_over_time(celery_task_succeeded_total[5m])") == 0
